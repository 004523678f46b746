/**
 * Shared state of the worker method: the submission queue, and the pool's roster.
 *
 *   issuer ──enqueue──▶ queue ──dequeue──▶ workers 0 … n-1         idle mask: bit = asleep, may be woken
 *                                              │
 *   supervisor ◀── grow request ───────────────┘                   alive mask: bit = in its loop
 *
 * Who writes: `idleMask` a worker sets its own bit before it looks at the queue for the last time; whoever
 * wakes it clears the bit (and must then set the latch); the worker clears it itself when it found work.
 * `aliveMask` a worker sets its bit when it starts, and clears it when it leaves; the supervisor clears it
 * when it died. `count` is how many numbers are in use, 0 … count-1 without gaps: the supervisor raises it,
 * the worker with the highest number lowers it when it leaves (compare-and-swap both). `growRequest` any
 * worker, the supervisor takes it. The limits: anybody, through `setLimits`. `stop`: the supervisor.
 */
import { CACHE_LINE_WORDS, declareLayout } from '../../../shmem/layout.js';
import { setLatch } from '../../../shmem/latch.js';
import { BoundedQueue, type QueueRegion } from '../../../shmem/bounded-queue.js';
import type { SegmentPlan } from '../../../shmem/segment.js';
import type { Slots } from '../../../shmem/slots.js';

/** PostgreSQL's io_worker_queue_size. All slots are usable. */
export const IO_WORKER_QUEUE_SIZE = 64;

const ControlLayout = declareLayout(
  'WorkerControl',
  {
    idleMask: CACHE_LINE_WORDS,
    aliveMask: 1,
    count: 1,
    growRequest: 1,
    stop: 1,
    minWorkers: 1,
    maxWorkers: 1,
    idleTimeout: 1,
    launchInterval: 1,
    limitsVersion: 1,
  },
  CACHE_LINE_WORDS,
);
const AT = ControlLayout.at;

export interface WorkerLimits {
  minWorkers: number;
  maxWorkers: number;
  /** Milliseconds; -1: never. */
  idleTimeout: number;
  /** Milliseconds. */
  launchInterval: number;
}

export interface WorkerRegion {
  readonly control: number;
  readonly queue: QueueRegion;
}

export class WorkerControl {
  readonly queue: BoundedQueue;
  readonly #slots: Slots;
  readonly #base: number;

  static plan(plan: SegmentPlan): WorkerRegion {
    return {
      control: plan.reserve('aio worker control', ControlLayout.words),
      queue: BoundedQueue.plan(plan, 'aio worker submission queue', IO_WORKER_QUEUE_SIZE),
    };
  }

  constructor(slots: Slots, region: WorkerRegion) {
    this.#slots = slots;
    this.#base = region.control;
    this.queue = new BoundedQueue(slots, region.queue);
  }

  // --- waking ------------------------------------------------------------------------------------

  /** Wakes the idle worker with the lowest number; false when none is idle. */
  wakeOneIdle(): boolean {
    const { words } = this.#slots;
    for (;;) {
      const mask = words.load(this.#base + AT.idleMask);
      if (mask === 0) return false;
      const bit = mask & -mask;
      if ((words.and(this.#base + AT.idleMask, ~bit) & bit) === 0) continue; // somebody else woke it
      setLatch(this.#slots, this.#slots.workerSlot(31 - Math.clz32(bit)));
      return true;
    }
  }

  wakeAll(): void {
    while (this.wakeOneIdle());
  }

  markIdle(worker: number): void {
    this.#slots.words.or(this.#base + AT.idleMask, 1 << worker);
  }

  markBusy(worker: number): void {
    this.#slots.words.and(this.#base + AT.idleMask, ~(1 << worker));
  }

  get idleMask(): number {
    return this.#slots.words.load(this.#base + AT.idleMask);
  }

  // --- roster ------------------------------------------------------------------------------------

  markAlive(worker: number): void {
    this.#slots.words.or(this.#base + AT.aliveMask, 1 << worker);
  }

  markGone(worker: number): void {
    this.#slots.words.and(this.#base + AT.aliveMask, ~(1 << worker));
    this.markBusy(worker);
  }

  get anyAlive(): boolean {
    return this.#slots.words.load(this.#base + AT.aliveMask) !== 0;
  }

  /** The word behind `anyAlive`. */
  get aliveMask(): number {
    return this.#slots.words.load(this.#base + AT.aliveMask);
  }

  get count(): number {
    return this.#slots.words.load(this.#base + AT.count);
  }

  /** Moves the count by one, unless somebody else moved it meanwhile. */
  tryChangeCount(from: number, to: number): boolean {
    return this.#slots.words.compareExchange(this.#base + AT.count, from, to) === from;
  }

  requestGrowth(): void {
    const { words } = this.#slots;
    if (words.load(this.#base + AT.growRequest) !== 0) return;
    words.store(this.#base + AT.growRequest, 1);
    setLatch(this.#slots, this.#slots.supervisorSlot);
  }

  /** A worker that found nothing to do withdraws the request: the pressure is over. */
  withdrawGrowth(): void {
    const { words } = this.#slots;
    if (words.load(this.#base + AT.growRequest) !== 0) words.store(this.#base + AT.growRequest, 0);
  }

  get growthRequested(): boolean {
    return this.#slots.words.load(this.#base + AT.growRequest) !== 0;
  }

  /** Workers leave once the queue is empty. */
  requestStop(): void {
    this.#slots.words.store(this.#base + AT.stop, 1);
    this.wakeAll();
  }

  get stopping(): boolean {
    return this.#slots.words.load(this.#base + AT.stop) !== 0;
  }

  // --- limits ------------------------------------------------------------------------------------

  get limits(): WorkerLimits {
    const { words } = this.#slots;
    return {
      minWorkers: words.load(this.#base + AT.minWorkers),
      maxWorkers: words.load(this.#base + AT.maxWorkers),
      idleTimeout: words.load(this.#base + AT.idleTimeout),
      launchInterval: words.load(this.#base + AT.launchInterval),
    };
  }

  /**
   * Changes the limits and lets everybody look at them. Ranges are checked by the caller. The version goes first: who sees a
   * new limit, and then looks at the version, sees a new one.
   */
  setLimits(limits: WorkerLimits): void {
    const { words } = this.#slots;
    words.add(this.#base + AT.limitsVersion, 1);
    words.store(this.#base + AT.minWorkers, limits.minWorkers);
    words.store(this.#base + AT.maxWorkers, limits.maxWorkers);
    words.store(this.#base + AT.idleTimeout, limits.idleTimeout);
    words.store(this.#base + AT.launchInterval, limits.launchInterval);
    this.wakeAll();
    setLatch(this.#slots, this.#slots.supervisorSlot);
  }

  get limitsVersion(): number {
    return this.#slots.words.load(this.#base + AT.limitsVersion);
  }
}
