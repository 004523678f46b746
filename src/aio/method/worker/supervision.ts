/**
 * The supervisor's part of the worker method: keeps the pool between its limits, replaces workers that
 * died, and sees to it that no I/O is lost with them. Runs on the supervision thread's event loop.
 * What a dead worker leaves behind among the I/Os is in aio/recovery.ts.
 */
import { AioRecovery } from '../../recovery.js';
import type { AioThread } from '../../thread.js';
import type { WorkerControl } from './control.js';
import { WorkerMethod } from './method.js';
import { Counter } from '../../../stats/counters.js';

/** After a worker that could not even start, so that a broken set-up does not busy the machine. */
const START_RETRY_MILLIS = 1000;

export interface WorkerLauncher {
  /** Starts the thread of a worker. */
  launch(worker: number): void;
}

export class WorkerSupervision {
  readonly #thread: AioThread;
  readonly #control: WorkerControl;
  readonly #launcher: WorkerLauncher;
  readonly #recovery: AioRecovery;
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
    this.#recovery = new AioRecovery(thread, new WorkerMethod(thread, control));
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
      this.#recovery.recoverExecutor(slot);
    }
    slots.release(slot);
    this.#control.wakeAll(); // somebody may have counted on this worker to take what is queued
    this.adjust();
  }

  /** Tells the workers to leave once the queue is empty. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#control.requestStop();
  }
}
