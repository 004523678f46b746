/**
 * The WAL on a disk in memory that loses, tears, refuses and fills up: see testing/wal-simulation.ts. A run is some
 * backends, up to four crashes, and a recovery behind each. PGAIO_STRESS_SEED repeats a failed run, PGAIO_STRESS_ROUNDS
 * makes it longer.
 *
 * It was tried on code that was broken on purpose. Found within 400 runs: a commit is acknowledged before the sync; a sync
 * counts for what was written while it ran, or although it failed, or is tried again; writes
 * of one page overlap; a short or failed write counts as whole; writes count out of order; records count that are not
 * copied yet; O_DSYNC is missing; the directory is not synced for a new segment, or not for one that another makes; a page
 * is not cleared; a checkpoint keeps too little, names its record before that is durable, recycles before the control
 * file is durable, or does not sync that; the WAL's last page is not read back; an error of reading ends the WAL. Rarer,
 * in some thousands: a sync after one that failed meanwhile; a draft of a segment that is one already is truncated.
 * Not found: what lies behind the end stays there, which needs a record to end where an old one does, at the end of a
 * page or a sector (the tests of recovery make one); segments are not synced before they are read (there are no
 * pages here that would be written from it).
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { simulateWal } from '../../testing/wal-simulation.js';

const given = process.env['PGAIO_STRESS_SEED'];
const rounds = given === undefined ? 300 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1) : 1;
const firstSeed = Number(given ?? Math.floor(Math.random() * 2 ** 31));

describe('the WAL on a simulated disk', () => {
  it(`nothing that was acknowledged is lost, and nothing else comes back (from seed ${firstSeed} on)`, async () => {
    const sum = { lives: 0, commits: 0, failures: 0, checkpoints: 0, segments: 0 };
    for (let round = 0; round < rounds; round++) {
      const result = await simulateWal(firstSeed + round);
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += result[name];
    }
    if (given !== undefined) return;
    // Or it would prove nothing: each of these happens about twice as often.
    for (const [name, least] of [
      ['lives', 2],
      ['commits', 15],
      ['failures', 1.5],
      ['checkpoints', 1],
      ['segments', 1.5],
    ] as const)
      assert.ok(sum[name] > least * rounds, `only ${sum[name]} ${name} in ${rounds} runs`);
  });

  // As far as the code takes the same turns as it did then.
  const found = [
    [3, 'a lock file half made, in a directory that nobody uses'],
    [63, 'a control file without a directory of the WAL'],
    [184, 'a segment whose maker has not synced its name'],
    [658, 'a sync after one that has just failed'],
    [2137, 'a draft that is a segment already'],
  ] as const;
  for (const [seed, what] of found)
    it(`seed ${seed}, which has found ${what}`, async () => {
      await simulateWal(seed);
    });

  it('a run follows from its seed', async () => {
    assert.deepEqual(await simulateWal(7), await simulateWal(7));
  });
});
