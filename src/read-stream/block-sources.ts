/** Callbacks for streams: which blocks, in which order. */
import { END_OF_STREAM, type NextBlock } from './read-stream.js';

/** A sequential scan: blocks `first` up to but without `end`. */
export function sequentialBlocks(first: number, end: number): NextBlock {
  let block = first;
  return () => (block < end ? block++ : END_OF_STREAM);
}

/** The blocks of a list or iterator, in its order. */
export function listedBlocks(blocks: Iterable<number>): NextBlock {
  const iterator = blocks[Symbol.iterator]();
  return () => {
    const next = iterator.next();
    return next.done === true ? END_OF_STREAM : next.value;
  };
}
