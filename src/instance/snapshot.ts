/** How an instance is at a moment: what a monitor sends, a line of JSON each. */
import { inFlight, type InFlightIo } from '../aio/in-flight.js';
import { WorkerControl } from '../aio/method/worker/control.js';
import type { IoMethodName } from '../base/settings.js';
import { BACKEND_TYPES, type BackendType } from '../stats/io-stats.js';
import { IoStatsView, type IoLatencies, type IoStatsRow } from '../stats/io-stats-view.js';
import type { HistogramData } from '../stats/latency-histogram.js';
import type { ThreadParts } from './thread-parts.js';
import { backendWaits } from './views.js';

export const SNAPSHOT_VERSION = 1;
/** More are counted only: the oldest are told. */
const IN_FLIGHT_MAX = 256;

export interface Snapshot {
  version: typeof SNAPSHOT_VERSION;
  /** Milliseconds since 1970; for rates `uptimeMillis`, which nobody sets. */
  time: number;
  /** Of the process. */
  uptimeMillis: number;
  pid: number;
  node: string;
  ioMethod: IoMethodName;
  /** Why the instance has crashed; null while it goes on. */
  crashed: string | null;
  /** Milliseconds since 1970. */
  statsReset: number | null;
  io: IoStatsRow[];
  latencies: (Omit<IoLatencies, 'latency'> & { latency: HistogramData })[];
  inFlightCount: number;
  inFlight: InFlightIo[];
  backends: { backend: number; type: BackendType; event: string | null; object: number }[];
  workers: { count: number; minWorkers: number; maxWorkers: number; idle: number; queued: number };
}

export class Snapshots {
  readonly #parts: ThreadParts;
  readonly #stats: IoStatsView;
  readonly #control: WorkerControl;

  constructor(parts: ThreadParts) {
    const { words, slots, plan } = parts.memory;
    this.#parts = parts;
    this.#stats = new IoStatsView(words, plan.ioStats);
    this.#control = new WorkerControl(slots, plan.workers);
  }

  take(): Snapshot {
    const { thread, memory } = this.#parts;
    const { header, slots, handle } = memory;
    const { statsReset, io, latencies } = this.#stats.read();
    const running = inFlight(thread.table, thread.registry);
    running.sort((a, b) => (b.ageMicros ?? -1) - (a.ageMicros ?? -1));
    return {
      version: SNAPSHOT_VERSION,
      time: Date.now(),
      uptimeMillis: process.uptime() * 1000,
      pid: process.pid,
      node: process.version,
      ioMethod: handle.settings.ioMethod,
      crashed: header.isCrashed ? header.crashReason : null,
      statsReset: statsReset?.getTime() ?? null,
      io,
      latencies,
      inFlightCount: running.length,
      inFlight: running.slice(0, IN_FLIGHT_MAX),
      backends: backendWaits(slots).map((wait) => ({
        ...wait,
        type: BACKEND_TYPES[slots.backendType(wait.backend)] ?? 'client backend',
      })),
      workers: this.#workers(),
    };
  }

  #workers(): Snapshot['workers'] {
    const { count, limits, idleMask, queue } = this.#control;
    const { minWorkers, maxWorkers } = limits;
    let idle = 0;
    for (let bits = idleMask; bits !== 0; bits &= bits - 1) idle++;
    return { count, minWorkers, maxWorkers, idle, queued: queue.depth };
  }
}
