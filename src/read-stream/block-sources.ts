/** Callbacks for streams: which blocks, in which order. */
import { END_OF_STREAM, type NextBlock } from './stream-options.js';

type AnyNextBlock = (data: never) => number;

const batchSafe = new WeakSet<object>();

/**
 * Says that a callback waits for nothing and uses no other I/O of its backend, so that what one look ahead starts
 * may be submitted in one call. PostgreSQL's READ_STREAM_USE_BATCHING.
 */
export function markBatchSafe<N extends AnyNextBlock>(nextBlock: N): N {
  batchSafe.add(nextBlock);
  return nextBlock;
}

export function isBatchSafe(nextBlock: object): boolean {
  return batchSafe.has(nextBlock);
}

/** A sequential scan: blocks `first` up to but without `end`. */
export function sequentialBlocks(first: number, end: number): NextBlock {
  let block = first;
  return markBatchSafe(() => (block < end ? block++ : END_OF_STREAM));
}

/** The blocks of a list or iterator, in its order. Of an iterator nobody knows what it does: no batches. */
export function listedBlocks(blocks: Iterable<number>): NextBlock {
  const iterator = blocks[Symbol.iterator]();
  const nextBlock = (): number => {
    const next = iterator.next();
    return next.done === true ? END_OF_STREAM : next.value;
  };
  return Array.isArray(blocks) || ArrayBuffer.isView(blocks) ? markBatchSafe(nextBlock) : nextBlock;
}
