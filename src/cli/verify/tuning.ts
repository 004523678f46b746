/**
 * How many threads, how much at once: what a verification uses on this machine unless it is told otherwise.
 *
 * Measured on a cached cluster: chunks of 1 MB cost a fifth less processor time than chunks of 128 kB (fewer
 * handles, fewer wake-ups), and are still judged in the processor's cache; larger ones gain little.
 */
import { availableParallelism } from 'node:os';
import type { IoMethodName } from '../../base/settings.js';

export interface Tuning {
  /** Threads that issue reads. */
  readonly jobs: number;
  /** I/O workers, if the method has them. */
  readonly workers: number;
  /** Bytes a read. A multiple of every block size. */
  readonly chunkBytes: number;
  /** Reads that each job has in flight. */
  readonly depth: number;
}

export interface Wishes {
  readonly jobs: number | undefined;
  /** Bytes a second, or 0. */
  readonly rate: number;
}

const KB = 1024;
const CHUNK_BYTES = 1024 * KB;
/** Reads for each I/O worker: one under way, and others for the moment when it is done. */
const READS_PER_WORKER = 4;
const WORKERS_MAX = 8;
const JOBS_MAX = 8;

export function tune(
  method: IoMethodName,
  { jobs, rate }: Wishes,
  cores: number = availableParallelism(),
): Tuning {
  const tuned = forMethod(method, jobs, cores);
  if (rate === 0) return tuned;
  // What is read ahead comes out of the rate: no more than an eighth of a second at once.
  const window = Math.max(32 * KB, Math.floor(rate / 8 / tuned.jobs / (32 * KB)) * 32 * KB);
  const chunkBytes = Math.min(tuned.chunkBytes, window);
  return { ...tuned, chunkBytes, depth: Math.max(1, Math.min(tuned.depth, Math.floor(window / chunkBytes))) };
}

function forMethod(method: IoMethodName, jobs: number | undefined, cores: number): Tuning {
  switch (method) {
    case 'sync':
      // The jobs do the work. One chunk at a time: it is judged while it is in the processor's cache.
      return { jobs: jobs ?? Math.min(cores, JOBS_MAX), workers: 1, chunkBytes: CHUNK_BYTES, depth: 1 };
    case 'worker': {
      // The workers do the work; more than one job only helps where a single one cannot keep them busy.
      const workers = Math.min(cores, WORKERS_MAX);
      const depth = Math.max(2, Math.ceil((READS_PER_WORKER * workers) / (jobs ?? 1)));
      return { jobs: jobs ?? 1, workers, chunkBytes: CHUNK_BYTES, depth };
    }
    case 'io_uring':
      // Every job has a ring of its own, and judges what it reaps.
      return { jobs: jobs ?? Math.min(cores, JOBS_MAX), workers: 1, chunkBytes: CHUNK_BYTES, depth: 8 };
  }
}
