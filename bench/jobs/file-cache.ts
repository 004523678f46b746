/** Several threads read one file: through one cache, or each through its own, of the same memory together. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { createInstance, type IoMethodName } from '../../src/index.js';
import type { Measurement } from '../measurement.js';
import type { CacheAnswer, CacheCommand, CacheThreadData } from './cache-thread.js';
import { measureOnce } from './measure.js';

export interface FileCacheSpec {
  readonly how: 'shared' | 'own';
  readonly method: IoMethodName;
  readonly threads: number;
  /** Of all caches together, in blocks. */
  readonly cacheBlocks: number;
  readonly file: string;
  /** Of the file, which are read. */
  readonly blocks: number;
  /** Reads in flight, of each thread. */
  readonly depth: number;
  readonly seconds: number;
}

export async function fileCache(spec: FileCacheSpec): Promise<Measurement> {
  const { how, method, threads, cacheBlocks, seconds } = spec;
  const settings = { ioMethod: method, maxBackends: threads + 2 };
  const ownBlocks = Math.floor(cacheBlocks / threads);
  const shared =
    how === 'own' ? null : await createInstance({ ...settings, sharedBuffers: cacheBlocks * 8192 });
  const team = Array.from({ length: threads }, (_, seed) => {
    const data: CacheThreadData = {
      ...spec,
      handle: shared?.handle ?? null,
      settings: { ...settings, sharedBuffers: ownBlocks * 8192 },
      seed,
    };
    return new Worker(new URL('./cache-thread.js', import.meta.url), { workerData: data });
  });
  const work = async (): Promise<CacheAnswer> => {
    const answers = await Promise.all(
      team.map(async (thread) => {
        const answer = once(thread, 'message') as Promise<[CacheAnswer]>;
        thread.postMessage({ seconds } satisfies CacheCommand);
        return (await answer)[0];
      }),
    );
    const sum = (of: (answer: CacheAnswer) => number): number =>
      answers.reduce((all, one) => all + of(one), 0);
    return { reads: sum(({ reads }) => reads), misses: sum(({ misses }) => misses) };
  };
  await work(); // until the caches have what they can have
  let found: CacheAnswer = { reads: 0, misses: 0 };
  const measurement = await measureOnce(0, async () => (found = await work()).reads);
  for (const thread of team) {
    const exit = once(thread, 'exit');
    thread.postMessage(null satisfies CacheCommand);
    await exit;
  }
  await shared?.close();
  return { ...measurement, hitRate: 1 - found.misses / found.reads };
}
