/**
 * What can be said about one page: the vocabulary that the kernel, the pool and `verify` share, and the
 * judgement in plain TypeScript (twin of page-kernel.wat).
 *
 * The rules are PostgreSQL's `PageIsVerified`: a page whose `pd_upper` is 0 is new and has no checksum yet;
 * every other page has its checksum and its header checked, and the two findings are independent.
 */
import { pageChecksum } from './page-checksum.js';
import {
  isNewPage,
  pageFlags,
  pageLower,
  pageSpecial,
  pageStoredChecksum,
  pageUpper,
  SPECIAL_ALIGNMENT,
  VALID_FLAG_BITS,
} from './page-header.js';

/**
 * Findings are bits, so that a page with both kinds of damage says both. New pages have no other finding.
 */
export const PageVerdict = {
  OK: 0,
  /** The stored checksum is not the computed one; the header is sane. */
  CHECKSUM_MISMATCH: 1,
  /** The checksum is right (or not checked) but the header cannot be: bounds, alignment or flags. */
  STRUCTURE: 2,
  CHECKSUM_MISMATCH_AND_STRUCTURE: 3,
  /** Every byte is zero: allocated, never written. */
  NEW_ZERO: 4,
  /** `pd_upper` is 0 but the page is not all zero. */
  NEW_NOT_ZERO: 8,
} as const;
export type PageVerdict = (typeof PageVerdict)[keyof typeof PageVerdict];

/** How to judge; flags that may be added up. 0 is the pool's view of a cluster with checksums. */
export const VerifyMode = {
  /** As the buffer pool judges (`PageIsVerified`): of the new pages only the all-zero one is fine. */
  POOL: 0,
  /** The cluster keeps no checksums: judge headers only. */
  NO_CHECKSUMS: 1,
  /** As `pg_checksums --check` judges: every new page is fine. */
  SCAN: 2,
} as const;
/** A sum of {@link VerifyMode} flags. */
export type VerifyFlags = number;

export function hasChecksumMismatch(verdict: PageVerdict): boolean {
  return (verdict & PageVerdict.CHECKSUM_MISMATCH) !== 0;
}

export function hasStructuralDamage(verdict: PageVerdict): boolean {
  return (verdict & PageVerdict.STRUCTURE) !== 0;
}

/** Whether a page with this verdict passes under `mode`. */
export function isFine(verdict: PageVerdict, mode: VerifyFlags): boolean {
  if (verdict === PageVerdict.NEW_NOT_ZERO) return (mode & VerifyMode.SCAN) !== 0;
  return verdict === PageVerdict.OK || verdict === PageVerdict.NEW_ZERO;
}

/** Judges one whole page outside shared memory; {@link PageKernel.verdict} is the fast one. */
export function pageVerdict(page: Uint8Array, blockNumber: number, mode: VerifyFlags = 0): PageVerdict {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  if (isNewPage(view)) {
    return page.every((byte) => byte === 0) ? PageVerdict.NEW_ZERO : PageVerdict.NEW_NOT_ZERO;
  }
  const checked = (mode & VerifyMode.NO_CHECKSUMS) === 0;
  const mismatch = checked && pageChecksum(page, blockNumber) !== pageStoredChecksum(view);
  if (isHeaderSane(view, page.byteLength)) {
    return mismatch ? PageVerdict.CHECKSUM_MISMATCH : PageVerdict.OK;
  }
  return mismatch ? PageVerdict.CHECKSUM_MISMATCH_AND_STRUCTURE : PageVerdict.STRUCTURE;
}

/** Flags, bounds and alignment of a page's header, as PostgreSQL checks them when it reads a page. */
export function isHeaderSane(view: DataView, blockSize: number): boolean {
  return (
    (pageFlags(view) & ~VALID_FLAG_BITS) === 0 &&
    pageLower(view) <= pageUpper(view) &&
    pageUpper(view) <= pageSpecial(view) &&
    pageSpecial(view) <= blockSize &&
    pageSpecial(view) % SPECIAL_ALIGNMENT === 0
  );
}
