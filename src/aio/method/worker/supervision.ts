/**
 * The supervisor's part of the worker method: keeps the pool between its limits, replaces workers that
 * died, and sees to it that no I/O is lost with them. Runs on the supervision thread's event loop.
 *
 * What a dead worker leaves behind:
 *   it had dequeued an I/O and was not yet its executor  SUBMITTED, executor free: queued again
 *   it was the executor, the system call not finished    SUBMITTED: released and queued again, once; an I/O
 *                                                        whose second executor dies fails with EIO
 *   it was running completion callbacks                  COMPLETED_IO: they are run again, here
 *   it had completed and not yet woken the waiters       all waiters are woken: the owner may have used the
 *                                                        handle again meanwhile, so nothing tells whose
 * The system call itself cannot be running any more: a thread ends only after it has left the kernel.
 */
import { constants } from 'node:os';
import { broadcast } from '../../../shmem/condition.js';
import type { IoHandle } from '../../handle.js';
import { HandleState, generationOf, stateOf } from '../../states.js';
import type { AioThread } from '../../thread.js';
import type { WorkerControl } from './control.js';
import { runDequeued } from './run.js';
import { Counter } from '../../../stats/counters.js';

/** After a worker that could not even start, so that a broken set-up does not busy the machine. */
const START_RETRY_MILLIS = 1000;
/** An I/O may lose this many executors before it is declared the culprit. */
const MAX_DEATHS = 1;

export interface WorkerLauncher {
  /** Starts the thread of a worker. */
  launch(worker: number): void;
}

export class WorkerSupervision {
  readonly #thread: AioThread;
  readonly #control: WorkerControl;
  readonly #launcher: WorkerLauncher;
  readonly #running = new Set<number>();
  readonly #online = new Set<number>();
  #holdOffUntil = 0;
  #lastLaunch = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(thread: AioThread, control: WorkerControl, launcher: WorkerLauncher) {
    this.#thread = thread;
    this.#control = control;
    this.#launcher = launcher;
  }

  get running(): number {
    return this.#running.size;
  }

  /** Brings the pool to what the limits and the growth request ask for. Call it whenever either may have changed. */
  adjust(): void {
    if (this.#stopped) return;
    const holdOff = this.#holdOffUntil - performance.now();
    if (holdOff > 0) {
      this.#adjustLater(holdOff);
      return;
    }
    const { minWorkers, maxWorkers, launchInterval } = this.#control.limits;
    while (this.#control.count < minWorkers) {
      if (!this.#addWorker()) return;
    }
    if (this.#control.count > maxWorkers) this.#control.wakeAll(); // the highest numbers leave
    this.#replaceMissing();
    if (!this.#control.growthRequested || this.#control.count >= maxWorkers) return;
    const wait = this.#lastLaunch + launchInterval - performance.now();
    if (wait > 0) {
      this.#adjustLater(wait);
      return;
    }
    this.#control.withdrawGrowth();
    this.#addWorker();
  }

  /** False while the next number's last thread has not ended yet; its exit calls `adjust` again. */
  #addWorker(): boolean {
    const { count } = this.#control;
    if (this.#running.has(count)) return false;
    if (this.#control.tryChangeCount(count, count + 1)) this.#launch(count);
    return true;
  }

  #replaceMissing(): void {
    for (let worker = 0; worker < this.#control.count; worker++) {
      if (!this.#running.has(worker)) this.#launch(worker);
    }
  }

  #launch(worker: number): void {
    this.#running.add(worker);
    this.#lastLaunch = performance.now();
    this.#thread.counters.count(Counter.workersStarted);
    this.#launcher.launch(worker);
  }

  #adjustLater(millis: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.adjust();
    }, millis);
  }

  /** A worker's thread is up. */
  workerOnline(worker: number): void {
    this.#online.add(worker);
  }

  /** A worker's thread has ended; `died` unless it left by itself. */
  workerExited(worker: number, died: boolean): void {
    const { slots } = this.#thread;
    const slot = slots.workerSlot(worker);
    this.#running.delete(worker);
    this.#control.markGone(worker);
    if (!this.#online.delete(worker)) this.#holdOffUntil = performance.now() + START_RETRY_MILLIS;
    if (died) {
      this.#thread.counters.count(Counter.workersLost);
      if (slots.inCritical(slot)) {
        this.#thread.crash(`I/O worker ${worker} ended inside a critical section`);
        return;
      }
      this.#recover(slot);
    }
    slots.release(slot);
    this.#control.wakeAll(); // somebody may have counted on this worker to take what is queued
    this.adjust();
  }

  #recover(dead: number): void {
    const { table } = this.#thread;
    for (let index = 0; index < table.region.count; index++) {
      const io = table.handle(index);
      this.#thread.completion.wakeWaiters(io);
      const word = io.stateWord;
      const state = stateOf(word);
      if (state < HandleState.SUBMITTED || state > HandleState.COMPLETED_SHARED) continue;
      const generation = generationOf(word);
      const executor = io.executor;
      if (executor === dead) this.#recoverExecuted(io, generation, dead);
      else if (executor === -1 && state === HandleState.SUBMITTED) this.#queueAgain(io, generation);
    }
  }

  #recoverExecuted(io: IoHandle, generation: number, dead: number): void {
    if (!io.tryTakeFromDead(dead, this.#thread.slot, generation)) return;
    switch (io.state) {
      case HandleState.SUBMITTED:
        this.#retry(io, generation);
        break;
      case HandleState.COMPLETED_IO:
        io.deaths++; // tells the callbacks that they may have run already
        this.#thread.completeShared(io);
        break;
      default: // completed, and all who waited are awake
    }
  }

  #retry(io: IoHandle, generation: number): void {
    if (io.deaths >= MAX_DEATHS) {
      this.#thread.log({
        level: 'warning',
        message: `failing an I/O whose worker died twice: ${io.describe()}`,
      });
      this.#thread.finish(io, -constants.errno.EIO);
      return;
    }
    io.deaths++;
    io.giveUpExecutor(generation);
    this.#queueAgain(io, generation);
  }

  /** The state changed for nobody, but waiters may have to look: nobody is executing it just now. */
  #queueAgain(io: IoHandle, generation: number): void {
    if (this.#control.queue.tryEnqueue(this.#thread.slot, io.index, generation)) {
      this.#control.wakeOneIdle();
      broadcast(this.#thread.slots, io.waitersCondition);
    } else {
      runDequeued(this.#thread, io, generation);
    }
  }

  /** Tells the workers to leave once the queue is empty. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#control.requestStop();
  }
}
