/**
 * The header of each page of WAL (`XLogPageHeaderData`): short, or long on the first page of a segment.
 *
 *   0 magic u16 │ 2 info u16 │ 4 timeline u32 │ 8 page address u64 │ 16 remaining length u32 │ 20 padding
 *   long: 24 system identifier u64 │ 32 segment size u32 │ 36 page size u32
 *
 * Records begin at multiples of 8 bytes. One that does not fit is continued behind the header of the next page.
 */
import { readLsn, writeLsn, type Lsn } from './lsn.js';

/** `XLOG_BLCKSZ`, in bytes; other sizes, for which PostgreSQL must be built specially, are not supported. */
export const WAL_PAGE_SIZE = 8192;

export const SHORT_PAGE_HEADER_SIZE = 24;
export const LONG_PAGE_HEADER_SIZE = 40;

/** `XLOG_PAGE_MAGIC` of each major version that is understood. */
export const PAGE_MAGICS: ReadonlyMap<number, number> = new Map([
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
]);

/** That of PostgreSQL 18, in which WAL is written here. */
export const PAGE_MAGIC = 0xd118;

/** `xlp_info`. */
export const PageFlag = {
  /** The page begins with the rest of a record. */
  FIRST_IS_CONTRECORD: 0x1,
  LONG_HEADER: 0x2,
  /** Full-page images are not needed to restore a base backup (`XLP_BKP_REMOVABLE`); of no meaning here. */
  BACKUP_REMOVABLE: 0x4,
  /** The record that the page before left unfinished will never be: a crash came between. */
  FIRST_IS_OVERWRITE_CONTRECORD: 0x8,
} as const;
const ALL_FLAGS = 0xf;

/** Fields of a page header; one object is filled again and again. */
export class WalPageHeader {
  magic = 0;
  flags = 0;
  timeline = 0;
  address: Lsn = 0;
  /** Bytes of a record from the page before that are still to come, this page's included. */
  remainingLength = 0;
  /** Of a long header; else 0. The identifier in two halves: no BigInt for each segment. */
  systemIdentifierLow = 0;
  systemIdentifierHigh = 0;
  segmentSize = 0;
  pageSize = 0;

  get isLong(): boolean {
    return (this.flags & PageFlag.LONG_HEADER) !== 0;
  }

  get size(): number {
    return this.isLong ? LONG_PAGE_HEADER_SIZE : SHORT_PAGE_HEADER_SIZE;
  }

  get continuesRecord(): boolean {
    return (this.flags & PageFlag.FIRST_IS_CONTRECORD) !== 0;
  }

  get overwritesRecord(): boolean {
    return (this.flags & PageFlag.FIRST_IS_OVERWRITE_CONTRECORD) !== 0;
  }

  get hasUnknownFlags(): boolean {
    return (this.flags & ~ALL_FLAGS) !== 0;
  }

  get systemIdentifier(): bigint {
    return (BigInt(this.systemIdentifierHigh) << 32n) | BigInt(this.systemIdentifierLow);
  }

  /** Whether the page was never written. */
  get isZero(): boolean {
    return this.magic === 0 && this.flags === 0 && this.timeline === 0 && this.address === 0;
  }
}

/** Judges nothing. Of `available` bytes at `offset` there must be 24, or 40 if the header says that it is long. */
export function decodePageHeader(
  header: WalPageHeader,
  view: DataView,
  offset: number,
  available: number,
): boolean {
  if (available < SHORT_PAGE_HEADER_SIZE) return false;
  header.magic = view.getUint16(offset, true);
  header.flags = view.getUint16(offset + 2, true);
  header.timeline = view.getUint32(offset + 4, true);
  header.address = readLsn(view, offset + 8);
  header.remainingLength = view.getUint32(offset + 16, true);
  const { isLong } = header;
  if (isLong && available < LONG_PAGE_HEADER_SIZE) return false;
  header.systemIdentifierLow = isLong ? view.getUint32(offset + 24, true) : 0;
  header.systemIdentifierHigh = isLong ? view.getUint32(offset + 28, true) : 0;
  header.segmentSize = isLong ? view.getUint32(offset + 32, true) : 0;
  header.pageSize = isLong ? view.getUint32(offset + 36, true) : 0;
  return true;
}

export interface PageHeaderFields {
  readonly timeline: number;
  /** Of the page. Where it is a segment's first, the header is long. */
  readonly address: Lsn;
  readonly segmentSize: number;
  readonly systemIdentifier: bigint;
  /** Bytes of an unfinished record that this page goes on with; default 0, none. */
  readonly remainingLength?: number;
  /** The unfinished record is given up (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`). */
  readonly overwritesRecord?: boolean;
  /** Default: PostgreSQL 18's. */
  readonly magic?: number;
}

/** Writes a header at `offset`, padding included, and returns its size. */
export function encodePageHeader(view: DataView, offset: number, fields: PageHeaderFields): number {
  const { address, segmentSize, systemIdentifier, remainingLength = 0 } = fields;
  const isLong = address % segmentSize === 0;
  const flags =
    (remainingLength > 0 ? PageFlag.FIRST_IS_CONTRECORD : 0) |
    (isLong ? PageFlag.LONG_HEADER : 0) |
    (fields.overwritesRecord === true ? PageFlag.FIRST_IS_OVERWRITE_CONTRECORD : 0);
  view.setUint16(offset, fields.magic ?? PAGE_MAGIC, true);
  view.setUint16(offset + 2, flags, true);
  view.setUint32(offset + 4, fields.timeline, true);
  writeLsn(view, offset + 8, address);
  view.setUint32(offset + 16, remainingLength, true);
  view.setUint32(offset + 20, 0, true);
  if (!isLong) return SHORT_PAGE_HEADER_SIZE;
  view.setBigUint64(offset + 24, systemIdentifier, true);
  view.setUint32(offset + 32, segmentSize, true);
  view.setUint32(offset + 36, WAL_PAGE_SIZE, true);
  return LONG_PAGE_HEADER_SIZE;
}
