/**
 * The WAL buffers: a ring of pages in shared memory, in which each page of the WAL has its place while it is being
 * filled and written. Who writes which bytes is said in wal-control.ts; nothing here orders anything.
 */
import { LONG_PAGE_HEADER, PAGE_HEADER, pageHeaderSize, WAL_PAGE } from './geometry.js';

/** XLOG_PAGE_MAGIC of PostgreSQL 18. */
const PAGE_MAGIC = 0xd118;
const FIRST_IS_CONTRECORD = 1;
const LONG_HEADER = 2;

export interface WalIdentity {
  readonly timeline: number;
  readonly systemIdentifier: bigint;
  readonly segmentSize: number;
}

export class WalBuffers {
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #view: DataView<SharedArrayBuffer>;
  readonly #identity: WalIdentity;

  /** `bytes`: whole pages. */
  constructor(bytes: Uint8Array<SharedArrayBuffer>, identity: WalIdentity) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#identity = identity;
  }

  get size(): number {
    return this.#bytes.length;
  }

  /** The place of an LSN in the ring. */
  offset(lsn: number): number {
    return lsn % this.#bytes.length;
  }

  /** A page is about to get its first record: zeroes behind that, whatever was there before. */
  clear(page: number): void {
    const offset = this.offset(page);
    this.#bytes.fill(0, offset, offset + WAL_PAGE);
  }

  /**
   * Copies a record into the pages that it has space in, with the headers of those that it is the first to reach: where
   * the space of the record before ends is where its page's header is missing, if that is a page's start.
   */
  copy(record: Uint8Array, start: number): void {
    const { segmentSize } = this.#identity;
    const page = start - (start % WAL_PAGE);
    if (start === page + pageHeaderSize(page, segmentSize)) this.#writeHeader(page, 0);
    let at = start;
    for (let done = 0; done < record.length;) {
      if (at % WAL_PAGE === 0) {
        this.#writeHeader(at, record.length - done);
        at += pageHeaderSize(at, segmentSize);
      }
      const length = Math.min(WAL_PAGE - (at % WAL_PAGE), record.length - done);
      this.#bytes.set(record.subarray(done, done + length), this.offset(at));
      at += length;
      done += length;
    }
  }

  /** XLogPageHeaderData; `left`: bytes of a record that began on an earlier page. */
  #writeHeader(page: number, left: number): void {
    const { timeline, systemIdentifier, segmentSize } = this.#identity;
    const at = this.offset(page);
    const isLong = pageHeaderSize(page, segmentSize) === LONG_PAGE_HEADER;
    const view = this.#view;
    view.setUint16(at, PAGE_MAGIC, true);
    view.setUint16(at + 2, (left > 0 ? FIRST_IS_CONTRECORD : 0) | (isLong ? LONG_HEADER : 0), true);
    view.setUint32(at + 4, timeline, true);
    view.setUint32(at + 8, page >>> 0, true);
    view.setUint32(at + 12, Math.floor(page / 0x1_0000_0000), true);
    view.setUint32(at + 16, left, true);
    view.setUint32(at + 20, 0, true);
    if (!isLong) return;
    view.setBigUint64(at + PAGE_HEADER, systemIdentifier, true);
    view.setUint32(at + 32, segmentSize, true);
    view.setUint32(at + 36, WAL_PAGE, true);
  }
}
