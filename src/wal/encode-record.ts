/** Assembles records: the mirror of record.ts (`XLogRecordAssemble`). */
import { assert } from '../base/assert.js';
import { INVALID_LSN, writeLsn, type Lsn } from './lsn.js';
import {
  BlockFlag,
  BlockId,
  IMAGE_PAGE_SIZE,
  ImageFlag,
  RECORD_HEADER_SIZE,
  RECORD_LENGTH_MAX,
  RecordOffset,
  recordCrc,
} from './record-format.js';

export interface BlockImage {
  /** A whole page of 8 kB. */
  readonly page: Uint8Array;
  /** Bytes of it that are zero and are left out; default: none. It must not begin at the page's start. */
  readonly hole?: { readonly offset: number; readonly length: number };
  /** Whether redo is to restore it, which is the default; otherwise it is there to compare with. */
  readonly apply?: boolean;
}

export interface RecordBlock {
  /** 0 to 32; ascending within a record. */
  readonly id: number;
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork?: number;
  readonly block: number;
  readonly willInit?: boolean;
  readonly image?: BlockImage;
  /** At most 65535 bytes. */
  readonly data?: Uint8Array;
}

export interface RecordContents {
  readonly resourceManager: number;
  /** `xl_info`. */
  readonly info?: number;
  readonly xid?: number;
  /** Where the record before begins; may be set later with {@link sealRecord}. */
  readonly prev?: Lsn;
  readonly origin?: number;
  readonly topLevelXid?: number;
  readonly blocks?: readonly RecordBlock[];
  readonly mainData?: Uint8Array;
}

const UNSIGNED_SHORT_MAX = 0xffff;
/** So much main data has its length in one byte. */
const DATA_SHORT_MAX = 255;

/** The record's bytes, without padding, CRC computed. What no record can hold is an assertion failure. */
export function encodeRecord(contents: RecordContents): Uint8Array<ArrayBuffer> {
  const headers = encodeHeaders(contents);
  const pieces = (contents.blocks ?? []).flatMap(({ image, data }) => [
    ...imagePieces(image),
    ...(data ? [data] : []),
  ]);
  if (contents.mainData !== undefined) pieces.push(contents.mainData);
  const length = pieces.reduce((sum, piece) => sum + piece.length, RECORD_HEADER_SIZE + headers.length);
  assert(length <= RECORD_LENGTH_MAX, `a record of ${length} bytes is longer than any can be`);
  const record = new Uint8Array(length);
  const view = new DataView(record.buffer);
  view.setUint32(RecordOffset.totalLength, length, true);
  view.setUint32(RecordOffset.xid, contents.xid ?? 0, true);
  view.setUint8(RecordOffset.info, contents.info ?? 0);
  view.setUint8(RecordOffset.resourceManager, contents.resourceManager);
  record.set(headers, RECORD_HEADER_SIZE);
  let at = RECORD_HEADER_SIZE + headers.length;
  for (const piece of pieces) {
    record.set(piece, at);
    at += piece.length;
  }
  sealRecord(record, contents.prev ?? INVALID_LSN);
  return record;
}

export interface NewRecord {
  readonly record: Uint8Array<ArrayBuffer>;
  /** Of the record. */
  readonly view: DataView<ArrayBuffer>;
  /** Where in it its main data begins, which the caller fills in. */
  readonly start: number;
}

/** Short records are cut from a piece of memory, in turn: each byte is given out once, so it is still zero. */
const SLAB_SIZE = 65_536;
const SLAB_RECORD_MAX = 4096;
let slab = new ArrayBuffer(SLAB_SIZE);
let slabUsed = 0;

function zeroes(length: number): Uint8Array<ArrayBuffer> {
  if (length > SLAB_RECORD_MAX) return new Uint8Array(length);
  if (slabUsed + length > SLAB_SIZE) {
    slab = new ArrayBuffer(SLAB_SIZE);
    slabUsed = 0;
  }
  const start = slabUsed;
  slabUsed += length;
  return new Uint8Array(slab, start, length);
}

/** As `encodeRecord` for nothing but so many bytes of main data, of which there are some: to be filled in, and sealed. */
export function newRecord(resourceManager: number, bytes: number): NewRecord {
  const long = bytes > DATA_SHORT_MAX;
  const start = RECORD_HEADER_SIZE + (long ? 5 : 2);
  const length = start + bytes;
  assert(bytes > 0 && length <= RECORD_LENGTH_MAX, `a record of ${length} bytes is not one that can be`);
  const record = zeroes(length);
  const view = new DataView(record.buffer, record.byteOffset, length);
  view.setUint32(RecordOffset.totalLength, length, true);
  view.setUint8(RecordOffset.resourceManager, resourceManager);
  view.setUint8(RECORD_HEADER_SIZE, long ? BlockId.DATA_LONG : BlockId.DATA_SHORT);
  if (long) view.setUint32(RECORD_HEADER_SIZE + 1, bytes, true);
  else view.setUint8(RECORD_HEADER_SIZE + 1, bytes);
  return { record, view, start };
}

/** Links an encoded record to the one before, which is known only when its place is, and computes the CRC. */
export function sealRecord(record: Uint8Array, prev: Lsn): void {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  writeLsn(view, RecordOffset.prev, prev);
  view.setUint32(RecordOffset.crc, recordCrc(record, 0, record.length), true);
}

function encodeHeaders({ blocks = [], origin = 0, topLevelXid = 0, mainData }: RecordContents): Uint8Array {
  const out = new HeaderBytes();
  let last: RecordBlock | null = null;
  for (const block of blocks) {
    assert(block.id <= BlockId.MAX && block.id > (last?.id ?? -1), `block ${block.id} is out of order`);
    encodeBlock(out, block, last);
    last = block;
  }
  if (origin !== 0) out.u8(BlockId.ORIGIN).u16(origin);
  if (topLevelXid !== 0) out.u8(BlockId.TOP_LEVEL_XID).u32(topLevelXid);
  const length = mainData?.length ?? 0;
  if (length > DATA_SHORT_MAX) out.u8(BlockId.DATA_LONG).u32(length);
  else if (length > 0) out.u8(BlockId.DATA_SHORT).u8(length);
  return Uint8Array.from(out.bytes);
}

function encodeBlock(out: HeaderBytes, block: RecordBlock, last: RecordBlock | null): void {
  const { image, data, fork = 0 } = block;
  const dataLength = data?.length ?? 0;
  assert(dataLength <= UNSIGNED_SHORT_MAX, `${dataLength} bytes of data for one block are too many`);
  const isSame =
    last?.tablespace === block.tablespace &&
    last.database === block.database &&
    last.relation === block.relation;
  const flags =
    (image === undefined ? 0 : BlockFlag.HAS_IMAGE) |
    (dataLength === 0 ? 0 : BlockFlag.HAS_DATA) |
    (block.willInit === true ? BlockFlag.WILL_INIT : 0) |
    (isSame ? BlockFlag.SAME_REL : 0);
  out
    .u8(block.id)
    .u8(fork | flags)
    .u16(dataLength);
  if (image !== undefined) {
    const { hole, apply = true } = image;
    const info = (hole === undefined ? 0 : ImageFlag.HAS_HOLE) | (apply ? ImageFlag.APPLY : 0);
    out
      .u16(IMAGE_PAGE_SIZE - (hole?.length ?? 0))
      .u16(hole?.offset ?? 0)
      .u8(info);
  }
  if (!isSame) out.u32(block.tablespace).u32(block.database).u32(block.relation);
  out.u32(block.block);
}

function imagePieces(image: BlockImage | undefined): Uint8Array[] {
  if (image === undefined) return [];
  const { page, hole } = image;
  assert(page.length === IMAGE_PAGE_SIZE, `an image has ${page.length} bytes, not ${IMAGE_PAGE_SIZE}`);
  if (hole === undefined) return [page];
  const end = hole.offset + hole.length;
  assert(
    hole.offset > 0 && hole.length > 0 && end <= page.length,
    'a hole lies inside its page, not at its start',
  );
  return [page.subarray(0, hole.offset), page.subarray(end)];
}

/** Headers are short, and nothing in them is aligned. */
class HeaderBytes {
  readonly bytes: number[] = [];

  u8(value: number): this {
    this.bytes.push(value);
    return this;
  }

  u16(value: number): this {
    this.bytes.push(value & 0xff, value >>> 8);
    return this;
  }

  u32(value: number): this {
    this.bytes.push(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);
    return this;
  }
}
