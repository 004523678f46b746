/**
 * What a heap's visibility map says: two bits for each of its blocks, as visibilitymap.c keeps them in a fork of
 * the relation. Copied out of the map's pages when it is read: whoever asks needs no page and cannot have to wait.
 *
 * A bit may have been cleared since: what it says is a hint, unless nobody writes to the relation.
 */
import { BLOCK_SIZE } from '../base/settings.js';
import { PAGE_HEADER_SIZE } from '../page/page-header.js';

/** Bits of a block: PostgreSQL's VISIBILITYMAP_ALL_VISIBLE and VISIBILITYMAP_ALL_FROZEN, which implies the first. */
export const VisibilityBit = { ALL_VISIBLE: 1, ALL_FROZEN: 2 } as const;

/** Bytes of a page of the map that hold bits: all behind the header. */
const MAP_BYTES = BLOCK_SIZE - PAGE_HEADER_SIZE;
const BLOCKS_PER_BYTE = 4;

export class VisibilityMap {
  readonly #bits: Uint8Array;

  /** `pages`: how many the map's fork has. */
  constructor(pages: number) {
    this.#bits = new Uint8Array(pages * MAP_BYTES);
  }

  /** Of so many pages, from the buffers that a stream over the map's fork gives. */
  static async read(
    pages: number,
    buffers: AsyncIterable<{ readonly block: number; readonly page: Uint8Array }>,
  ): Promise<VisibilityMap> {
    const map = new VisibilityMap(pages);
    for await (const { block, page } of buffers) map.addPage(block, page);
    return map;
  }

  /** Takes over a page of the map; those that were never written hold zeroes. */
  addPage(mapBlock: number, page: Uint8Array): void {
    this.#bits.set(page.subarray(PAGE_HEADER_SIZE, BLOCK_SIZE), mapBlock * MAP_BYTES);
  }

  /** A sum of VisibilityBits; 0 for blocks that the map does not reach: PostgreSQL's visibilitymap_get_status. */
  status(block: number): number {
    const byte = this.#bits[Math.floor(block / BLOCKS_PER_BYTE)] ?? 0;
    return (byte >>> ((block % BLOCKS_PER_BYTE) * 2)) & 3;
  }

  /** Every tuple on the block's page is visible to everybody. */
  isAllVisible(block: number): boolean {
    return (this.status(block) & VisibilityBit.ALL_VISIBLE) !== 0;
  }

  /** Besides, no tuple on it needs to be frozen any more. */
  isAllFrozen(block: number): boolean {
    return (this.status(block) & VisibilityBit.ALL_FROZEN) !== 0;
  }

  /** Blocks of the first `blocks` that have each bit: PostgreSQL's visibilitymap_count. */
  count(blocks: number): { allVisible: number; allFrozen: number } {
    let allVisible = 0;
    let allFrozen = 0;
    for (let block = 0; block < blocks; block++) {
      const status = this.status(block);
      allVisible += status & VisibilityBit.ALL_VISIBLE;
      allFrozen += status >>> 1;
    }
    return { allVisible, allFrozen };
  }
}
