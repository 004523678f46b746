/** Which blocks of a heap VACUUM reads: vacuumlazy.c's heap_vac_scan_next_block and find_next_unskippable_block. */
import { markBatchSafe } from './block-sources.js';
import { END_OF_STREAM, type NextBlock } from './stream-options.js';
import type { VisibilityMap } from './visibility-map.js';

/**
 * Fewer blocks in a row than that are read although they could be skipped: reading on costs the kernel's and the
 * stream's read-ahead less than a gap does, and a page that is read can be found to be all-frozen.
 */
export const SKIP_PAGES_THRESHOLD = 32;

export interface VacuumBlocksOptions {
  /** Skip all-frozen blocks only, as a vacuum does that must advance relfrozenxid. Default false. */
  aggressive?: boolean;
  /** Read every block: DISABLE_PAGE_SKIPPING. Default false. */
  disablePageSkipping?: boolean;
}

/**
 * Gives a stream the blocks of a heap that a vacuum reads, in order: `readStream(heap, { nextBlock: blocks.next })`.
 * Runs of 32 all-visible blocks and more are skipped. The last block is always read, because it is what says
 * whether the relation can be truncated. PostgreSQL 18's eager scanning of some all-visible blocks is not done.
 */
export class VacuumBlocks {
  /** Blocks that were skipped, and whether any of them was all-visible and not all-frozen. */
  skipped = 0;
  skippedAllVisible = false;
  readonly #map: VisibilityMap;
  readonly #blockCount: number;
  readonly #aggressive: boolean;
  readonly #skipping: boolean;
  #next = 0;
  /** The first block from `#next` on that must be read, if it is known; what stands before it may be skipped. */
  #unskippable = -1;

  constructor(map: VisibilityMap, blockCount: number, options: VacuumBlocksOptions = {}) {
    this.#map = map;
    this.#blockCount = blockCount;
    this.#aggressive = options.aggressive ?? false;
    this.#skipping = options.disablePageSkipping !== true;
  }

  readonly next: NextBlock = markBatchSafe(() => {
    if (this.#next >= this.#blockCount) return END_OF_STREAM;
    if (this.#next > this.#unskippable) this.#findUnskippable();
    return this.#next++;
  });

  /** Skips to it if that is far enough. */
  #findUnskippable(): void {
    let block = this.#next;
    let skipsAllVisible = false;
    while (block < this.#blockCount - 1 && this.#skipping && this.#map.isAllVisible(block)) {
      if (!this.#map.isAllFrozen(block)) {
        if (this.#aggressive) break;
        skipsAllVisible = true;
      }
      block++;
    }
    this.#unskippable = block;
    const run = block - this.#next;
    if (run < SKIP_PAGES_THRESHOLD) return;
    this.skipped += run;
    this.skippedAllVisible ||= skipsAllVisible;
    this.#next = block;
  }
}
