/**
 * The interface of an I/O method: PostgreSQL's IoMethodOps. A thread cannot hand functions to another, so each
 * backend makes its own operations over what the method shares; that is planned in instance/shared-state.ts
 * and initialised by the creator, as PostgreSQL's shmem_size and shmem_init.
 *
 * Admission test for a method: a backend that waits for an I/O makes progress while the issuer is blocked.
 */
import type { IoMethodName } from '../../base/settings.js';
import type { IoSleeper } from '../../shmem/wait.js';
import type { IoHandle } from '../handle.js';

/** What the supervisor needs of a method when a thread has ended: see aio/recovery.ts. Nothing here waits. */
export interface MethodRecovery {
  /** A backend's thread has ended: gives back what the method kept for it, before its handles are looked at. */
  recoverBackend?(dead: number): void;
  /**
   * True: the I/O is SUBMITTED and with the kernel, whatever became of the thread that submitted it. It is
   * neither run again nor taken from its executor; the method completes it.
   */
  isCarriedElsewhere?(io: IoHandle): boolean;
  /**
   * Has a SUBMITTED I/O run whose executor word is free. It may be with the method already: where it is
   * submitted twice, the executor word decides.
   */
  submitAgain(io: IoHandle, generation: number): void;
  /** As in IoMethodOps: the supervisor waits for the I/O of a dead backend. */
  readonly waitOne: IoMethodOps['waitOne'];
}

export interface IoMethodOps {
  readonly name: IoMethodName;
  /** A descriptor may be closed only when no I/O on it is in flight. */
  readonly waitOnFdBeforeClose: boolean;
  /** True: the issuer runs the I/O itself, at once. May look at the handle; must not change it. */
  needsSynchronousExecution(io: IoHandle): boolean;
  /**
   * Takes the first `count` handles of `staged`, this backend's own. Leaves each SUBMITTED or further on;
   * one that another backend took over meanwhile is skipped. Waits for no particular I/O.
   */
  submit(staged: readonly IoHandle[], count: number): void;
  /**
   * The owner of this SUBMITTED I/O, which has an executor, does not want it any more: where the method can, it ends with
   * ECANCELED without having been carried out. It comes to its end in any case.
   */
  cancel?(io: IoHandle, generation: number): void;
  /**
   * Called before a waiter for this I/O sleeps, at least once a slice: helps the I/O along where nobody
   * else may. Does not sleep. Null: completion needs no help.
   */
  readonly waitOne: ((io: IoHandle, generation: number) => void) | null;
  /** How to sleep for an I/O, where that is not just a matter of the latch. */
  readonly sleeper?: IoSleeper;
  /** The backend leaves; nothing of it is in flight, unless the instance crashed. False: the kernel is still at it. */
  leave?(): boolean;
}
