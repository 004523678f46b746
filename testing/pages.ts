/**
 * Makes PostgreSQL pages for tests: with a right checksum by default, and damage on request.
 */
import { pageChecksum } from '../src/page/page-checksum.js';
import { DEFAULT_BLOCK_SIZE, PAGE_HEADER_SIZE, PageHeaderOffset } from '../src/page/page-header.js';

/** Low byte of `pd_pagesize_version`. */
const LAYOUT_VERSION = 4;

export interface PageOptions {
  /** In bytes. */
  blockSize?: number;
  /** Repeated over everything behind the header. */
  fill?: number;
  lower?: number;
  upper?: number;
  special?: number;
  flags?: number;
}

/** A page as `PageInit` makes it, filled, and with the checksum for `blockNumber`. */
export function makePage(blockNumber: number, options: PageOptions = {}): Uint8Array {
  const blockSize = options.blockSize ?? DEFAULT_BLOCK_SIZE;
  const page = new Uint8Array(blockSize).fill(options.fill ?? 0x5a, PAGE_HEADER_SIZE);
  const view = new DataView(page.buffer);
  view.setUint16(PageHeaderOffset.flags, options.flags ?? 0, true);
  view.setUint16(PageHeaderOffset.lower, options.lower ?? PAGE_HEADER_SIZE, true);
  view.setUint16(PageHeaderOffset.upper, options.upper ?? blockSize, true);
  view.setUint16(PageHeaderOffset.special, options.special ?? blockSize, true);
  view.setUint16(PageHeaderOffset.pageSizeVersion, blockSize | LAYOUT_VERSION, true);
  setChecksum(page, blockNumber);
  return page;
}

/** Stores the right checksum, as `PageSetChecksumInplace` does. */
export function setChecksum(page: Uint8Array, blockNumber: number): void {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  view.setUint16(PageHeaderOffset.checksum, pageChecksum(page, blockNumber), true);
}

/** Makes the stored checksum wrong, whatever it was. */
export function breakChecksum(page: Uint8Array): void {
  page[PageHeaderOffset.checksum]! ^= 0xff;
}
