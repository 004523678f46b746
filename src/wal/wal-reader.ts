/**
 * Walks over records, from a position to the first that is not right, and says why it ends there (`xlogreader.c`).
 *
 *   position ─▶ page ─▶ record header ─▶ all on this page ──────────────────────▶ CRC ─▶ contents ─▶ record
 *                          └▶ gather the rest from the next pages ──────────────▶ ┘
 *
 * A record on one page is decoded where it lies; one that crosses pages is gathered in a buffer of the reader, which
 * grows with what really arrived, not with what a damaged length promises.
 *
 * Content never throws: whatever is wrong with it is the end. What the source throws, such as an IoError, goes through.
 * `next` is a step: call it with the drivers of `Waits`. The same record object is filled again by each call.
 */
import { PENDING, type Pending } from '../shmem/wait.js';
import { formatLsn, INVALID_LSN, readLsn, type Lsn } from './lsn.js';
import { WAL_PAGE_SIZE } from './page-header.js';
import { PageCursor, type Problem } from './page-cursor.js';
import { RecordDecoder, type WalRecord } from './record.js';
import {
  alignRecord,
  RECORD_HEADER_SIZE,
  RECORD_LENGTH_MAX,
  RecordOffset,
  recordCrc,
} from './record-format.js';
import type { WalEnd, WalEndReason } from './reader-end.js';
import { isResourceManager, ResourceManager } from './resource-managers.js';
import type { WalSource } from './source.js';

export interface WalReaderOptions {
  /** The first record is the one that begins here, or the first after it, unless `exact`. */
  readonly start: Lsn;
  /** A record must begin at `start`; a page's start stands for the first byte behind its header. */
  readonly exact?: boolean;
  /** Records that end later are not returned. Default: all that there are. */
  readonly end?: Lsn;
  /** Of the cluster. Default: that of the first segment. */
  readonly systemIdentifier?: bigint;
}

/** `XLOG_SWITCH`: the rest of the segment is unused. `XLOG_OVERWRITE_CONTRECORD`: names a record that was given up. */
const SWITCH = 0x40;
const OVERWRITE_CONTRECORD = 0xd0;

const GATHER_BYTES_MIN = 4 * WAL_PAGE_SIZE;

/** What the next step has to do. */
type Task = 'find' | 'begin' | 'gather' | 'ended';

export class WalReader {
  readonly record: WalRecord;
  readonly #source: WalSource;
  readonly #page: PageCursor;
  readonly #decoder = new RecordDecoder();
  readonly #start: Lsn;
  readonly #rangeEnd: Lsn;
  #task: Task;
  /** Where the next record begins, or the page in front of which it would. */
  #position: Lsn;
  /** Where the last right record began; INVALID_LSN: there was none yet. */
  #last: Lsn = INVALID_LSN;
  #end: WalEnd | null = null;
  /** A record that the page at which we begin again says is given up. */
  #overwritten: Lsn = INVALID_LSN;

  // The record that is being gathered: where it began, its length, how much there is, where it goes on.
  #lsn: Lsn = INVALID_LSN;
  #length = 0;
  #gathered = 0;
  #nextPage: Lsn = INVALID_LSN;
  #buffer = new Uint8Array(GATHER_BYTES_MIN);
  #view = new DataView(this.#buffer.buffer);

  constructor(source: WalSource, options: WalReaderOptions) {
    this.#source = source;
    this.#page = new PageCursor(source, options.systemIdentifier ?? null);
    this.#start = options.start;
    this.#rangeEnd = options.end ?? Infinity;
    this.#position = options.exact === true ? options.start : pageOf(options.start);
    this.#task = options.exact === true ? 'begin' : 'find';
    this.record = this.#decoder.record;
  }

  /** Null while there may be more. */
  get end(): WalEnd | null {
    return this.#end;
  }

  /** Major version of PostgreSQL that wrote it, by the pages' magic number; 0 before the first page. */
  get majorVersion(): number {
    return this.#page.majorVersion;
  }

  /** Null before the first segment was opened, unless it was given. */
  get systemIdentifier(): bigint | null {
    return this.#page.systemIdentifier;
  }

  /** Step: true, and `record` is the next one; false, and `end` says why there is none. Throws an IoError. */
  next(): boolean | Pending {
    for (;;) {
      const done = this.#step();
      if (done === PENDING) return PENDING;
      if (this.#task === 'ended') return false;
      if (done && this.record.lsn >= this.#start) return true;
    }
  }

  /** True: there is a record. */
  #step(): boolean | Pending {
    switch (this.#task) {
      case 'find':
        return this.#find();
      case 'begin':
        return this.#begin();
      case 'gather':
        return this.#gather();
      case 'ended':
        return false;
    }
  }

  // --- to the first record -----------------------------------------------------------------------

  /** Passes over the rest of a record that began before (`XLogFindNextRecord`). */
  #find(): boolean | Pending {
    const problem = this.#page.goTo(this.#position);
    if (problem === PENDING) return PENDING;
    if (problem !== null) return this.#stop(problem);
    const { header } = this.#page;
    const rest = header.continuesRecord ? alignRecord(header.remainingLength) : 0;
    if (header.size + rest >= WAL_PAGE_SIZE) {
      this.#position += WAL_PAGE_SIZE;
      if (this.#position >= this.#rangeEnd) return this.#endOfRange();
      return false;
    }
    this.#position += header.size + rest;
    this.#task = 'begin';
    return false;
  }

  // --- one record --------------------------------------------------------------------------------

  #begin(): boolean | Pending {
    if (this.#position >= this.#rangeEnd) return this.#endOfRange();
    const pageLsn = pageOf(this.#position);
    const problem = this.#page.goTo(pageLsn);
    if (problem === PENDING) return PENDING;
    if (problem !== null) return this.#stop(problem);
    const { header } = this.#page;
    const atPageStart = this.#position === pageLsn;
    const lsn = atPageStart ? pageLsn + header.size : this.#position;
    const inPage = lsn - pageLsn;
    if (inPage < header.size || inPage % 8 !== 0)
      return this.#stopAt('bad-start', lsn, 'no record can begin there');
    if (inPage === header.size && header.continuesRecord) {
      return this.#stopAt('bad-start', lsn, 'there the page goes on with a record that began before');
    }
    const offset = this.#page.offset + inPage;
    const available = this.#page.available - inPage;
    if (available < 4) return this.#truncated(lsn);
    this.#lsn = lsn;
    this.#length = this.#page.view.getUint32(offset, true);
    if (this.#length === 0) return this.#stopAt('zeros', lsn, 'nothing was ever written there');
    if (this.#length < RECORD_HEADER_SIZE || this.#length > RECORD_LENGTH_MAX) {
      return this.#stopAt('bad-length', lsn, `it is ${this.#length} bytes long, which no record can be`);
    }
    const room = WAL_PAGE_SIZE - inPage;
    if (room >= RECORD_HEADER_SIZE) {
      if (available < RECORD_HEADER_SIZE) return this.#truncated(lsn);
      if (!this.#headerIsRight(this.#page.view, offset)) return false;
    }
    if (this.#length > room)
      return available < room ? this.#truncated(lsn) : this.#beginGathering(offset, room);
    if (available < this.#length) return this.#truncated(lsn);
    return this.#finish(this.#page.bytes, this.#page.view, offset, lsn + alignRecord(this.#length));
  }

  #beginGathering(offset: number, room: number): boolean {
    this.#gathered = 0;
    this.#append(offset, room);
    this.#nextPage = pageOf(this.#lsn) + WAL_PAGE_SIZE;
    this.#task = 'gather';
    return false;
  }

  /** Adds what the next page has of the record. */
  #gather(): boolean | Pending {
    const pageLsn = this.#nextPage;
    if (pageLsn >= this.#rangeEnd) return this.#endOfRange();
    const problem = this.#page.goTo(pageLsn);
    if (problem === PENDING) return PENDING;
    if (problem !== null) return this.#stop(problem);
    const { header, offset, available } = this.#page;
    if (header.overwritesRecord) {
      this.#overwritten = this.#lsn;
      this.#position = pageLsn;
      this.#task = 'begin';
      return false;
    }
    const left = this.#length - this.#gathered;
    if (!header.continuesRecord || header.remainingLength !== left) {
      const has = header.continuesRecord
        ? `goes on with ${header.remainingLength} bytes`
        : 'does not go on with it';
      const why = `page ${formatLsn(pageLsn)} ${has}, and ${left} are missing`;
      return this.#stopAt('bad-continuation', this.#lsn, why);
    }
    const take = Math.min(left, WAL_PAGE_SIZE - header.size);
    if (available < header.size + take) return this.#truncated(this.#lsn);
    const hadHeader = this.#gathered >= RECORD_HEADER_SIZE;
    this.#append(offset + header.size, take);
    if (!hadHeader && !this.#headerIsRight(this.#view, 0)) return false;
    this.#nextPage += WAL_PAGE_SIZE;
    if (this.#gathered < this.#length) return false;
    return this.#finish(this.#buffer, this.#view, 0, pageLsn + header.size + alignRecord(take));
  }

  #append(offset: number, length: number): void {
    const needed = this.#gathered + length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#gathered));
      this.#buffer = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#buffer.set(this.#page.bytes.subarray(offset, offset + length), this.#gathered);
    this.#gathered = needed;
  }

  /** `ValidXLogRecordHeader`. False: stopped. */
  #headerIsRight(view: DataView, offset: number): boolean {
    const lsn = this.#lsn;
    const id = view.getUint8(offset + RecordOffset.resourceManager);
    if (!isResourceManager(id)) {
      return this.#stopAt('bad-resource-manager', lsn, `its resource manager ${id} does not exist`);
    }
    const prev = readLsn(view, offset + RecordOffset.prev);
    if (this.#last === INVALID_LSN ? prev < lsn : prev === this.#last) return true;
    const wanted = this.#last === INVALID_LSN ? 'which is not before it' : `not to ${formatLsn(this.#last)}`;
    return this.#stopAt(
      'bad-prev-link',
      lsn,
      `its link to the record before leads to ${formatLsn(prev)}, ${wanted}`,
    );
  }

  /** All of the record is there. True: it is right. */
  #finish(bytes: Uint8Array, view: DataView, offset: number, end: Lsn): boolean {
    const lsn = this.#lsn;
    this.#task = 'begin';
    if (recordCrc(bytes, offset, this.#length) !== view.getUint32(offset + RecordOffset.crc, true)) {
      return this.#stopAt('bad-crc', lsn, 'its CRC does not match its contents');
    }
    const { record } = this;
    const problem = this.#decoder.decode(bytes, view, offset);
    if (problem !== null) return this.#stopAt('bad-contents', lsn, `its CRC is right, but it ${problem}`);
    if (!this.#isOverwriteAsExpected()) return false;
    record.lsn = lsn;
    record.end = isXlog(record, SWITCH) ? segmentEnd(end, this.#source.segmentSize) : end;
    if (record.end > this.#rangeEnd) return this.#endOfRange();
    this.#last = lsn;
    this.#position = record.end;
    return true;
  }

  /** What begins instead of the rest of a record must name that record (`VerifyOverwriteContrecord`). */
  #isOverwriteAsExpected(): boolean {
    const expected = this.#overwritten;
    if (expected === INVALID_LSN) return true;
    this.#overwritten = INVALID_LSN;
    const { record } = this;
    if (isXlog(record, OVERWRITE_CONTRECORD) && record.mainDataLength >= 8) {
      if (readLsn(record.view, record.mainDataOffset) === expected) return true;
    }
    const why = `it stands in place of the rest of the record at ${formatLsn(expected)}, but does not say so`;
    return this.#stopAt('bad-continuation', this.#lsn, why);
  }

  // --- the end -----------------------------------------------------------------------------------

  #stop({ reason, message }: Problem): false {
    const end = Math.min(this.#task === 'gather' ? this.#lsn : this.#position, this.#rangeEnd);
    this.#end = { end, reason, message };
    this.#task = 'ended';
    return false;
  }

  #stopAt(reason: WalEndReason, lsn: Lsn, why: string): false {
    this.#end = { end: lsn, reason, message: `record at ${formatLsn(lsn)}: ${why}` };
    this.#task = 'ended';
    return false;
  }

  #truncated(lsn: Lsn): false {
    return this.#stopAt(
      'truncated',
      lsn,
      `the file of segment ${this.#page.segmentName(this.#page.lsn)} ends inside it`,
    );
  }

  #endOfRange(): false {
    const message = `the range ends at ${formatLsn(this.#rangeEnd)}`;
    return this.#stop({ reason: 'end-of-range', message });
  }
}

function pageOf(lsn: Lsn): Lsn {
  return lsn - (lsn % WAL_PAGE_SIZE);
}

function segmentEnd(lsn: Lsn, segmentSize: number): Lsn {
  return Math.ceil(lsn / segmentSize) * segmentSize;
}

function isXlog(record: WalRecord, operation: number): boolean {
  return record.resourceManager === ResourceManager.XLOG && record.operation === operation;
}
