/**
 * The worker method, issuer's side: I/O goes through a bounded queue to threads that carry it out with
 * blocking calls. PostgreSQL's method_worker.c.
 *
 * When the queue is full, or no worker lives, the issuer runs the I/O itself. A waiter may take over what
 * another backend staged and did not yet submit: the move to SUBMITTED decides who hands it to the queue,
 * the executor word decides who runs it, so a duplicate in the queue does no harm.
 */
import type { IoHandle } from '../../handle.js';
import { HandleFlag } from '../../operation.js';
import { HandleState, generationOf, stateOf } from '../../states.js';
import type { AioThread } from '../../thread.js';
import type { IoMethodOps, MethodRecovery } from '../method.js';
import type { WorkerControl } from './control.js';
import { runDequeued } from '../../reopened.js';
import { Counter } from '../../../stats/counters.js';

export class WorkerMethod implements IoMethodOps, MethodRecovery {
  readonly name = 'worker';
  readonly waitOnFdBeforeClose = false;
  readonly #thread: AioThread;
  readonly #control: WorkerControl;
  readonly #rest: IoHandle[] = [];

  constructor(thread: AioThread, control: WorkerControl) {
    this.#thread = thread;
    this.#control = control;
  }

  needsSynchronousExecution(io: IoHandle): boolean {
    return (
      (io.flags & HandleFlag.REFERENCES_LOCAL) !== 0 ||
      this.#thread.registry.target(io.target).reopen === undefined ||
      !this.#control.anyAlive
    );
  }

  submit(staged: readonly IoHandle[], count: number): void {
    const rest = this.#rest;
    let queued = 0;
    for (let index = 0; index < count; index++) {
      const io = staged[index] as IoHandle;
      this.#thread.injection?.hooks.beforeSubmit?.(io);
      if (!io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, io.generation)) continue;
      if (rest.length === 0 && this.#enqueue(io)) queued++;
      else rest.push(io);
    }
    this.#thread.counters.count(Counter.submissions, queued);
    if (queued > 0) this.#control.wakeOneIdle();
    for (const io of rest) this.#enqueueOrRun(io);
    rest.length = 0;
  }

  #enqueue(io: IoHandle): boolean {
    return this.#control.queue.tryEnqueue(this.#thread.slot, io.index, io.generation);
  }

  /** The queue was full a moment ago: try once more, else do the work here. */
  #enqueueOrRun(io: IoHandle): void {
    if (this.#enqueue(io)) {
      this.#thread.counters.count(Counter.submissions);
      this.#control.wakeOneIdle();
      return;
    }
    if (!io.tryBecomeExecutor(this.#thread.slot, io.generation)) return;
    this.#thread.counters.count(Counter.inlineExecutions);
    this.#thread.run(io, io.fd);
  }

  readonly waitOne = (io: IoHandle, generation: number): void => {
    const word = io.stateWord;
    if (generationOf(word) !== generation) return;
    if (stateOf(word) === HandleState.STAGED && io.owner !== this.#thread.slot)
      this.#takeOver(io, generation);
    if (!this.#control.anyAlive) this.#workOnce();
  };

  /** Submits somebody else's staged I/O in its place. */
  #takeOver(io: IoHandle, generation: number): void {
    if (this.#thread.isForeignLocal(io)) return;
    if (!io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, generation)) return;
    this.#thread.counters.count(Counter.takenOver);
    if (this.#control.queue.tryEnqueue(this.#thread.slot, io.index, generation)) this.#control.wakeOneIdle();
    else runDequeued(this.#thread, io, generation);
  }

  submitAgain(io: IoHandle, generation: number): void {
    if (this.#enqueue(io)) this.#control.wakeOneIdle();
    else runDequeued(this.#thread, io, generation);
  }

  /** No worker lives: the waiter does a worker's job until one does. */
  #workOnce(): void {
    const { queue } = this.#control;
    if (queue.tryDequeue()) runDequeued(this.#thread, this.#thread.table.handle(queue.first), queue.second);
  }
}
