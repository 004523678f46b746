/** Which blocks a bitmap scan reads: heapam.c's bitmapheap_stream_read_next. */
import { isBatchSafe, listedBlocks, markBatchSafe } from './block-sources.js';
import { END_OF_STREAM, type NextBlock } from './stream-options.js';

/**
 * The blocks of a list that ascends, without repetition, with gaps. They are read as far ahead as the stream likes, neighbours in one I/O. The stream
 * fails with a RangeError where the list does not ascend.
 */
export function bitmapBlocks(blocks: Uint32Array | Iterable<number>): NextBlock {
  const next = listedBlocks(blocks);
  let last = -1;
  const nextBlock = (): number => {
    const block = next();
    if (block === END_OF_STREAM) return END_OF_STREAM;
    if (block <= last)
      throw new RangeError(`the blocks of a bitmap scan must ascend: ${block} comes behind ${last}`);
    last = block;
    return block;
  };
  return isBatchSafe(next) ? markBatchSafe(nextBlock) : nextBlock;
}
