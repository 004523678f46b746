/**
 * Several backend threads hammer the same relations through a small pool while I/O workers are killed. Every
 * page is checked against what it must be, and nothing may be left at the end. What is done follows from the
 * seed; how threads interleave does not, so a failing seed is repeated a few times.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { IoMethodName } from '../src/base/settings.js';
import { createInstance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { leaksOf } from './leaks.js';
import { seededRandom } from './random.js';
import { DataDirectory } from './relations.js';
import type { StressData } from './stress-work.js';

export interface StressOptions {
  seed: number;
  ioMethod: IoMethodName;
  threads: number;
  /** Of each thread. */
  operations: number;
  /** Probability of a worker's death at each report of a thread (ten a hundred operations). */
  killChance: number;
}

export interface StressThreadInput extends StressData {
  handle: InstanceHandle;
  seed: number;
  operations: number;
}

export interface StressThreadReport {
  done?: { blocks: number; operations: number };
  /** The typed crash of the instance. */
  crashed?: string;
  failed?: string;
}

export interface StressResult {
  seed: number;
  blocks: number;
  workersLost: number;
  /** Reason of the instance's crash; null: it did not crash. */
  crashed: string | null;
  /** What went wrong; empty when nothing did. */
  problems: string[];
}

export async function stress(options: StressOptions): Promise<StressResult> {
  const random = seededRandom(options.seed);
  using data = new DataDirectory();
  const relations = [97, 400, 33].map((blocks, at) => ({ locator: data.write(500 + at, blocks), blocks }));
  const problems: string[] = [];
  const instance = await createInstance({
    ioMethod: options.ioMethod,
    // Small pools and few handles, so that everybody is in everybody's way.
    sharedBuffers: random.pick(['1MB', '2MB']),
    tempBuffers: '800kB',
    ioMemory: random.pick(['256kB', '1MB']),
    ioMaxConcurrency: random.pick([1, 2, 5, -1]),
    ioCombineLimit: random.pick(['8kB', '24kB', '64kB']),
    effectiveIoConcurrency: random.pick([0, 1, 3]),
    ioMinWorkers: random.pick([1, 2, 3]),
    ioMaxWorkers: 4,
    ioWorkerIdleTimeout: random.pick([0, 1, 60_000]),
    ioWorkerLaunchInterval: 0,
    maxBackends: options.threads + 1,
    maxFilesPerProcess: 100,
    log: (event) => {
      if (event.level === 'warning' && !event.message.includes('died twice')) problems.push(event.message);
    },
  });
  const threads = Array.from({ length: options.threads }, (_, at) => {
    const workerData: StressThreadInput = {
      handle: instance.handle,
      seed: random.bits() + at,
      dataDirectory: data.path,
      relations,
      operations: options.operations,
    };
    return new Worker(new URL('./stress-thread.js', import.meta.url), { workerData });
  });
  let blocks = 0;
  let crashed: string | null = null;
  for (const thread of threads) {
    thread.on('error', (error) => problems.push(`a thread ended: ${error.stack ?? error.message}`));
    thread.on('message', (report: StressThreadReport) => {
      blocks += report.done?.blocks ?? 0;
      crashed ??= report.crashed ?? null;
      if (report.failed !== undefined) problems.push(report.failed);
      if (random.chance(options.killChance)) instance.terminateWorker(random.below(4));
    });
  }
  await Promise.all(threads.map((thread) => once(thread, 'exit')));
  const { workersLost } = instance.backend.counters();
  await instance.close();
  if (crashed === null) problems.push(...leaksOf(instance.handle));
  return { seed: options.seed, blocks, workersLost, crashed, problems };
}
