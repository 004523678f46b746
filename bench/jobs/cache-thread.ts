/** A thread that reads a cached file at random, some places more often than others, when it is told to. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import {
  attachInstance,
  createInstance,
  type InstanceHandle,
  type InstanceSettings,
} from '../../src/index.js';
import { seededRandom } from '../../testing/random.js';

export interface CacheThreadData {
  /** What it shares with the others; null: it makes an instance of its own. */
  readonly handle: InstanceHandle | null;
  readonly settings: InstanceSettings;
  readonly file: string;
  /** Of the file, which are read. */
  readonly blocks: number;
  readonly depth: number;
  readonly seed: number;
}

/** To read for so long; null: to end. */
export type CacheCommand = { readonly seconds: number } | null;

export interface CacheAnswer {
  readonly reads: number;
  /** Blocks that the pool had not. */
  readonly misses: number;
}

const BLOCK = 8192;
/** Four reads of five are of a fifth of the blocks. */
const HOT_SHARE = 0.2;
const CLOCK_STRIDE = 16;

const { handle, settings, file: path, blocks, depth, seed } = workerData as CacheThreadData;
const port = parentPort;
assert(port !== null);
const own = handle === null ? await createInstance(settings) : null;
const backend = own?.backend ?? (await attachInstance(handle as InstanceHandle));
const file = await backend.openCachedFile(path);
const random = seededRandom(seed);
const hot = Math.ceil(blocks * HOT_SHARE);

function nextBlock(): number {
  return random.below(5) > 0 ? random.below(hot) : hot + random.below(blocks - hot);
}

async function read(until: number): Promise<number> {
  const buffer = new Uint8Array(BLOCK);
  let reads = 0;
  do {
    for (let count = 0; count < CLOCK_STRIDE; count++) await file.read(buffer, 0, BLOCK, nextBlock() * BLOCK);
    reads += CLOCK_STRIDE;
  } while (performance.now() < until);
  return reads;
}

async function answer({ seconds }: { readonly seconds: number }): Promise<CacheAnswer> {
  const until = performance.now() + seconds * 1000;
  const before = backend.buffers.misses;
  const all = await Promise.all(Array.from({ length: depth }, () => read(until)));
  return { reads: all.reduce((sum, reads) => sum + reads, 0), misses: backend.buffers.misses - before };
}

port.on('message', (command: CacheCommand) => {
  const done =
    command !== null
      ? answer(command).then((found) => port.postMessage(found))
      : file
          .close()
          .then(() => (own === null ? backend.close() : own.close()))
          .then(() => port.close());
  done.catch((error: unknown) => {
    throw error;
  });
});
