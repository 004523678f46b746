/**
 * See testing/storm.ts. PGAIO_STRESS_SEED repeats a failed run (how threads interleave is left to chance, so a few
 * times), PGAIO_STRESS_ROUNDS makes it longer.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { forEachMethod } from '../../testing/instances.js';
import { storm } from '../../testing/storm.js';

const rounds = 25 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1);
const seed = Number(process.env['PGAIO_STRESS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

forEachMethod((ioMethod) => {
  it(`${rounds} threads of three backends die while others read on: seed ${seed}`, async (context) => {
    const { blocks, backendsLost, workersLost, crashes, problems } = await storm({ seed, ioMethod, rounds });
    context.diagnostic(
      `${blocks} blocks read right, ${backendsLost} backends and ${workersLost} workers lost`,
    );
    // A thread that dies in a critical section crashes its instance, by design.
    for (const reason of crashes) context.diagnostic(`crashed: ${reason}`);
    assert.deepEqual(problems, [], `seed ${seed}`);
    // One in forty of those killed is: so many more would be a mistake.
    assert.ok(crashes.length < 2 + rounds / 4, `critical sections are short: ${crashes.length} crashes`);
    assert.ok(backendsLost > rounds / 4, `${backendsLost} backends lost`);
    assert.ok(blocks > 500, `${blocks} blocks`);
  });
});
