import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { lockSpin, unlockSpin } from '../../src/shmem/spin-lock.js';
import { Shared, makeShared, planShared } from '../../testing/shared.js';
import type { LockHammerInput } from './spin-lock-hammer.js';

describe('the spin lock', () => {
  it('lets one thread in at a time', async () => {
    const handle = planShared((plan) => ({
      lock: plan.reserve('lock', 1),
      counter: plan.reserve('counter', 1),
    }));
    const rounds = 50_000;
    const threads = [0, 1, 2].map((slot) => {
      const workerData: LockHammerInput = { handle, slot, rounds };
      return new Worker(new URL('./spin-lock-hammer.js', import.meta.url), { workerData });
    });
    await Promise.all(threads.map((thread) => once(thread, 'exit')));
    const { words, regions } = new Shared(handle);
    assert.equal(words.load(regions.counter), 3 * rounds);
    assert.equal(words.load(regions.lock), 0);
  });

  it('names its holder', () => {
    const shared = makeShared((plan) => plan.reserve('lock', 1));
    lockSpin(shared.slots, shared.regions, 5);
    assert.equal(shared.words.load(shared.regions), 6);
    unlockSpin(shared.slots, shared.regions, 5);
    assert.equal(shared.words.load(shared.regions), 0);
  });

  it('whose holder died is not waited for once the instance has crashed', () => {
    const shared = makeShared((plan) => plan.reserve('lock', 1));
    lockSpin(shared.slots, shared.regions, 1);
    shared.header.markCrashed('backend 1 ended');
    assert.throws(() => lockSpin(shared.slots, shared.regions, 2), { code: 'ERR_PGAIO_INSTANCE_CRASHED' });
  });
});
