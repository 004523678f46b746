/** One thread of the lock's torture: adds to a counter without atomics, under the lock. */
import { workerData } from 'node:worker_threads';
import { lockSpin, unlockSpin } from '../../src/shmem/spin-lock.js';
import { Shared, type SharedHandle } from '../../testing/shared.js';

export interface LockHammerInput {
  handle: SharedHandle<{ lock: number; counter: number }>;
  slot: number;
  rounds: number;
}

const { handle, slot, rounds } = workerData as LockHammerInput;
const { slots, words, regions } = new Shared(handle);
for (let round = 0; round < rounds; round++) {
  lockSpin(slots, regions.lock, slot);
  words.set(regions.counter, words.get(regions.counter) + 1);
  unlockSpin(slots, regions.lock, slot);
}
