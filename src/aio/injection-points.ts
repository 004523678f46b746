/**
 * Named points at which a test can look, fail or hold an I/O. They exist in an instance only when it was
 * created with a module of hooks, which every thread imports; otherwise each point costs one null check.
 */
import type { IoMemories } from './execute.js';
import type { IoHandle } from './handle.js';

export interface InjectionHooks {
  /**
   * In whichever thread completes, before shared callbacks. Returns the result to go on with. May block, and
   * may write into the memory that was read into.
   */
  beforeSharedCompletion?(io: IoHandle, raw: number, memories: IoMemories): number;
  /** In whichever thread completed, before it wakes the waiters. */
  afterSharedCompletion?(io: IoHandle): void;
  /** In an I/O worker, after it took an I/O from the queue and before it becomes its executor. */
  workerDequeued?(workerId: number, io: IoHandle): void;
  /** In an I/O worker, as the executor, before it opens the file. */
  workerBeforeReopen?(workerId: number, io: IoHandle): void;
  /** In an I/O worker, after it opened the file. What it throws fails the I/O as a missing file does. */
  workerAfterReopen?(workerId: number, io: IoHandle): void;
  /** Before a blocked waiter tries for the completion lock of a ring, after it marked itself. */
  ringWaiterMarked?(ring: number, slot: number): void;
  /** After another thread had the lock, before it looks at its I/O again. */
  ringLockMissed?(ring: number, slot: number): void;
  /** In the holder of a ring's completion lock, after it took completions and before it gives them back. */
  ringTaken?(ring: number, slot: number, count: number): void;
  /** In who was that, after it unlocked and woke another, with the callbacks of what it took still to run. */
  ringUnlocked?(ring: number, slot: number, count: number): void;
  /** In a waiter that missed the lock, after it slept on its latch and before it looks; `woken`: not by the time. */
  ringWoken?(ring: number, slot: number, woken: boolean): void;
  /** In a ring's owner, between making entries visible and the system call that has the kernel take them. */
  ownerBeforeEnter?(ring: number): void;
  /**
   * In the issuer, in the method, before it tries to become the executor of an I/O that it staged: a waiter that
   * takes the I/O over meanwhile wins.
   */
  beforeSubmit?(io: IoHandle): void;
}

export class InjectionPoints {
  readonly hooks: InjectionHooks;

  constructor(hooks: InjectionHooks) {
    this.hooks = hooks;
  }

  beforeSharedCompletion(io: IoHandle, raw: number, memories: IoMemories): number {
    return this.hooks.beforeSharedCompletion?.(io, raw, memories) ?? raw;
  }
}
