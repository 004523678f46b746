/**
 * A decoded record, as a view: positions and lengths in the bytes that it was decoded from. One object is filled again
 * and again, so that walking over millions of records allocates nothing.
 */
import { INVALID_LSN, readLsn, type Lsn } from './lsn.js';
import {
  BlockFlag,
  BlockId,
  IMAGE_PAGE_SIZE,
  ImageFlag,
  INFO_MASK,
  RECORD_HEADER_SIZE,
  RecordOffset,
} from './record-format.js';

/** A block that a record refers to (`DecodedBkpBlock`). Offsets are in the record's `bytes`. */
export class WalBlockReference {
  inUse = false;
  fork = 0;
  tablespace = 0;
  database = 0;
  relation = 0;
  block = 0;
  willInit = false;
  hasImage = false;
  /** In bytes, as stored: without the hole, and compressed if `imageInfo` says so. */
  imageLength = 0;
  imageOffset = 0;
  /** Bits of `ImageFlag`. */
  imageInfo = 0;
  holeOffset = 0;
  holeLength = 0;
  dataLength = 0;
  dataOffset = 0;
}

const NO_BYTES = new Uint8Array(0);
const NO_VIEW = new DataView(NO_BYTES.buffer);

/** The record at which a reader stands; all fields change with its next step. */
export class WalRecord {
  /** Where it begins, and where the next one begins, page headers in front of that not counted (`EndRecPtr`). */
  lsn: Lsn = INVALID_LSN;
  end: Lsn = INVALID_LSN;
  /** Where the record before begins. */
  prev: Lsn = INVALID_LSN;
  /** In bytes, header included, page headers not. */
  totalLength = 0;
  xid = 0;
  /** All of `xl_info`; `operation` is the resource manager's part of it. */
  info = 0;
  resourceManager = 0;
  crc = 0;
  /** Number of the replication origin; 0 is none. */
  origin = 0;
  /** Of a subtransaction's first record under `wal_level = logical`, else 0. */
  topLevelXid = 0;
  mainDataOffset = 0;
  mainDataLength = 0;
  /** Of all full-page images together, in bytes as stored. */
  imageBytes = 0;
  /** Those up to `maxBlockId` may be in use. */
  readonly blocks: readonly WalBlockReference[] = Array.from(
    { length: BlockId.MAX + 1 },
    () => new WalBlockReference(),
  );
  maxBlockId = -1;
  /** What the offsets refer to; valid until the reader's next step. */
  bytes: Uint8Array = NO_BYTES;
  view: DataView = NO_VIEW;
  offset = 0;

  get operation(): number {
    return this.info & ~INFO_MASK;
  }

  /** A copy of the main data. */
  mainData(): Uint8Array {
    return Uint8Array.prototype.slice.call(
      this.bytes,
      this.mainDataOffset,
      this.mainDataOffset + this.mainDataLength,
    );
  }
}

/**
 * Reads headers, and keeps count of the data that they announce, which must be what is left after the last. One
 * decoder, and its one record, serve a whole walk.
 */
export class RecordDecoder {
  readonly record: WalRecord = new WalRecord();
  #view: DataView = NO_VIEW;
  #at = 0;
  #end = 0;
  /** Bytes that the headers so far announce. */
  #announced = 0;
  /** Whose relation `SAME_REL` means. */
  #sameRelation: WalBlockReference | null = null;

  /**
   * Fills `record` from the whole record at `offset`, of which header and CRC have been found right. Returns null, or
   * what makes no sense in it: words that continue "the record".
   */
  decode(bytes: Uint8Array, view: DataView, offset: number): string | null {
    const { record } = this;
    record.bytes = bytes;
    record.view = view;
    record.offset = offset;
    record.totalLength = view.getUint32(offset + RecordOffset.totalLength, true);
    record.xid = view.getUint32(offset + RecordOffset.xid, true);
    record.prev = readLsn(view, offset + RecordOffset.prev);
    record.info = view.getUint8(offset + RecordOffset.info);
    record.resourceManager = view.getUint8(offset + RecordOffset.resourceManager);
    record.crc = view.getUint32(offset + RecordOffset.crc, true);
    record.origin = 0;
    record.topLevelXid = 0;
    record.mainDataLength = 0;
    record.imageBytes = 0;
    record.maxBlockId = -1;
    this.#view = view;
    this.#at = offset + RECORD_HEADER_SIZE;
    this.#end = offset + record.totalLength;
    this.#announced = 0;
    this.#sameRelation = null;
    return this.#decodeHeaders();
  }

  #decodeHeaders(): string | null {
    while (this.#end - this.#at > this.#announced) {
      const id = this.#view.getUint8(this.#at++);
      if (id === BlockId.DATA_SHORT || id === BlockId.DATA_LONG) {
        if (!this.#mainData(id)) return TOO_SHORT;
        break; // always the last
      }
      const problem = id <= BlockId.MAX ? this.#block(id) : this.#field(id);
      if (problem !== null) return problem;
    }
    if (this.#end - this.#at !== this.#announced) return 'has a length that does not fit what it contains';
    this.#placeData();
    return null;
  }

  #has(bytes: number): boolean {
    return this.#end - this.#at >= bytes;
  }

  #u16(): number {
    return this.#view.getUint16((this.#at += 2) - 2, true);
  }

  #u32(): number {
    return this.#view.getUint32((this.#at += 4) - 4, true);
  }

  #mainData(id: number): boolean {
    if (!this.#has(id === BlockId.DATA_SHORT ? 1 : 4)) return false;
    this.record.mainDataLength = id === BlockId.DATA_SHORT ? this.#view.getUint8(this.#at++) : this.#u32();
    this.#announced += this.record.mainDataLength;
    return true;
  }

  #field(id: number): string | null {
    if (id === BlockId.ORIGIN) {
      if (!this.#has(2)) return TOO_SHORT;
      this.record.origin = this.#u16();
      return null;
    }
    if (id !== BlockId.TOP_LEVEL_XID) return `has a block with number ${id}`;
    if (!this.#has(4)) return TOO_SHORT;
    this.record.topLevelXid = this.#u32();
    return null;
  }

  #block(id: number): string | null {
    const record = this.record;
    if (id <= record.maxBlockId) return `has block ${id} after block ${record.maxBlockId}`;
    while (++record.maxBlockId < id) record.blocks[record.maxBlockId]!.inUse = false;
    const block = record.blocks[id]!;
    block.inUse = true;
    if (!this.#has(3)) return TOO_SHORT;
    const flags = this.#view.getUint8(this.#at++);
    block.fork = flags & BlockFlag.FORK_MASK;
    block.willInit = (flags & BlockFlag.WILL_INIT) !== 0;
    block.hasImage = (flags & BlockFlag.HAS_IMAGE) !== 0;
    block.dataLength = this.#u16();
    const hasData = (flags & BlockFlag.HAS_DATA) !== 0;
    if (hasData !== block.dataLength > 0) {
      return `has a flag that block ${id} has ${hasData ? 'data' : 'no data'}, and ${block.dataLength} bytes of it`;
    }
    this.#announced += block.dataLength;
    const problem = block.hasImage ? this.#image(id, block) : noImage(block);
    return problem ?? this.#address(id, block, (flags & BlockFlag.SAME_REL) !== 0);
  }

  #image(id: number, block: WalBlockReference): string | null {
    if (!this.#has(5)) return TOO_SHORT;
    block.imageLength = this.#u16();
    block.holeOffset = this.#u16();
    block.imageInfo = this.#view.getUint8(this.#at++);
    const hasHole = (block.imageInfo & ImageFlag.HAS_HOLE) !== 0;
    const isCompressed = (block.imageInfo & ImageFlag.COMPRESSED) !== 0;
    if (isCompressed && hasHole && !this.#has(2)) return TOO_SHORT;
    if (isCompressed) block.holeLength = hasHole ? this.#u16() : 0;
    else block.holeLength = IMAGE_PAGE_SIZE - block.imageLength;
    this.#announced += block.imageLength;
    this.record.imageBytes += block.imageLength;
    const isWhole = block.imageLength === IMAGE_PAGE_SIZE;
    const fits = hasHole
      ? block.holeOffset > 0 && block.holeLength > 0 && !isWhole
      : block.holeOffset === 0 && block.holeLength === 0 && isWhole !== isCompressed;
    if (fits && block.holeOffset + block.holeLength <= IMAGE_PAGE_SIZE) return null;
    const { imageLength, holeOffset, holeLength } = block;
    const sizes = `${imageLength} bytes with a hole of ${holeLength} at ${holeOffset}`;
    return `has an image of block ${id} that cannot be: ${sizes}, flags ${block.imageInfo}`;
  }

  #address(id: number, block: WalBlockReference, isSame: boolean): string | null {
    const last = this.#sameRelation;
    if (isSame && last === null)
      return `says that block ${id} is of the same relation as the one before, and there is none`;
    if (!this.#has(isSame ? 4 : 16)) return TOO_SHORT;
    if (isSame && last !== null) {
      ({ tablespace: block.tablespace, database: block.database, relation: block.relation } = last);
    } else {
      block.tablespace = this.#u32();
      block.database = this.#u32();
      block.relation = this.#u32();
    }
    this.#sameRelation = block;
    block.block = this.#u32();
    return null;
  }

  /** The data follow in the order of their headers. */
  #placeData(): void {
    const record = this.record;
    let at = this.#at;
    for (let id = 0; id <= record.maxBlockId; id++) {
      const block = record.blocks[id]!;
      if (!block.inUse) continue;
      block.imageOffset = at;
      if (block.hasImage) at += block.imageLength;
      block.dataOffset = at;
      at += block.dataLength;
    }
    record.mainDataOffset = at;
  }
}

function noImage(block: WalBlockReference): null {
  block.imageLength = 0;
  block.imageInfo = 0;
  block.holeOffset = 0;
  block.holeLength = 0;
  return null;
}

const TOO_SHORT = 'ends inside one of its headers';
