/**
 * Where things lie in the WAL: a stream of bytes, addressed by LSN, cut into pages and those into segment files. Every
 * page begins with a header, the first of a segment with a long one. LSNs are numbers of bytes, exact below 2^53.
 */
import { LONG_PAGE_HEADER_SIZE, SHORT_PAGE_HEADER_SIZE, WAL_PAGE_SIZE } from './page-header.js';

export function pageStart(lsn: number): number {
  return lsn - (lsn % WAL_PAGE_SIZE);
}

export function pageHeaderSize(page: number, segmentSize: number): number {
  return page % segmentSize === 0 ? LONG_PAGE_HEADER_SIZE : SHORT_PAGE_HEADER_SIZE;
}

/** Where the next byte goes if everything before `lsn` is taken: behind the header, at a page's start. */
export function afterHeader(lsn: number, segmentSize: number): number {
  return lsn % WAL_PAGE_SIZE === 0 ? lsn + pageHeaderSize(lsn, segmentSize) : lsn;
}

/**
 * Where `bytes` of content end that begin at `start`, which is not in a header, over as many pages as they take. An
 * end at a page's end is not moved behind the next header.
 */
export function endOfContent(start: number, bytes: number, segmentSize: number): number {
  const room = WAL_PAGE_SIZE - (start % WAL_PAGE_SIZE);
  if (bytes <= room) return start + bytes;
  let page = start + room;
  let left = bytes - room;
  for (;;) {
    const header = pageHeaderSize(page, segmentSize);
    if (left <= WAL_PAGE_SIZE - header) return page + header + left;
    left -= WAL_PAGE_SIZE - header;
    page += WAL_PAGE_SIZE;
  }
}
