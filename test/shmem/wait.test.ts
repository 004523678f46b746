import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { ClosedError } from '../../src/base/errors.js';
import { broadcast, CONDITION_WORDS_MAX, joinCondition } from '../../src/shmem/condition.js';
import { SlotLayout } from '../../src/shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../../src/shmem/wait.js';
import { makeShared, planShared, type Shared } from '../../testing/shared.js';
import type { PingPongInput } from './wait-ping-pong.js';
import type { SegmentPlan } from '../../src/shmem/segment.js';

interface Board {
  word: number;
  condition: number;
}
const planBoard = (plan: SegmentPlan): Board => ({
  word: plan.reserve('word', 1),
  condition: plan.reserve('condition', CONDITION_WORDS_MAX),
});

/** Step: until the word is at least `value`. */
function atLeast(shared: Shared<Board>, waits: Waits, value: number): () => number | Pending {
  const { word, condition } = shared.regions;
  return () => {
    const seen = shared.words.load(word);
    return seen >= value ? seen : waits.waitFor(WaitEvent.AioIoCompletion, condition, word, seen, 77, 0);
  };
}

function raise(shared: Shared<Board>): void {
  shared.words.add(shared.regions.word, 1);
  broadcast(shared.slots, shared.regions.condition);
}

describe('waiting', () => {
  it('costs nothing when the step has its result', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    assert.equal(waits.block(atLeast(shared, waits, 0)), 0);
    assert.equal(await waits.until(atLeast(shared, waits, 0)), 0);
    assert.equal(waits.sleeps, 0);
  });

  it('in the event loop ends when the word changes, whoever waits for what', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    const order: number[] = [];
    const waiting = [3, 1, 2].map(async (value) =>
      order.push(await waits.until(atLeast(shared, waits, value))),
    );
    for (let round = 1; round <= 3; round++) {
      raise(shared);
      await Promise.resolve();
    }
    await Promise.all(waiting);
    assert.deepEqual(order.toSorted(), order, 'nobody was settled before its value');
  });

  it('shows what the backend waits for, and nothing afterwards', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(2);
    const field = (name: 'waitEvent' | 'waitObject'): number =>
      shared.words.get(shared.slots.base(2) + SlotLayout.at[name]);
    const waiting = waits.until(atLeast(shared, waits, 1));
    assert.equal(field('waitEvent'), WaitEvent.AioIoCompletion);
    assert.equal(field('waitObject'), 77);
    raise(shared);
    await waiting;
    assert.equal(field('waitEvent'), WaitEvent.None);
  });

  it('rejects with what the step throws, others go on', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    let broken = false;
    const failing = waits.until(() => {
      if (broken) throw new Error('broken');
      return atLeast(shared, waits, 9)();
    });
    const fine = waits.until(atLeast(shared, waits, 1));
    broken = true;
    raise(shared);
    await assert.rejects(failing, /broken/);
    assert.equal(await fine, 1);
  });

  it('of a task for another task of the same thread cannot block', () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    assert.throws(
      () => waits.block(() => waits.waitForOwnThread(WaitEvent.AioHandleTurn)),
      /this thread itself/,
    );
  });

  it('ends with the crash of the instance, blocked or not', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    const waiting = waits.until(atLeast(shared, waits, 1));
    shared.header.markCrashed('for the test');
    await assert.rejects(waiting, { code: 'ERR_PGAIO_INSTANCE_CRASHED' });
    assert.throws(() => waits.block(atLeast(shared, waits, 1)), { code: 'ERR_PGAIO_INSTANCE_CRASHED' });
  });

  it('ends when the backend leaves', async () => {
    const shared = makeShared(planBoard);
    const waits = shared.waits(0);
    const waiting = waits.until(atLeast(shared, waits, 2));
    const done = waits.until(atLeast(shared, waits, 1));
    raise(shared); // and nobody has looked yet
    waits.close(new ClosedError('this backend'));
    await assert.rejects(waiting, { code: 'ERR_PGAIO_CLOSED' });
    assert.equal(await done, 1);
    await assert.rejects(
      waits.until(() => 1),
      { code: 'ERR_PGAIO_CLOSED' },
    );
  });

  it('a broadcast wakes those who joined, once', async () => {
    const shared = makeShared(planBoard);
    const { condition } = shared.regions;
    for (const slot of [0, 7, 33]) joinCondition(shared.slots, condition, slot);
    assert.equal(shared.words.load(condition), 1 | (1 << 7));
    assert.equal(shared.words.load(condition + 1), 2);
    broadcast(shared.slots, condition);
    assert.equal(shared.words.load(condition) | shared.words.load(condition + 1), 0);
  });

  for (const [here, there] of [
    ['block', 'block'],
    ['until', 'block'],
    ['until', 'until'],
  ] as const) {
    it(`loses no wake-up in a ping-pong of two threads (${here} against ${there})`, async () => {
      const handle = planShared((plan) => ({ ping: planBoard(plan), pong: planBoard(plan) }));
      const rounds = 2000;
      const players = [here, there].map((driver, player) => {
        const workerData: PingPongInput = { handle, player, driver, rounds };
        return new Worker(new URL('./wait-ping-pong.js', import.meta.url), { workerData });
      });
      const results = await Promise.all(players.map((player) => once(player, 'message')));
      for (const [slices] of results as [number][]) {
        // A lost wake-up costs a slice of a tenth of a second; a descheduled thread may cost one, too.
        assert.ok(slices < rounds / 50, `${slices} of ${rounds} waits ended by their time-out`);
      }
    });
  }
});
