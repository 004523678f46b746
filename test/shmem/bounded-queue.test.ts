import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { BoundedQueue } from '../../src/shmem/bounded-queue.js';
import { Shared, makeShared, planShared } from '../../testing/shared.js';
import type { QueueHammerInput, QueueHammerOutput } from './bounded-queue-hammer.js';

const region = (size: number) => makeShared((plan) => BoundedQueue.plan(plan, 'test', size));

describe('the bounded queue', () => {
  it('is a queue: against an array, over many rounds', () => {
    const shared = region(8);
    const queue = new BoundedQueue(shared.slots, shared.regions);
    const model: [number, number][] = [];
    const step = fc.oneof(
      fc.record({ kind: fc.constant('put' as const), first: fc.integer(), second: fc.integer() }),
      fc.constant({ kind: 'take' as const }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        for (const one of steps) {
          if (one.kind === 'put') {
            assert.equal(queue.tryEnqueue(0, one.first, one.second), model.length < 8);
            if (model.length < 8) model.push([one.first | 0, one.second | 0]);
          } else {
            const expected = model.shift();
            assert.equal(queue.tryDequeue(), expected !== undefined);
            if (expected !== undefined) assert.deepEqual([queue.first, queue.second], expected);
          }
          assert.equal(queue.depth, model.length);
        }
      }),
    );
    assert.ok(!shared.slots.inCritical(0));
  });

  it('D-71: uses all of its slots', () => {
    const shared = region(64);
    const queue = new BoundedQueue(shared.slots, shared.regions);
    for (let item = 0; item < 64; item++) assert.ok(queue.tryEnqueue(0, item, 0));
    assert.ok(!queue.tryEnqueue(0, 64, 0));
  });

  it('refuses a size that is no power of two', () => {
    assert.throws(() => region(48), /power of two/);
  });

  for (const [producers, consumers, size] of [
    [3, 3, 4],
    [1, 3, 64],
    [4, 1, 1],
  ] as const) {
    it(`D-72: loses and doubles nothing: ${producers} producers, ${consumers} consumers, ${size} slot(s)`, async () => {
      const perProducer = 30_000;
      const handle = planShared((plan) => ({
        queue: BoundedQueue.plan(plan, 'test', size),
        taken: plan.reserve('taken', 1),
        seen: plan.reserve('seen', producers * perProducer),
      }));
      const threads = Array.from({ length: producers + consumers }, (_, thread) => {
        const workerData: QueueHammerInput = {
          handle,
          slot: thread,
          role: thread < producers ? 'produce' : 'consume',
          count: perProducer,
          total: producers * perProducer,
        };
        return new Worker(new URL('./bounded-queue-hammer.js', import.meta.url), { workerData });
      });
      const outputs = (await Promise.all(threads.map((thread) => once(thread, 'message')))).map(
        ([output]) => output as QueueHammerOutput,
      );
      assert.equal(
        outputs.reduce((sum, { wrong }) => sum + wrong, 0),
        0,
      );
      const { words, regions } = new Shared(handle);
      for (let item = 0; item < producers * perProducer; item++) {
        assert.equal(words.load(regions.seen + item), 1, `item ${item}`);
      }
    });
  }
});
