/** See testing/stress.ts. PGAIO_STRESS_SEED repeats a failed run, PGAIO_STRESS_ROUNDS makes it longer. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { forEachMethod } from '../../testing/instances.js';
import { stress } from '../../testing/stress.js';

const rounds = Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1);
const firstSeed = Number(process.env['PGAIO_STRESS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

forEachMethod((ioMethod) => {
  for (let round = 0; round < rounds; round++) {
    const seed = firstSeed + round;
    it(`four backends, one small pool, dying workers: seed ${seed}`, async (context) => {
      const result = await stress({ seed, ioMethod, threads: 4, operations: 100, killChance: 0.3 });
      const { blocks, workersLost, crashed, problems } = result;
      context.diagnostic(`${blocks} blocks read right, ${workersLost} workers lost`);
      // A worker that dies in a critical section crashes the instance, by design; that should be rare.
      if (crashed !== null) context.diagnostic(`crashed: ${crashed}`);
      assert.deepEqual(problems, [], `seed ${seed}`);
      assert.equal(crashed, null, `no I/O worker enters a critical section; seed ${seed}`);
      assert.ok(blocks > 1000);
    });
  }
});
