/** WAL in memory: records put on pages with their headers, as a writer would, and a source that hands it out in chunks. */
import { PENDING, type Pending } from '../src/shmem/wait.js';
import { encodeRecord, type RecordContents } from '../src/wal/encode-record.js';
import type { Lsn } from '../src/wal/lsn.js';
import { encodePageHeader, WAL_PAGE_SIZE, type PageHeaderFields } from '../src/wal/page-header.js';
import { segmentOf } from '../src/wal/segments.js';
import type { SourceEnd, WalChunk, WalSource } from '../src/wal/source.js';
import type { Random } from './random.js';

export const SEGMENT_SIZE: number = 2 ** 20;
export const SYSTEM_IDENTIFIER: bigint = 0x1234_5678_9abc_def0n;

export interface PlacedRecord {
  readonly lsn: Lsn;
  readonly end: Lsn;
  readonly bytes: Uint8Array;
}

export class WalImage {
  readonly records: PlacedRecord[] = [];
  /** Of segments, by number; of the size of a segment unless a test has cut it. */
  readonly segments: Map<number, Uint8Array<ArrayBuffer>> = new Map();
  /** Where the next byte goes. */
  position: Lsn;
  #prev: Lsn = 0;

  readonly segmentSize: number;

  constructor(start: Lsn = SEGMENT_SIZE, segmentSize: number = SEGMENT_SIZE) {
    this.position = start;
    this.segmentSize = segmentSize;
  }

  /** The last record; there must be one. */
  get last(): PlacedRecord {
    const last = this.records.at(-1);
    if (last === undefined) throw new RangeError('there is no record');
    return last;
  }

  /** Of this number, which must be there. */
  segment(number: number): Uint8Array<ArrayBuffer> {
    const segment = this.segments.get(number);
    if (segment === undefined) throw new RangeError(`there is no segment ${number}`);
    return segment;
  }

  append(contents: Omit<RecordContents, 'prev'>): PlacedRecord {
    const bytes = encodeRecord({ ...contents, prev: this.#prev });
    this.position = Math.ceil(this.position / 8) * 8;
    this.#beginPage(0);
    const lsn = this.position;
    this.#write(bytes, bytes.length);
    return this.#remember(lsn, bytes);
  }

  /** Writes a record's first page only, goes to the next page, and says there that the rest will never come. */
  appendUnfinished(contents: Omit<RecordContents, 'prev'>): Lsn {
    const bytes = encodeRecord({ ...contents, prev: this.#prev });
    this.position = Math.ceil(this.position / 8) * 8;
    this.#beginPage(0);
    const lsn = this.position;
    const room = WAL_PAGE_SIZE - (lsn % WAL_PAGE_SIZE);
    if (bytes.length <= room) throw new RangeError('the record fits on its page');
    this.#write(bytes.subarray(0, room), room);
    this.#beginPage(0, { overwritesRecord: true });
    return lsn;
  }

  /** The rest of the segment stays zero. */
  switchSegment(): PlacedRecord {
    const record = this.append({ resourceManager: 0, info: 0x40 });
    this.position = Math.ceil(this.position / this.segmentSize) * this.segmentSize;
    this.records.pop();
    return this.#remember(record.lsn, record.bytes);
  }

  #remember(lsn: Lsn, bytes: Uint8Array): PlacedRecord {
    const record = { lsn, end: Math.ceil(this.position / 8) * 8, bytes };
    this.records.push(record);
    this.#prev = lsn;
    return record;
  }

  #write(bytes: Uint8Array, total: number): void {
    for (let at = 0; at < bytes.length;) {
      this.#beginPage(total - at);
      const take = Math.min(bytes.length - at, WAL_PAGE_SIZE - (this.position % WAL_PAGE_SIZE));
      const inSegment = this.position % this.segmentSize;
      this.#segmentOf(this.position).set(bytes.subarray(at, at + take), inSegment);
      at += take;
      this.position += take;
    }
  }

  /** At a page's start: its header. `remaining`: bytes of a record that goes on there. */
  #beginPage(remaining: number, more: Partial<PageHeaderFields> = {}): void {
    if (this.position % WAL_PAGE_SIZE !== 0) return;
    const view = new DataView(this.#segmentOf(this.position).buffer);
    const inSegment = this.position % this.segmentSize;
    this.position += encodePageHeader(view, inSegment, {
      timeline: 1,
      address: this.position,
      segmentSize: this.segmentSize,
      systemIdentifier: SYSTEM_IDENTIFIER,
      remainingLength: remaining,
      ...more,
    });
  }

  #segmentOf(lsn: Lsn): Uint8Array<ArrayBuffer> {
    const number = segmentOf(lsn, this.segmentSize);
    const segment = this.segments.get(number) ?? new Uint8Array(this.segmentSize);
    this.segments.set(number, segment);
    return segment;
  }

  flip(lsn: Lsn, bit = 0): void {
    this.#segmentOf(lsn)[lsn % this.segmentSize]! ^= 1 << bit;
  }
}

/** Chunks of drawn sizes in one memory, each overwritten by the next one; every other call finds it still in flight. */
export class MemorySource implements WalSource {
  readonly segmentSize: number;
  readonly timeline: number = 1;
  end: SourceEnd = 'missing-segment';
  readonly #image: WalImage;
  readonly #random: Random;
  readonly #memory = new Uint8Array(128 * 1024);
  #lsn: Lsn;
  #begun = false;
  #inFlight = true;
  readonly #start: Lsn;

  constructor(image: WalImage, start: Lsn, random: Random) {
    this.#image = image;
    this.segmentSize = image.segmentSize;
    this.#random = random;
    this.#start = start - (start % WAL_PAGE_SIZE);
    this.#lsn = start - (start % this.segmentSize);
  }

  next(): WalChunk | null | Pending {
    this.#inFlight = !this.#inFlight;
    if (!this.#inFlight) return PENDING;
    const lsn = this.#lsn;
    const segment = this.#image.segments.get(segmentOf(lsn, this.segmentSize));
    if (segment === undefined) return null;
    const inSegment = lsn % this.segmentSize;
    const pages = this.#begun ? 1 + this.#random.below(8) : 1;
    const expected = Math.min(pages * WAL_PAGE_SIZE, this.segmentSize - inSegment);
    const start = this.#random.below(32) * 8;
    const bytes = segment.subarray(inSegment, inSegment + expected);
    this.#memory.fill(0xff);
    this.#memory.set(bytes, start);
    this.#lsn = this.#begun ? lsn + expected : Math.max(this.#start, lsn + expected);
    this.#begun = true;
    return { bytes: this.#memory, start, length: bytes.length, lsn, expected };
  }
}
