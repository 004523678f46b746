/**
 * An I/O worker: takes I/O from the queue until it is told to leave. Blocks its thread.
 *
 * It announces that it is idle before it looks at the queue for the last time, and clears that again
 * before it counts what else is queued: so an issuer either wakes it, or it sees the issuer's I/O, or it
 * wakes another worker for it.
 */
import { OwnLatch } from '../../../shmem/latch.js';
import type { AioThread } from '../../thread.js';
import type { WorkerControl, WorkerLimits } from './control.js';
import { runDequeued } from '../../reopened.js';
import { Counter } from '../../../stats/counters.js';

/** How many more workers a woken worker wakes while there is work: PostgreSQL's IO_WORKER_WAKEUP_FANOUT. */
export const IO_WORKER_WAKEUP_FANOUT = 2;
const FOREVER = Number.POSITIVE_INFINITY;

export class WorkerLoop {
  readonly #thread: AioThread;
  readonly #control: WorkerControl;
  readonly #worker: number;
  readonly #latch: OwnLatch;
  /** When it began to be idle; 0 while it is not. */
  #idleSince = 0;
  #limitsVersion = 0;

  constructor(thread: AioThread, control: WorkerControl, worker: number) {
    this.#thread = thread;
    this.#control = control;
    this.#worker = worker;
    this.#latch = new OwnLatch(thread.slots, thread.slot);
  }

  /** For a worker that is marked alive. Returns when it should leave: stopped, one too many, or idle for too long. */
  run(): void {
    const { queue } = this.#control;
    for (;;) {
      if (!queue.tryDequeue()) {
        const outcome = this.#dequeueOrSleep();
        if (outcome === 'leave') return;
        if (outcome === 'slept') continue;
      }
      const index = queue.first;
      const generation = queue.second;
      this.#idleSince = 0;
      this.#spreadWork();
      const io = this.#thread.table.handle(index);
      this.#thread.injection?.hooks.workerDequeued?.(this.#worker, io);
      // What cannot open files should not go on taking I/O: as PostgreSQL's, this worker ends and is replaced.
      const failure = runDequeued(this.#thread, io, generation, this.#worker);
      if (failure !== null) throw failure;
    }
  }

  /**
   * Looks at the queue once more, then sleeps. Whether to leave is asked here only, once a round: leaving
   * has lowered the count already.
   */
  #dequeueOrSleep(): 'dequeued' | 'slept' | 'leave' {
    const seen = this.#latch.announceBlocking();
    this.#control.markIdle(this.#worker);
    try {
      if (this.#control.queue.tryDequeue()) return 'dequeued';
      this.#control.withdrawGrowth();
      const limits = this.#limits();
      if (this.#shouldLeave(limits)) return 'leave';
      this.#thread.header.checkCrashed();
      if (this.#latch.sleep(seen, this.#sleepMillis(limits))) this.#thread.counters.count(Counter.wakeups);
      return 'slept';
    } finally {
      this.#control.markBusy(this.#worker);
      this.#latch.retractBlocking();
    }
  }

  /** Wakes others for what is still queued, or asks for another worker when nobody is idle. */
  #spreadWork(): void {
    const depth = this.#control.queue.depth;
    for (let wakes = 0; wakes < IO_WORKER_WAKEUP_FANOUT && wakes < depth; wakes++) {
      if (this.#control.wakeOneIdle()) continue;
      if (depth > this.#worker) this.#control.requestGrowth();
      return;
    }
  }

  /** Until it may leave for having been idle; for ever if it may not: whoever changes that wakes it. */
  #sleepMillis({ minWorkers, idleTimeout }: WorkerLimits): number {
    const { count } = this.#control;
    if (idleTimeout < 0 || count <= minWorkers || this.#worker !== count - 1) return FOREVER;
    return Math.max(0, this.#idleSince + idleTimeout - performance.now());
  }

  /** The limits; new ones restart the clock. Read before their version, which is raised before they change. */
  #limits(): WorkerLimits {
    const { limits, limitsVersion } = this.#control;
    if (this.#idleSince === 0 || limitsVersion !== this.#limitsVersion) this.#idleSince = performance.now();
    this.#limitsVersion = limitsVersion;
    return limits;
  }

  /** Only the highest number may leave, so that numbers stay gap-free. */
  #shouldLeave({ minWorkers, maxWorkers, idleTimeout }: WorkerLimits): boolean {
    if (this.#control.stopping) return true;
    const count = this.#control.count;
    if (this.#worker !== count - 1) return false;
    const tooMany = count > maxWorkers;
    const idleTooLong =
      count > minWorkers && idleTimeout >= 0 && performance.now() >= this.#idleSince + idleTimeout;
    return (tooMany || idleTooLong) && this.#control.tryChangeCount(count, count - 1);
  }
}
