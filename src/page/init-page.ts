/** New pages with PostgreSQL's header. */
import { DEFAULT_BLOCK_SIZE, PAGE_HEADER_SIZE, PageHeaderOffset, SPECIAL_ALIGNMENT } from './page-header.js';

const LAYOUT_VERSION = 4;

/**
 * Makes a page empty, as PostgreSQL's PageInit does: zeroes, and a header that says that all is free space but for
 * `specialSize` bytes at the end. What you put on the page is yours as long as `pd_lower` says where it ends from
 * below, and `pd_upper` where it begins from above: see {@link setPageLower} and {@link setPageUpper}.
 */
export function initPage(page: Uint8Array, specialSize = 0): void {
  const special = DEFAULT_BLOCK_SIZE - Math.ceil(specialSize / SPECIAL_ALIGNMENT) * SPECIAL_ALIGNMENT;
  if (page.length !== DEFAULT_BLOCK_SIZE || !(special >= PAGE_HEADER_SIZE && special <= DEFAULT_BLOCK_SIZE))
    throw new RangeError(`no page of ${page.length} bytes has ${specialSize} bytes of special space`);
  page.fill(0);
  const view = viewOf(page);
  view.setUint16(PageHeaderOffset.lower, PAGE_HEADER_SIZE, true);
  view.setUint16(PageHeaderOffset.upper, special, true);
  view.setUint16(PageHeaderOffset.special, special, true);
  view.setUint16(PageHeaderOffset.pageSizeVersion, DEFAULT_BLOCK_SIZE | LAYOUT_VERSION, true);
}

/** `pd_lower`: the end of what grows from the page's beginning, in bytes. */
export function setPageLower(page: Uint8Array, lower: number): void {
  viewOf(page).setUint16(PageHeaderOffset.lower, lower, true);
}

/** `pd_upper`: the start of what grows from the page's end, in bytes. */
export function setPageUpper(page: Uint8Array, upper: number): void {
  viewOf(page).setUint16(PageHeaderOffset.upper, upper, true);
}

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}
