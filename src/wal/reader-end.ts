/** Why a reader stopped. */
import type { Lsn } from './lsn.js';

export type WalEndReason =
  /** Everything before the given end was read. */
  | 'end-of-range'
  /** The source was to go no further. */
  | 'end-of-input'
  /** There is no file for the next segment. */
  | 'missing-segment'
  /** Nothing was ever written there. */
  | 'zeros'
  /** The file of a segment ends before its time. */
  | 'truncated'
  /** The page is of another position: the file was recycled, and not yet written over. */
  | 'bad-page-address'
  | 'bad-magic'
  /** Flags of a page header that do not exist, or a segment that begins with a short header. */
  | 'bad-page-flags'
  /** Timelines never go back from one page to the next. */
  | 'bad-timeline'
  /** The segment is of another cluster. */
  | 'other-system'
  /** Segments or pages are of another size. */
  | 'other-sizes'
  /** No record begins there: the position lies in a page header, or in the middle of a record. */
  | 'bad-start'
  | 'bad-length'
  | 'bad-resource-manager'
  /** The record does not follow the one before: left over from earlier use of the file. */
  | 'bad-prev-link'
  | 'bad-crc'
  /** The next page does not go on with the record, or not with as much of it: torn at the end of WAL. */
  | 'bad-continuation'
  /** The CRC is right, and the contents make no sense. */
  | 'bad-contents';

export interface WalEnd {
  /** Up to here, WAL is valid; the first record that is not would begin here. */
  readonly end: Lsn;
  readonly reason: WalEndReason;
  /** A clause without a full stop; names position and segment. */
  readonly message: string;
}
