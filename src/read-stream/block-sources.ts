/** Callbacks for streams: which blocks, in which order. Those of a vacuum are in vacuum-blocks.ts. */
import { END_OF_STREAM, type NextBlock } from './read-stream.js';

/** A sequential scan: blocks `first` up to but without `end`. heapam.c's heap_scan_stream_read_next_serial. */
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

/**
 * A bitmap scan: the blocks of a list that ascends, without repetition, with gaps; heapam.c's
 * bitmapheap_stream_read_next. Blocks are read as far ahead as the stream likes, neighbours in one I/O. The stream
 * fails with a RangeError where the list does not ascend.
 */
export function bitmapBlocks(blocks: Uint32Array | Iterable<number>): NextBlock {
  const next = listedBlocks(blocks);
  let last = -1;
  return () => {
    const block = next();
    if (block === END_OF_STREAM) return END_OF_STREAM;
    if (block <= last)
      throw new RangeError(`the blocks of a bitmap scan must ascend: ${block} comes behind ${last}`);
    last = block;
    return block;
  };
}
