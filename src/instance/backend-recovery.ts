/**
 * A backend whose thread has ended without closing it: everything that it held in shared memory is found and
 * given back, layer by layer, and the instance goes on. Runs in the supervisor. Only a thread that ended
 * inside a critical section may have left something torn; then the instance crashes.
 *
 * The order. First the I/O that it had in its hands or owned: what it had tied to an I/O is the I/O's from
 * then on. Then its claims and pins. Then, once the last I/O is over, what that used: I/O memory that the
 * kernel may have been writing into, file table entries by which others open the file, descriptors. The slot
 * comes last: it is ENDED until then, so that nobody else uses its handles.
 *
 * Nothing here waits. What is not over is looked at again.
 */
import { AioRecovery } from '../aio/recovery.js';
import { InstanceCrashedError } from '../base/errors.js';
import { releaseBuffersOf } from '../buffer/recovery.js';
import { CheckpointLock } from '../recovery/checkpoint-lock.js';
import { IoMemory } from '../shmem/io-memory.js';
import { SlotStatus, type Slots } from '../shmem/slots.js';
import { threadIdMayBeAlive, threadMayBeAlive } from '../shmem/thread-identity.js';
import { ExtensionLocks } from '../smgr/extension-locks.js';
import { Counter } from '../stats/counters.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { methodRecovery } from './methods.js';
import type { ThreadParts } from './thread-parts.js';

export class BackendRecovery {
  readonly #parts: ThreadParts;
  readonly #slots: Slots;
  readonly #aio: AioRecovery;
  readonly #ioMemory: IoMemory;
  /** Slots that are ENDED: I/O of theirs is still in flight. */
  readonly #pending = new Set<number>();

  constructor(parts: ThreadParts) {
    const { slots, plan } = parts.memory;
    this.#parts = parts;
    this.#slots = slots;
    this.#aio = new AioRecovery(parts.thread, methodRecovery(parts));
    this.#ioMemory = new IoMemory(slots, parts.slot, plan.ioMemory);
    slots.checkAlive = () => this.#checkLockHolders();
  }

  /** Backends that are not given back whole yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /** A thread has said that it ended. Cheap: nobody else is asked whether it lives. */
  lookAtNotices(): void {
    for (let slot = 0; slot < this.#slots.region.maxBackends; slot++) {
      if (this.#parts.memory.header.isCrashed) return;
      if (this.#slots.hasNotifiedExit(slot, this.#slots.identity(slot)) && this.#backendHasEnded(slot))
        this.#begin(slot);
    }
    this.continue();
  }

  /** Looks whether the thread of a backend has ended, also of one that cannot say so. */
  lookAfterBackends(): void {
    for (let slot = 0; slot < this.#slots.region.maxBackends; slot++) {
      if (this.#parts.memory.header.isCrashed) return;
      const claimer = this.#slots.claimer(slot);
      if (claimer !== 0 && !threadIdMayBeAlive(claimer)) this.#slots.tryReleaseClaimed(slot, claimer);
      if (this.#backendHasEnded(slot)) this.#begin(slot);
    }
    this.continue();
  }

  /** The one place that knows how that is found out. */
  #backendHasEnded(slot: number): boolean {
    if (this.#slots.status(slot) !== SlotStatus.ATTACHED) return false;
    const identity = this.#slots.identity(slot);
    if (!this.#slots.hasNotifiedExit(slot, identity) && threadMayBeAlive(identity)) return false;
    // The slot was not given back, and perhaps taken by another thread, while we looked.
    const now = this.#slots.identity(slot);
    const same = now.threadId === identity.threadId && now.startTime === identity.startTime;
    return same && this.#slots.status(slot) === SlotStatus.ATTACHED;
  }

  /**
   * While this thread waits for a spin lock, nobody else looks after backends: a dead one may be what holds it.
   * Throws when the instance has crashed.
   */
  #checkLockHolders(): void {
    const { header } = this.#parts.memory;
    header.checkCrashed();
    for (let slot = 0; slot < this.#slots.region.maxBackends; slot++) {
      if (this.#slots.inCritical(slot) && this.#backendHasEnded(slot)) this.#crash(slot);
    }
    header.checkCrashed();
  }

  #crash(slot: number): void {
    this.#parts.thread.crash(`the thread of backend ${slot} ended inside a critical section`);
  }

  #begin(slot: number): void {
    const { thread, bufferIo, memory } = this.#parts;
    if (this.#slots.inCritical(slot)) {
      this.#crash(slot);
      return;
    }
    thread.log({
      level: 'warning',
      message: `the thread of backend ${slot} ended without closing it; what it held is given back`,
    });
    thread.counters.count(Counter.backendsLost);
    this.#slots.markEnded(slot);
    this.#aio.beginBackend(slot);
    this.#aio.recoverOwned(slot);
    releaseBuffersOf(this.#slots, slot, memory.plan.buffers, bufferIo);
    ExtensionLocks.releaseOf(this.#slots, slot, memory.plan.extensionLocks);
    const { checkpointLock, truncationLock } = memory.plan;
    for (const lock of [checkpointLock, truncationLock]) new CheckpointLock(this.#slots, lock).release(slot);
    this.#pending.add(slot);
  }

  /** Looks again at those whose I/O was not over. Call it whenever this thread's latch is set, and now and then. */
  continue(): void {
    for (const slot of this.#pending) {
      if (this.#parts.memory.header.isCrashed) return;
      if (this.#aio.recoverOwned(slot)) this.#finish(slot);
    }
  }

  #finish(slot: number): void {
    const { files, memory } = this.#parts;
    try {
      this.#ioMemory.releaseOf(slot);
      this.#parts.bounces.releaseOf(slot);
    } catch (error) {
      if (error instanceof InstanceCrashedError) return; // whoever had the lock has died with it
      throw error;
    }
    files.releaseOf(slot);
    new DescriptorBudget(memory.words, memory.plan.budget, slot).giveBackAll();
    this.#slots.release(slot);
    this.#pending.delete(slot);
  }
}
