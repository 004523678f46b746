/**
 * Changes of pages as generic records (`generic_xlog.c`): of each page either its whole image, or what differs, as runs
 * of (offset u16, length u16, bytes). Pages have PostgreSQL's layout: what lies between `pd_lower` and `pd_upper` is free
 * space, is left out, and is zero afterwards.
 */
import {
  DEFAULT_BLOCK_SIZE,
  PAGE_HEADER_SIZE,
  PageHeaderOffset,
  pageLower,
  pageUpper,
} from '../page/page-header.js';
import { encodeRecord, type RecordBlock } from './encode-record.js';
import type { Lsn } from './lsn.js';
import { ResourceManager } from './resource-managers.js';

/** Pages that one record can change (`MAX_GENERIC_XLOG_PAGES`). */
export const CHANGED_PAGES_MAX = 4;
const RUN_HEADER = 4;
/** `pd_lsn` and `pd_checksum` are no part of a change. */
const FIRST_BYTE = PageHeaderOffset.flags;

/** Where a page is, and what becomes of it. */
export interface PageChangeRecord {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork: number;
  readonly block: number;
  /** `pd_lsn` before. */
  readonly lsn: Lsn;
  /** What it becomes, with free space that is zero: see `clearFreeSpace`. */
  readonly after: Uint8Array;
  /** From what it was: see `pageDelta`. */
  readonly delta: Uint8Array;
}

/** The record; and the oldest LSN of the pages that it has no image of, Infinity if it has of all. */
export interface GenericRecord {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly oldestPageLsn: Lsn;
}

/**
 * Those pages that have not been changed since `redo` get images; and those with an LSN that this WAL has not come to (its end
 * is `end`), a copy from elsewhere perhaps: redo would take them for newer than the record.
 */
export function genericRecord(pages: readonly PageChangeRecord[], redo: Lsn, end: Lsn): GenericRecord {
  let oldestPageLsn = Infinity;
  const blocks = pages.map((page, id): RecordBlock => {
    const { tablespace, database, relation, fork, block, lsn, after, delta } = page;
    const place = { id, tablespace, database, relation, fork, block };
    if (lsn <= redo || lsn > end) return { ...place, image: { page: after, ...holeOf(after) } };
    oldestPageLsn = Math.min(oldestPageLsn, lsn);
    return { ...place, data: delta };
  });
  return { bytes: encodeRecord({ resourceManager: ResourceManager.GENERIC, blocks }), oldestPageLsn };
}

interface FreeSpace {
  readonly offset: number;
  readonly length: number;
}

/** Empty for a page without a header that says where it is. */
function freeSpace(page: Uint8Array): FreeSpace {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const [lower, upper] = [pageLower(view), pageUpper(view)];
  const isThere = lower >= PAGE_HEADER_SIZE && lower < upper && upper <= DEFAULT_BLOCK_SIZE;
  return isThere ? { offset: lower, length: upper - lower } : { offset: PAGE_HEADER_SIZE, length: 0 };
}

function holeOf(page: Uint8Array): { hole?: FreeSpace } {
  const hole = freeSpace(page);
  return hole.length === 0 ? {} : { hole };
}

/** What redo does behind every change, and who changes a page does, too. */
export function clearFreeSpace(page: Uint8Array): void {
  const { offset, length } = freeSpace(page);
  page.fill(0, offset, offset + length);
}

/**
 * What has to be written over `before` for `after`, but for their free space. What was free space before is
 * written in any case: on the page that redo finds it may be zero.
 */
export function pageDelta(before: Uint8Array, after: Uint8Array): Uint8Array {
  const old = freeSpace(before);
  const now = freeSpace(after);
  const oldEnd = old.offset + old.length;
  const runs = new Runs(after);
  for (let at = FIRST_BYTE; at < DEFAULT_BLOCK_SIZE; at++) {
    if (at === now.offset && now.length > 0) {
      runs.end();
      at += now.length - 1;
    } else if (after[at] !== before[at] || (at >= old.offset && at < oldEnd)) {
      runs.add(at);
    }
  }
  return runs.bytes();
}

class Runs {
  readonly #page: Uint8Array;
  readonly #out = new Uint8Array(DEFAULT_BLOCK_SIZE + RUN_HEADER);
  #length = 0;
  /** Of the run that is not over; none if `#end` is 0. */
  #start = 0;
  #end = 0;

  constructor(page: Uint8Array) {
    this.#page = page;
  }

  /** Bytes in between belong to it where they cost less than another run's header. */
  add(at: number): void {
    if (this.#end > 0 && at - this.#end > RUN_HEADER) this.end();
    if (this.#end === 0) this.#start = at;
    this.#end = at + 1;
  }

  end(): void {
    if (this.#end === 0) return;
    const view = new DataView(this.#out.buffer);
    view.setUint16(this.#length, this.#start, true);
    view.setUint16(this.#length + 2, this.#end - this.#start, true);
    this.#out.set(this.#page.subarray(this.#start, this.#end), this.#length + RUN_HEADER);
    this.#length += RUN_HEADER + this.#end - this.#start;
    this.#end = 0;
  }

  bytes(): Uint8Array {
    this.end();
    return this.#out.subarray(0, this.#length);
  }
}

/** Redoes the `length` bytes of `pageDelta` at `offset`. Throws a RangeError for what no delta can be. */
export function applyPageDelta(page: Uint8Array, bytes: Uint8Array, offset: number, length: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset + offset, length);
  for (let at = 0; at < length;) {
    const start = view.getUint16(at, true);
    const count = view.getUint16(at + 2, true);
    at += RUN_HEADER;
    if (at + count > length) throw new RangeError(`${count} bytes at ${start} are not all there`);
    page.set(bytes.subarray(offset + at, offset + at + count), start);
    at += count;
  }
  clearFreeSpace(page);
}
