/**
 * What a simulation of the WAL must find in its pages: the content of each page as of each LSN. After a crash, pages are
 * what they were where the WAL ends: then every change is on all its pages or on none, too.
 */
import { isNewPage, pageLsn, pageStoredChecksum } from '../src/page/page-header.js';
import { pageChecksum } from '../src/page/page-checksum.js';
import { BLOCK_SIZE } from '../src/base/settings.js';
import { formatLsn, type Lsn } from '../src/wal/lsn.js';

/** Of the page header: behind the LSN and the checksum. */
const CONTENT = 10;

/** Null: the block is cut off, or was never changed. UNKNOWN: nobody promises anything. */
type Content = Uint8Array | null | typeof UNKNOWN;
const UNKNOWN = 'unknown';

interface PageVersion {
  /** The end of the record. */
  readonly lsn: Lsn;
  readonly content: Content;
}

const NEVER: PageVersion = { lsn: 0, content: null };

export interface PageDraft {
  readonly relation: number;
  readonly block: number;
  readonly content: Uint8Array;
}

/** What is compared of a page; a copy. */
export function contentOf(page: Uint8Array): Uint8Array {
  return page.slice(CONTENT);
}

const viewOf = (page: Uint8Array): DataView => new DataView(page.buffer, page.byteOffset, page.byteLength);

export class PageModel {
  /** By relation and block; ascending. */
  readonly #versions = new Map<number, PageVersion[][]>();

  #of(relation: number, block: number): PageVersion[] {
    let blocks = this.#versions.get(relation);
    if (blocks === undefined) this.#versions.set(relation, (blocks = []));
    return (blocks[block] ??= []);
  }

  changed(lsn: Lsn, drafts: readonly PageDraft[]): void {
    for (const { relation, block, content } of drafts) this.#of(relation, block).push({ lsn, content });
  }

  /** From a block on all is cut off. */
  cut(lsn: Lsn, relation: number, from: number): void {
    this.#end(lsn, relation, from, null);
  }

  /** From a block on all may be cut off, and may come back. */
  forget(lsn: Lsn, relation: number, from: number): void {
    this.#end(lsn, relation, from, UNKNOWN);
  }

  #end(lsn: Lsn, relation: number, from: number, content: null | typeof UNKNOWN): void {
    const blocks = this.#versions.get(relation) ?? [];
    for (let block = from; block < blocks.length; block++) this.#of(relation, block).push({ lsn, content });
  }

  /** A crash has taken all records behind `end`. */
  lose(end: Lsn): void {
    for (const blocks of this.#versions.values())
      blocks.forEach((versions, block) => {
        blocks[block] = versions.flatMap((version) => {
          if (version.lsn <= end) return [version];
          return version.content === UNKNOWN ? [{ lsn: end, content: UNKNOWN }] : [];
        });
      });
  }

  /** A page as it is seen in the pool by who has its lock. */
  checkSeen(relation: number, block: number, page: Uint8Array): void {
    const version = this.#of(relation, block).at(-1) ?? NEVER;
    const wrong = wrongWith(version, page);
    if (wrong !== '') throw new Error(`block ${block} of ${relation} in the pool ${wrong}`);
  }

  /** Before recovery: nothing was written whose record is not in the WAL. */
  checkLogged(relation: number, file: Uint8Array, end: Lsn): void {
    for (let at = 0; at + BLOCK_SIZE <= file.length; at += BLOCK_SIZE) {
      const lsn = pageLsn(viewOf(file.subarray(at, at + BLOCK_SIZE)));
      if (lsn > end)
        throw new Error(
          `block ${at / BLOCK_SIZE} of ${relation} was written with LSN ${formatLsn(lsn)}; the WAL ends at ${formatLsn(end)}`,
        );
    }
  }

  /** After recovery: the whole file is what it was at the end of the WAL. */
  checkRecovered(relation: number, file: Uint8Array): void {
    const count = Math.floor(file.length / BLOCK_SIZE);
    const blocks = this.#versions.get(relation) ?? [];
    for (let block = 0; block < Math.max(count, blocks.length); block++) {
      const version = blocks[block]?.at(-1) ?? NEVER;
      const page = block < count ? file.subarray(block * BLOCK_SIZE, (block + 1) * BLOCK_SIZE) : null;
      const wrong = page === null ? wrongWithNone(version) : wrongInFile(version, page, block);
      if (wrong !== '') throw new Error(`after recovery block ${block} of ${relation} ${wrong}`);
      if (version.content !== UNKNOWN) continue;
      const isThere = page !== null && !isNewPage(viewOf(page));
      const lsn = isThere ? pageLsn(viewOf(page)) : version.lsn;
      this.#of(relation, block).push({ lsn, content: isThere ? contentOf(page) : null });
    }
  }
}

function wrongWithNone({ content, lsn }: PageVersion): string {
  return content === null || content === UNKNOWN ? '' : `is gone, and was changed at ${formatLsn(lsn)}`;
}

function wrongInFile(version: PageVersion, page: Uint8Array, block: number): string {
  const view = viewOf(page);
  if (!isNewPage(view) && pageStoredChecksum(view) !== pageChecksum(page, block))
    return 'has a wrong checksum';
  return wrongWith(version, page);
}

function wrongWith({ content, lsn }: PageVersion, page: Uint8Array): string {
  if (content === UNKNOWN) return '';
  const seen = pageLsn(viewOf(page));
  if (content === null)
    return page.every((byte) => byte === 0) ? '' : `is not new, but of ${formatLsn(seen)}`;
  if (seen !== lsn) return `is of ${formatLsn(seen)}, and was changed at ${formatLsn(lsn)}`;
  return Buffer.compare(page.subarray(CONTENT), content) === 0
    ? ''
    : `is not what it was at ${formatLsn(lsn)}`;
}
