/** What a read stream is told: by its block callback, and when it is made. */
import type { BufferStrategy } from '../buffer/strategy.js';

/** What a block callback returns when there are no more blocks. */
export const END_OF_STREAM = -1;
/** What a block callback returns to be asked again later: the consumer first gets what is ready for it. */
export const YIELD = -2;
/**
 * The next block to read, END_OF_STREAM, YIELD, or what `pause` returns. Called ahead of the consumer; must not
 * wait. `data` is the slot that the consumer finds beside this block's buffer.
 */
export type NextBlock<D = undefined> = (...data: [D] extends [undefined] ? [] : [data: D]) => number;

export interface ReadStreamOptions<D = undefined> {
  /** Reads in flight; 0: one at a time, executed at once by this thread. */
  ioConcurrency: number;
  /** Blocks an I/O. */
  combineLimit: number;
  /** The whole of something will be read: begin with full-sized I/Os. */
  full: boolean;
  /** Submit what one look ahead starts in one call. The callback must then not wait for other I/O. */
  batchMode: boolean;
  /** Reads are made when their consumer wants them, and only pinned ahead: for the method `sync`. */
  deferred: boolean;
  /** Advise the kernel of deferred reads that it cannot foresee. */
  advice: boolean;
  /** A miss after a run of hits is read at once by this thread: cheaper than handing it on, but it blocks. */
  mayBlock: boolean;
  strategy: BufferStrategy | null;
  /** Makes the slots for data, once each; they are used again and again. Null: none. */
  perBufferData: (() => D) | null;
}
