/**
 * The page that a reader stands on: takes chunks from the source until it has the wanted page, and judges the header
 * of each page that it comes to, and of the first page of each segment that it passes (`XLogReaderValidatePageHeader`).
 */
import { PENDING, type Pending } from '../shmem/wait.js';
import { formatLsn, INVALID_LSN, type Lsn } from './lsn.js';
import { decodePageHeader, PAGE_MAGICS, WAL_PAGE_SIZE, WalPageHeader } from './page-header.js';
import type { WalEndReason } from './reader-end.js';
import { segmentFileName, segmentOf } from './segments.js';
import type { WalChunk, WalSource } from './source.js';

export interface Problem {
  readonly reason: WalEndReason;
  readonly message: string;
}

export class PageCursor {
  readonly header: WalPageHeader = new WalPageHeader();
  /** Of the page; INVALID_LSN before the first. */
  lsn: Lsn = INVALID_LSN;
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(this.bytes.buffer);
  /** Of the page in `bytes`, and how much of it there is. */
  offset = 0;
  available = 0;
  /** Major version of PostgreSQL, 0 before the first page: all pages must be of the same. */
  majorVersion = 0;
  readonly #source: WalSource;
  /** Or null: the first segment's is taken for granted. */
  #systemIdentifier: bigint | null;
  #chunk: WalChunk | null = null;
  #magic = 0;
  #timeline = 0;

  constructor(source: WalSource, systemIdentifier: bigint | null) {
    this.#source = source;
    this.#systemIdentifier = systemIdentifier;
  }

  /** Of the last long header. */
  get systemIdentifier(): bigint | null {
    return this.#systemIdentifier;
  }

  /**
   * Step: goes to the page at `lsn`, which does not lie before the present one. Null: it is there, and its header is
   * right. What was seen of the page before is gone.
   */
  goTo(lsn: Lsn): Problem | null | Pending {
    if (this.lsn === lsn) return null;
    for (;;) {
      const chunk = this.#chunk;
      if (chunk !== null && lsn < chunk.lsn + chunk.expected) {
        if (lsn < chunk.lsn) return this.#problem('missing-segment', lsn, 'the source has skipped it');
        const problem = this.#open(chunk, lsn);
        if (problem === null) this.lsn = lsn;
        return problem;
      }
      const next = this.#source.next();
      if (next === PENDING) return PENDING;
      if (next === null) return this.#exhausted(lsn);
      this.#take(next);
      if (next.lsn % this.#source.segmentSize === 0 && next.lsn !== lsn) {
        const problem = this.#open(next, next.lsn);
        if (problem !== null) return problem;
      }
    }
  }

  #take(chunk: WalChunk): void {
    this.#chunk = chunk;
    this.lsn = INVALID_LSN;
    if (chunk.bytes === this.bytes) return;
    const { buffer, byteOffset, byteLength } = chunk.bytes;
    this.bytes = chunk.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
  }

  #exhausted(lsn: Lsn): Problem {
    const missing = this.#source.end === 'missing-segment';
    return {
      reason: this.#source.end,
      message: missing
        ? `there is no segment ${this.segmentName(lsn)}, where WAL would go on at ${formatLsn(lsn)}`
        : `that is all there was to read; WAL would go on at ${formatLsn(lsn)}`,
    };
  }

  #open(chunk: WalChunk, lsn: Lsn): Problem | null {
    const inChunk = lsn - chunk.lsn;
    this.offset = chunk.start + inChunk;
    this.available = Math.max(0, Math.min(WAL_PAGE_SIZE, chunk.length - inChunk));
    if (!decodePageHeader(this.header, this.view, this.offset, this.available)) {
      return this.#problem('truncated', lsn, 'its file ends there');
    }
    return this.#judge(lsn);
  }

  #judge(lsn: Lsn): Problem | null {
    const { header } = this;
    if (header.isZero) return this.#problem('zeros', lsn, 'nothing was ever written there');
    const majorVersion = PAGE_MAGICS.get(header.magic);
    if (majorVersion === undefined || (this.#magic !== 0 && header.magic !== this.#magic)) {
      return this.#problem(
        'bad-magic',
        lsn,
        `its magic number is ${hex(header.magic)}, not ${this.#expectedMagic()}`,
      );
    }
    const isFirst = lsn % this.#source.segmentSize === 0;
    if (header.hasUnknownFlags || (isFirst && !header.isLong)) {
      return this.#problem('bad-page-flags', lsn, `its flags ${hex(header.flags)} cannot be`);
    }
    const problem = header.isLong ? this.#judgeLong(lsn) : null;
    if (problem !== null) return problem;
    if (header.address !== lsn) {
      return this.#problem(
        'bad-page-address',
        lsn,
        `its address is ${formatLsn(header.address)}: it was not yet written over`,
      );
    }
    if (header.timeline < this.#timeline) {
      const why = `its timeline is ${header.timeline}, after ${this.#timeline}`;
      return this.#problem('bad-timeline', lsn, why);
    }
    this.#timeline = header.timeline;
    this.#magic = header.magic;
    this.majorVersion = majorVersion;
    if (header.isLong) this.#systemIdentifier ??= header.systemIdentifier;
    return null;
  }

  #judgeLong(lsn: Lsn): Problem | null {
    const { header } = this;
    const { segmentSize } = this.#source;
    const expected = this.#systemIdentifier;
    if (expected !== null && header.systemIdentifier !== expected) {
      const why = `it is of the cluster ${header.systemIdentifier}, not of ${expected}`;
      return this.#problem('other-system', lsn, why);
    }
    if (header.segmentSize === segmentSize && header.pageSize === WAL_PAGE_SIZE) return null;
    const sizes = `segments of ${header.segmentSize} bytes and pages of ${header.pageSize}`;
    return this.#problem('other-sizes', lsn, `it says ${sizes}, not ${segmentSize} and ${WAL_PAGE_SIZE}`);
  }

  #expectedMagic(): string {
    return this.#magic !== 0 ? hex(this.#magic) : [...PAGE_MAGICS.keys()].map(hex).join(', ');
  }

  #problem(reason: WalEndReason, lsn: Lsn, why: string): Problem {
    return { reason, message: `page ${formatLsn(lsn)} in segment ${this.segmentName(lsn)}: ${why}` };
  }

  segmentName(lsn: Lsn): string {
    const { timeline, segmentSize } = this.#source;
    return segmentFileName(timeline, segmentOf(lsn, segmentSize), segmentSize);
  }
}

function hex(value: number): string {
  return value.toString(16).toUpperCase().padStart(4, '0');
}
