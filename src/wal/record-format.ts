/**
 * Where things stand in a record (`xlogrecord.h`):
 *
 *   0 total length u32 │ 4 xid u32 │ 8 previous record u64 │ 16 info u8 │ 17 resource manager u8 │ 18 zero │ 20 CRC
 *   headers of blocks, by ascending number │ origin │ top-level xid │ header of the main data
 *   block by block: image, data │ main data
 *
 * The CRC covers what follows the record header, and then the header's first 20 bytes.
 */
import { crc32c } from '../base/crc32c.js';

export const RECORD_HEADER_SIZE = 24;
export const RecordOffset = {
  totalLength: 0,
  xid: 4,
  prev: 8,
  info: 16,
  resourceManager: 17,
  crc: 20,
} as const;

/** What a record may have at most, in bytes (`XLogRecordMaxSize`; `MaxAllocSize` before PostgreSQL 16). */
export const RECORD_LENGTH_MAX: number = 2 ** 30 - 1;

/** Bits of `xl_info` that are not the resource manager's (`XLR_INFO_MASK`). */
export const INFO_MASK = 0x0f;

/** What begins a header among a record's: a block's number, or one of the following. */
export const BlockId = { MAX: 32, TOP_LEVEL_XID: 252, ORIGIN: 253, DATA_LONG: 254, DATA_SHORT: 255 } as const;

/** `fork_flags`: the fork in the low four bits. */
export const BlockFlag = {
  FORK_MASK: 0x0f,
  HAS_IMAGE: 0x10,
  HAS_DATA: 0x20,
  WILL_INIT: 0x40,
  SAME_REL: 0x80,
} as const;

/** `bimg_info`. */
export const ImageFlag = {
  HAS_HOLE: 0x01,
  APPLY: 0x02,
  PGLZ: 0x04,
  LZ4: 0x08,
  ZSTD: 0x10,
  COMPRESSED: 0x1c,
} as const;

/** Pages of relations in full-page images (`BLCKSZ`), in bytes. */
export const IMAGE_PAGE_SIZE = 8192;

/** Records begin, and end, at multiples of this (`MAXALIGN`). */
export const RECORD_ALIGNMENT = 8;

export function alignRecord(length: number): number {
  return Math.ceil(length / RECORD_ALIGNMENT) * RECORD_ALIGNMENT;
}

/** What the CRC of the record of `length` bytes at `offset` must be. */
export function recordCrc(bytes: Uint8Array, offset: number, length: number): number {
  const body = crc32c(bytes, 0, offset + RECORD_HEADER_SIZE, offset + length);
  return crc32c(bytes, body, offset, offset + RecordOffset.crc);
}
