/**
 * The callbacks of an I/O in their order, and the moves around them. Completion: from the kernel's answer to
 * a state that every thread can see. Runs in whichever thread is the handle's executor. Nothing here throws
 * for the sake of an I/O: failures are integers.
 */
import { broadcast } from '../shmem/condition.js';
import type { Registry } from './callback.js';
import type { HandleTable, IoHandle } from './handle.js';
import { ResultStatus, type AioResult } from './result.js';
import { HandleState } from './states.js';

export class Completion {
  readonly #table: HandleTable;
  readonly #registry: Registry;
  /** The result under work. Completion never recurses, so one is enough for a thread. */
  readonly #scratch: AioResult = { status: ResultStatus.OK, reporter: 0, errorData: 0, value: 0 };

  constructor(table: HandleTable, registry: Registry) {
    this.#table = table;
    this.#registry = registry;
  }

  /** In the owner, inside the start call. */
  stage(io: IoHandle): void {
    const count = io.callbackCount;
    for (let slot = 0; slot < count; slot++) {
      const id = io.callbackId(slot);
      if (id !== 0) this.#registry.callback(id).stage?.(io, io.callbackData(slot));
    }
  }

  /** COMPLETED_IO → COMPLETED_SHARED, in the executor. The waiters are not woken yet. */
  completeShared(io: IoHandle): void {
    const result = this.#scratch;
    result.status = ResultStatus.OK;
    result.reporter = 0;
    result.errorData = 0;
    result.value = io.raw;
    const count = io.callbackCount;
    for (let slot = 0; slot < count; slot++) {
      const id = io.callbackId(slot);
      if (id !== 0) this.#registry.callback(id).completeShared?.(io, result, io.callbackData(slot));
    }
    const { words } = this.#table;
    const index = io.resultIndex;
    words.set(index, result.status);
    words.set(index + 1, result.reporter);
    words.set(index + 2, result.errorData);
    words.set(index + 3, result.value);
    io.move(HandleState.COMPLETED_IO, HandleState.COMPLETED_SHARED); // publishes the result
  }

  /**
   * The owner may recycle the handle meanwhile: then this wakes the next I/O's waiters, who look again. True
   * when tasks of this thread, `self`, are among them.
   */
  wakeWaiters(io: IoHandle, self = -1): boolean {
    return broadcast(this.#table.slots, io.waitersCondition, self);
  }

  /** In the owner: reads the result back and runs the local callbacks. */
  completeLocal(io: IoHandle, into: AioResult): void {
    const { words } = this.#table;
    const index = io.resultIndex;
    into.status = words.get(index) as ResultStatus;
    into.reporter = words.get(index + 1);
    into.errorData = words.get(index + 2);
    into.value = words.get(index + 3);
    const count = io.callbackCount;
    for (let slot = 0; slot < count; slot++) {
      const id = io.callbackId(slot);
      if (id !== 0) this.#registry.callback(id).completeLocal?.(io, into, io.callbackData(slot));
    }
    io.move(HandleState.COMPLETED_SHARED, HandleState.COMPLETED_LOCAL);
  }
}
