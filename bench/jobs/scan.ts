/** Scanning a part of the benchmark's table, in whichever thread. */
import { END_OF_STREAM, markBatchSafe, type Backend, type NextBlock } from '../../src/index.js';
import { PENDING } from '../../src/shmem/wait.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { seededRandom } from '../../testing/random.js';

export interface ScanOrder {
  /** Neighbours are combined into one read; blocks in random order are not. */
  readonly random: boolean;
  readonly blocks: number;
}

/** Gives the blocks at the places `from` up to `end` of an order, from the start each time it is called. */
export type BlockSource = (from: number, end: number) => NextBlock;

export function blockSource({ random, blocks }: ScanOrder): BlockSource {
  const order = random ? shuffled(blocks) : null;
  return (from, end) => {
    let at = from;
    if (order === null) return markBatchSafe(() => (at < end ? at++ : END_OF_STREAM));
    return markBatchSafe(() => (at < end ? order[at++]! : END_OF_STREAM));
  };
}

/** 0 to `count` in random order, the same each time. */
export function shuffled(count: number): Int32Array {
  const random = seededRandom(1);
  const order = Int32Array.from({ length: count }, (_, index) => index);
  for (let left = count; left > 1; left--) {
    const other = random.below(left);
    const last = order[left - 1]!;
    order[left - 1] = order[other]!;
    order[other] = last;
  }
  return order;
}

/** Reads the blocks and lets go of each at once; returns how many there were. */
export function scanBlocking(
  backend: Backend,
  relation: SmgrRelation,
  nextBlock: NextBlock,
  options: { noChecksums?: boolean } = {},
): number {
  const stream = backend.rawReadStream(relation, nextBlock, options);
  const { pool } = backend.buffers;
  const { waits } = backend.aio;
  const step = (): ReturnType<typeof stream.next> => stream.next();
  for (let blocks = 0; ; blocks++) {
    let buffer = stream.next();
    if (buffer === PENDING) buffer = waits.block(step);
    if (buffer === END_OF_STREAM) return blocks;
    pool.unpin(buffer, stream.scope);
  }
}

export async function scanAwaiting(
  backend: Backend,
  relation: SmgrRelation,
  nextBlock: NextBlock,
): Promise<number> {
  let blocks = 0;
  for await (const _ of backend.readStream(relation, { nextBlock })) blocks++;
  return blocks;
}
