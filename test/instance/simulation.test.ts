/** Many seeds of testing/simulation.ts. PGAIO_SIMULATION_SEED repeats one, PGAIO_SIMULATION_ROUNDS makes it more. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { forEachMethod } from '../../testing/instances.js';
import { simulate, SimulationData } from '../../testing/simulation.js';

const rounds = Number(process.env['PGAIO_SIMULATION_ROUNDS'] ?? 25);
const firstSeed = Number(process.env['PGAIO_SIMULATION_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

let data: SimulationData;
before(() => (data = new SimulationData()));
after(() => data[Symbol.dispose]());

forEachMethod((ioMethod) => {
  const storms = [
    { name: 'nothing goes wrong', deaths: 0, faults: 0 },
    { name: 'the kernel fails and answers short', deaths: 0, faults: 0.05 },
    ...(ioMethod === 'worker'
      ? [
          { name: 'workers die at every point', deaths: 0.05, faults: 0 },
          { name: 'both', deaths: 0.02, faults: 0.05 },
        ]
      : []),
  ];
  for (const { name, deaths, faults } of storms) {
    it(`four backends in one thread, ${rounds} orders from seed ${firstSeed}: ${name}`, async (context) => {
      const sum = { steps: 0, blocks: 0, deaths: 0, faults: 0 };
      for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
        const result = await simulate({ seed, ioMethod, deaths, faults }, data);
        for (const name of ['steps', 'blocks', 'deaths', 'faults'] as const) sum[name] += result[name];
      }
      context.diagnostic(JSON.stringify(sum));
      assert.equal(sum.deaths > 0, deaths > 0);
      assert.equal(sum.faults > 0, faults > 0);
      assert.ok(sum.blocks > rounds * 20);
    });
  }

  it('the same seed gives the same run', async () => {
    const options = { seed: firstSeed, ioMethod, deaths: ioMethod === 'worker' ? 0.03 : 0, faults: 0.05 };
    assert.deepEqual(await simulate(options, data), await simulate(options, data));
  });
});
