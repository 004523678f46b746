/**
 * The WAL buffers: a ring of pages in shared memory, in which each page of the WAL has its place while it is being
 * filled and written. Who writes which bytes is said in wal-control.ts; nothing here orders anything.
 */
import { pageHeaderSize } from './geometry.js';
import type { Lsn } from './lsn.js';
import { encodePageHeader, WAL_PAGE_SIZE } from './page-header.js';

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
  offset(lsn: Lsn): number {
    return lsn % this.#bytes.length;
  }

  /** For the creator: the page that the WAL ends in has these bytes before its end. */
  restore(end: Lsn, tail: Uint8Array): void {
    const page = end - tail.length;
    this.clear(page);
    this.#bytes.set(tail, this.offset(page));
  }

  /** A page is about to get its first record: zeroes behind that, whatever was there before. */
  clear(page: Lsn): void {
    const offset = this.offset(page);
    this.#bytes.fill(0, offset, offset + WAL_PAGE_SIZE);
  }

  /**
   * Copies a record into the pages that it has space in, with the headers of those that it is the first to reach: where
   * the space of the record before ends is where its page's header is missing, if that is a page's start.
   */
  copy(record: Uint8Array, start: Lsn): void {
    const { segmentSize } = this.#identity;
    const page = start - (start % WAL_PAGE_SIZE);
    if (start === page + pageHeaderSize(page, segmentSize)) this.#writeHeader(page, 0);
    let at = start;
    for (let done = 0; done < record.length;) {
      if (at % WAL_PAGE_SIZE === 0) {
        this.#writeHeader(at, record.length - done);
        at += pageHeaderSize(at, segmentSize);
      }
      const length = Math.min(WAL_PAGE_SIZE - (at % WAL_PAGE_SIZE), record.length - done);
      this.#bytes.set(record.subarray(done, done + length), this.offset(at));
      at += length;
      done += length;
    }
  }

  /** `left`: bytes of a record that began on an earlier page. */
  #writeHeader(address: Lsn, left: number): void {
    const { timeline, systemIdentifier, segmentSize } = this.#identity;
    const fields = { timeline, systemIdentifier, segmentSize, address, remainingLength: left };
    encodePageHeader(this.#view, this.offset(address), fields);
  }
}
