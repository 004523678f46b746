/**
 * How many kernel descriptors the process of an instance holds when everything is in use: what the limit on
 * open files (`ulimit -n`) must allow.
 */
import type { ResolvedSettings } from './settings.js';

/** What one thread of Node costs: its event loop's epoll, io_uring or eventfds, and its pipes. */
const DESCRIPTORS_PER_THREAD = 4;
/** Node itself, the standard streams, the program's own log files and sockets. */
const DESCRIPTORS_OF_THE_PROCESS = 32;

type Sizes = Pick<ResolvedSettings, 'maxBackends' | 'ioMaxWorkers' | 'maxFilesPerProcess'>;

/** Rings of an instance with `ioMethod: 'io_uring'`: one for each backend. */
export function ringCount({ maxBackends }: Pick<Sizes, 'maxBackends'>): number {
  return maxBackends;
}

/** All but the data files. */
export function descriptorsBesideFiles(sizes: Pick<Sizes, 'maxBackends' | 'ioMaxWorkers'>): number {
  const threads = sizes.maxBackends + sizes.ioMaxWorkers + 1;
  return ringCount(sizes) + threads * DESCRIPTORS_PER_THREAD + DESCRIPTORS_OF_THE_PROCESS;
}

/** The limit on open files at which nothing has to be closed to make room. */
export function descriptorsNeeded(sizes: Sizes): number {
  return sizes.maxFilesPerProcess + descriptorsBesideFiles(sizes);
}
