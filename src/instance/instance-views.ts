/** What can be seen of the whole instance from any thread that is attached to it. */
import { inFlight, type InFlightIo } from '../aio/in-flight.js';
import { Counters, type CounterSnapshot } from '../stats/counters.js';
import { IoStatsView, type InstanceStats } from '../stats/io-stats-view.js';
import type { ThreadParts } from './thread-parts.js';
import { backendWaits, type BackendWait } from './views.js';

export abstract class InstanceViews {
  abstract readonly parts: ThreadParts;

  /** All I/O of the instance that is not over, with the columns of pg_aios. */
  inFlight(): InFlightIo[] {
    return inFlight(this.parts.thread.table, this.parts.thread.registry);
  }

  /** What every attached backend waits for. */
  waits(): BackendWait[] {
    return backendWaits(this.parts.memory.slots);
  }

  /** Cumulative counters of all threads of the instance. */
  counters(): CounterSnapshot {
    const { words, plan } = this.parts.memory;
    return Counters.total(words, plan.counters, plan.slots.count);
  }

  /** What was done by all threads, as PostgreSQL's pg_stat_io has it; with latencies while `trackIoTiming` is on. */
  stats(): InstanceStats {
    return this.statistics.read();
  }

  /** Behind `stats`. */
  get statistics(): IoStatsView {
    const { words, plan } = this.parts.memory;
    return new IoStatsView(words, plan.ioStats);
  }
}
