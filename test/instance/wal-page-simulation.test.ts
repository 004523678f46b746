/**
 * Pages and the WAL on a disk in memory that loses, tears, refuses and fills up: the simulation of wal-simulation.test.ts with
 * two small relations in a pool that is too small for them. After each crash and recovery the content of every page is
 * what it was where the WAL ends: see testing/page-model.ts. PGAIO_STRESS_SEED repeats a failed run, PGAIO_STRESS_ROUNDS
 * makes it longer.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { simulateWal } from '../../testing/wal-simulation.js';

const given = process.env['PGAIO_STRESS_SEED'];
const rounds = given === undefined ? 80 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1) : 1;
const firstSeed = Number(given ?? Math.floor(Math.random() * 2 ** 31));

describe('pages and the WAL on a simulated disk', () => {
  it(`pages are what they were where the WAL ends (from seed ${firstSeed} on)`, async () => {
    const sum = { lives: 0, commits: 0, failures: 0, checkpoints: 0, changes: 0, extensions: 0, cuts: 0 };
    for (let round = 0; round < rounds; round++) {
      const result = await simulateWal(firstSeed + round, true);
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += result[name];
    }
    if (given !== undefined) return;
    // Or it would prove nothing: each of these happens about twice as often.
    for (const [name, least] of [
      ['lives', 1.2],
      ['commits', 20],
      ['failures', 1.5],
      ['checkpoints', 1.2],
      ['changes', 20],
      ['extensions', 1.5],
      ['cuts', 0.3],
    ] as const)
      assert.ok(sum[name] > least * rounds, `only ${sum[name]} ${name} in ${rounds} runs`);
  });

  it('a run follows from its seed', async () => {
    assert.deepEqual(await simulateWal(7, true), await simulateWal(7, true));
  });
});
