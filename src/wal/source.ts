/** Where a reader's bytes come from. */
import type { Pending } from '../shmem/wait.js';
import type { Lsn } from './lsn.js';

/** A run of whole pages of one segment; fewer bytes where its file ends early. */
export interface WalChunk {
  /** What the run lies in; `start` is its first byte there. */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly length: number;
  /** Of the first byte: a page's first. */
  readonly lsn: Lsn;
  /** How many bytes there should be, a multiple of the page size. */
  readonly expected: number;
}

/** Why a source has no more. */
export type SourceEnd = 'missing-segment' | 'end-of-input';

/**
 * Gives the pages from some position on, in their order: first the first page of the segment, whose long header says
 * whose it is, then those from the position's page on, then the segments after it.
 */
export interface WalSource {
  readonly segmentSize: number;
  /** For messages. */
  readonly timeline: number;
  /** Of which nothing was found; says something once `next` has returned null. */
  readonly end: SourceEnd;
  /** Step: the next chunk, valid until the next call; null at the end. Throws an IoError. */
  next(): WalChunk | null | Pending;
}
