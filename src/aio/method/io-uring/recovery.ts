/**
 * What a thread that has ended leaves behind on rings; in the supervisor. See aio/recovery.ts for the rest.
 *
 * The addon has waited, on the dying thread, until the kernel was done with everything that it took. So on
 * the dead backend's own ring there are completions, which are taken here as by any other thread, and entries
 * that the kernel never took, which nobody carries any more: their I/O is run here. A completion lock that
 * the thread held is free again; what it had taken and not given back is still there (see reaper.ts).
 */
import type { Registration } from '../../../native/registered-memories.js';
import type { IoHandle } from '../../handle.js';
import { HandleState } from '../../states.js';
import type { AioThread } from '../../thread.js';
import type { MethodRecovery } from '../method.js';
import { runDequeued } from '../../reopened.js';
import { Reaper } from './reaper.js';
import type { Rings } from './rings.js';

export class RingRecovery implements MethodRecovery {
  readonly #thread: AioThread;
  readonly #rings: Rings;
  readonly #reaper: Reaper;

  constructor(thread: AioThread, rings: Rings, native: Registration) {
    this.#thread = thread;
    this.#rings = rings;
    this.#reaper = new Reaper(thread, rings, native);
  }

  recoverBackend(dead: number): void {
    this.#rings.recover(dead);
    this.#reaper.reap(dead);
    const { table } = this.#thread;
    const { perBackend } = table.region;
    const ring = this.#reaper.ring(dead);
    for (let index = dead * perBackend; index < (dead + 1) * perBackend; index++) {
      const io = table.handle(index);
      if (io.ring === dead && !ring.wasTaken(io.ringPosition)) io.takeOffRing();
    }
    ring.withdrawUntaken();
  }

  isCarriedElsewhere(io: IoHandle): boolean {
    return io.state === HandleState.SUBMITTED && io.ring >= 0;
  }

  submitAgain(io: IoHandle, generation: number): void {
    runDequeued(this.#thread, io, generation);
  }

  readonly waitOne = (io: IoHandle): void => {
    if (this.isCarriedElsewhere(io)) this.#reaper.reap(io.ring);
  };
}
