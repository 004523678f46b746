/**
 * Taking completions from rings, the own one and others': the protocol that rings.ts draws.
 */
import { constants } from 'node:os';
import { fail } from '../../../base/assert.js';
import type { Registration } from '../../../native/registered-memories.js';
import { Phase } from '../../../shmem/header.js';
import type { OwnLatch } from '../../../shmem/latch.js';
import { HandleState, generationOf, stateOf } from '../../states.js';
import type { IoHandle } from '../../handle.js';
import type { AioThread } from '../../thread.js';
import { runReopened, runsInIssuerOnly } from '../../reopened.js';
import { PROBE_BITS } from './punting.js';
import { Ring } from './ring.js';
import type { Rings } from './rings.js';

/** Completions taken at once: PostgreSQL's PGAIO_MAX_LOCAL_COMPLETED_IO. */
export const REAP_BATCH_SIZE = 32;
/** How often a holder looks back before it leaves the rest to others. */
const LOOKS_MAX = 8;
const { EBADF, EINTR, ETIME, EAGAIN, EBUSY, ECANCELED } = constants.errno;

export class Reaper {
  readonly #thread: AioThread;
  readonly #rings: Rings;
  readonly #native: Registration;
  readonly #windows: (Ring | undefined)[] = [];
  /** The first `#takenCount` are what was taken last; setting an array's length costs more than all this. */
  #taken: IoHandle[] = [];
  #takenCount = 0;
  /** Arrays that are not in use: finishing an I/O may close a descriptor, wait for another I/O, and reap. */
  readonly #spare: IoHandle[][] = [];
  /** I/Os that the kernel gave back as they were, and of which this thread is the executor. */
  readonly #unrun: IoHandle[] = [];

  constructor(thread: AioThread, rings: Rings, native: Registration) {
    this.#thread = thread;
    this.#rings = rings;
    this.#native = native;
  }

  ring(index: number): Ring {
    return (this.#windows[index] ??= new Ring(this.#native.addon, this.#rings, index));
  }

  /** Completes what is there, unless another thread is at it, which then looks back itself. */
  reap(index: number): void {
    this.reapOnly(index);
    while (this.#unrun.length > 0) this.#run(this.#unrun.pop() as IoHandle);
  }

  /** As the executor of what the kernel gave back as it was: runs it, leaves it to its issuer, or ends it if that wants it no more. */
  #run(io: IoHandle): void {
    const thread = this.#thread;
    if (io.isUnwanted) {
      thread.cancel(io);
    } else if (!runsInIssuerOnly(thread, io)) {
      runReopened(thread, io);
    } else if (io.owner === thread.slot) {
      thread.run(io, io.fd);
    } else {
      io.giveUpExecutor(io.generation);
      thread.wakeWaiters(io); // the issuer looks at its next time slice at the latest
    }
  }

  /** As `reap`, for whoever must not do I/O now; what the kernel gave back as it was is run by the next `reap`. */
  reapOnly(index: number): void {
    const ring = this.ring(index);
    for (let looks = 0; looks < LOOKS_MAX && ring.hasCompletions; looks++) {
      if (!this.#rings.tryLock(index, this.#thread.slot)) return;
      this.#takeAndUnlock(ring);
      this.#finish();
    }
  }

  /** Whether a completion of the ring is there, and another thread about to take it. */
  isBeingReaped(index: number): boolean {
    return this.ring(index).hasCompletions && this.#rings.holder(index) !== -1;
  }

  /**
   * Sleeps until the I/O, or another of its ring, is complete, in the kernel where nobody else does, else on
   * the latch. For at most `millis`; false after a time-out.
   */
  sleep(
    index: number,
    io: IoHandle,
    generation: number,
    latch: OwnLatch,
    seen: number,
    millis: number,
  ): boolean {
    const { slot, injection } = this.#thread;
    const rings = this.#rings;
    rings.mark(index, slot);
    injection?.hooks.ringWaiterMarked?.(index, slot);
    if (rings.tryLock(index, slot)) {
      rings.unmark(index, slot); // it waits no more: a wake that went to it would be lost
      return this.#sleepAsHolder(this.ring(index), io, generation, millis);
    }
    try {
      injection?.hooks.ringLockMissed?.(index, slot);
      if (!stillRuns(io, generation)) return true;
      const woken = latch.sleep(seen, millis);
      injection?.hooks.ringWoken?.(index, slot, woken);
      return woken;
    } finally {
      rings.unmark(index, slot);
      if (!stillRuns(io, generation)) rings.passOn(index, slot);
    }
  }

  #sleepAsHolder(ring: Ring, io: IoHandle, generation: number, millis: number): boolean {
    let result = 0;
    try {
      const here = stillRuns(io, generation) && io.ring === ring.index;
      if (here && !ring.hasCompletions) result = ring.wait(millis);
    } finally {
      this.#takeAndUnlock(ring);
    }
    this.#finish();
    this.reap(ring.index); // what came while the callbacks ran: the lock was free, but who tried it before saw it held
    if (result === -ETIME) return false;
    if (result < 0 && result !== -EINTR && result !== -EAGAIN && result !== -EBUSY)
      this.crash('a wait', result);
    return true;
  }

  /** The kernel refused what it must not refuse: nothing is dropped, so nothing can go on. */
  crash(what: string, result: number): never {
    const closed = result === -EBADF && this.#thread.header.phase !== Phase.OPEN;
    this.#thread.crash(
      closed
        ? `its creator closed it while ${this.#thread.slots.describe(this.#thread.slot)} had I/O in flight`
        : `the kernel refused ${what} with errno ${-result}`,
    );
    this.#thread.header.checkCrashed();
    return fail('a crash that is none');
  }

  /**
   * With the lock held. A thread that ends in here leaves nothing torn: until the entries are given back, the
   * next holder finds them again, and drops those whose handles moved on already.
   */
  #takeAndUnlock(ring: Ring): void {
    const { slot, table, injection } = this.#thread;
    let count: number;
    try {
      count = ring.available(REAP_BATCH_SIZE);
      for (let at = 0; at < count; at++) {
        const index = ring.completedIndex(at);
        const generation = ring.completedTag(at) >>> PROBE_BITS;
        const raw = ring.completedResult(at);
        if (index < 0 || index >= table.region.count) continue;
        const io = table.handle(index);
        if (!stillRuns(io, generation) || io.ring !== ring.index) continue;
        if (wasNotRun(raw)) io.takeFromRing(slot, generation);
        else io.completeCarried(slot, generation, raw);
        this.#taken[this.#takenCount++] = io;
      }
      injection?.hooks.ringTaken?.(ring.index, slot, count);
      if (count > 0) ring.giveBack(count);
    } finally {
      this.#rings.unlock(ring.index, slot);
    }
    injection?.hooks.ringUnlocked?.(ring.index, slot, count);
  }

  /** The callbacks of what was taken, without the lock. */
  #finish(): void {
    const count = this.#takenCount;
    if (count === 0) return;
    const taken = this.#taken;
    this.#taken = this.#spare.pop() ?? [];
    this.#takenCount = 0; // a callback that throws has crashed the instance: the others are not finished
    for (let at = 0; at < count; at++) {
      const io = taken[at] as IoHandle;
      if (io.ring < 0) this.#unrun.push(io);
      else this.#thread.finishCarried(io);
    }
    this.#spare.push(taken);
  }
}

/** Whether the kernel may still be at it. */
export function stillRuns(io: IoHandle, generation: number): boolean {
  const word = io.stateWord;
  return generationOf(word) === generation && stateOf(word) === HandleState.SUBMITTED;
}

/** The kernel did not carry it out: its submitter wants it no more, or that thread ended, or it could not. */
function wasNotRun(raw: number): boolean {
  return raw === -ECANCELED || raw === -EAGAIN || raw === -EINTR;
}
