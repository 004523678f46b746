/**
 * PostgreSQL's page header (`PageHeaderData`, layout version 4): where its fields are, and accessors.
 *
 * Job: give names to the first 24 bytes of a page, wherever the page lies. Invariants: fields are little
 * endian, as every platform that runs Node for PostgreSQL stores them; nothing here judges a page (see
 * page-verdict.ts).
 */

/** Size of the fixed header, without line pointers (`SizeOfPageHeaderData`), in bytes. */
export const PAGE_HEADER_SIZE = 24;

/** Bytes from the start of the page to each field. */
export const PageHeaderOffset = {
  /** `pd_lsn`: the high 32 bits first, then the low ones, each little endian. */
  lsnHigh: 0,
  lsnLow: 4,
  /** `pd_checksum`, 16 bits like the following five. */
  checksum: 8,
  flags: 10,
  /** `pd_lower`: end of the line pointers. */
  lower: 12,
  /** `pd_upper`: start of the tuples; zero marks a page that was never initialised. */
  upper: 14,
  /** `pd_special`: start of the access method's own space at the end of the page. */
  special: 16,
  /** `pd_pagesize_version`: page size in the high byte's multiples of 256, layout version in the low byte. */
  pageSizeVersion: 18,
  /** `pd_prune_xid`, 32 bits. */
  pruneXid: 20,
} as const;

/** Flag bits that may be set in `pd_flags` (`PD_VALID_FLAG_BITS`). */
export const VALID_FLAG_BITS = 0x0007;

/** Alignment of `pd_special` (`MAXIMUM_ALIGNOF`), in bytes. */
export const SPECIAL_ALIGNMENT = 8;

/** Block sizes that PostgreSQL can be built with, in bytes. */
export const BLOCK_SIZES: readonly number[] = [1024, 2048, 4096, 8192, 16384, 32768];

/** PostgreSQL's default block size (`BLCKSZ`), in bytes. */
export const DEFAULT_BLOCK_SIZE = 8192;

/** `pd_lsn`, the end of the WAL record of the page's last change; a number, as LSNs are far below 2^53. */
export function pageLsn(view: DataView, offset = 0): number {
  const high = view.getUint32(offset + PageHeaderOffset.lsnHigh, true);
  return high * 0x1_0000_0000 + view.getUint32(offset + PageHeaderOffset.lsnLow, true);
}

/** The stored `pd_checksum`; 0 where the cluster keeps none. */
export function pageStoredChecksum(view: DataView, offset = 0): number {
  return view.getUint16(offset + PageHeaderOffset.checksum, true);
}

export function pageFlags(view: DataView, offset = 0): number {
  return view.getUint16(offset + PageHeaderOffset.flags, true);
}

export function pageLower(view: DataView, offset = 0): number {
  return view.getUint16(offset + PageHeaderOffset.lower, true);
}

export function pageUpper(view: DataView, offset = 0): number {
  return view.getUint16(offset + PageHeaderOffset.upper, true);
}

export function pageSpecial(view: DataView, offset = 0): number {
  return view.getUint16(offset + PageHeaderOffset.special, true);
}

/** A page that was allocated but never initialised (`PageIsNew`); it need not be all zero. */
export function isNewPage(view: DataView, offset = 0): boolean {
  return pageUpper(view, offset) === 0;
}

/** Stores `pd_lsn`. */
export function setPageLsn(page: Uint8Array, lsn: number | bigint): void {
  const number = Number(lsn);
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  view.setUint32(PageHeaderOffset.lsnHigh, Math.floor(number / 0x1_0000_0000), true);
  view.setUint32(PageHeaderOffset.lsnLow, number >>> 0, true);
}
