/**
 * Completion: from the kernel's answer to a state that every thread can see. Runs in whichever thread is
 * the handle's executor. Nothing here throws for the sake of an I/O: failures are integers.
 */
import { broadcast } from '../shmem/condition.js';
import type { Registry } from './callback.js';
import type { HandleTable, IoHandle } from './handle.js';
import type { InjectionPoints } from './injection-points.js';
import { ResultStatus, type AioResult } from './result.js';
import { HandleState } from './states.js';

export class Completion {
  readonly #table: HandleTable;
  readonly #registry: Registry;
  readonly #injection: InjectionPoints | null;
  /** The result under work. Completion never recurses, so one is enough for a thread. */
  readonly #scratch: AioResult = { status: ResultStatus.OK, reporter: 0, errorData: 0, value: 0 };

  constructor(table: HandleTable, registry: Registry, injection: InjectionPoints | null) {
    this.#table = table;
    this.#registry = registry;
    this.#injection = injection;
  }

  /** The kernel is done with a SUBMITTED handle of which this thread is the executor; `raw` < 0 is -errno. */
  complete(io: IoHandle, raw: number): void {
    io.raw = this.#injection === null ? raw : this.#injection.runBeforeSharedCompletion(io, raw);
    io.move(HandleState.SUBMITTED, HandleState.COMPLETED_IO);
    this.completeShared(io);
  }

  /** From COMPLETED_IO on; also where an I/O goes on whose completer died. */
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
    this.wakeWaiters(io);
  }

  /** The owner may recycle the handle meanwhile: then this wakes the next I/O's waiters, who look again. */
  wakeWaiters(io: IoHandle): void {
    broadcast(this.#table.slots, io.waitersCondition);
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
