/**
 * Page verification where the pages lie: a WebAssembly SIMD kernel over shared memory (page-kernel.wat).
 *
 * Job: judge one page or a run of neighbours in one call, from whichever thread completed their I/O.
 * Invariants: nothing is written; a run is pages of one fork, contiguous in memory and in the relation.
 * Neighbours: page-verdict.ts for what a verdict means, `buffer` and `cli/verify` as the callers.
 */
import { assert } from '../base/assert.js';
import { instantiateOnMemory } from '../native/wasm-module.js';
import { BLOCK_SIZES, DEFAULT_BLOCK_SIZE } from './page-header.js';
import type { PageVerdict, VerifyFlags } from './page-verdict.js';

/**
 * Every `byteOffset` counts from the start of the memory and may reach 2^32 - 1; every block number counts
 * blocks of the relation's fork across its segments. Pages outside the memory throw a
 * `WebAssembly.RuntimeError`.
 */
export interface PageKernel {
  /** In bytes. */
  readonly blockSize: number;

  /** The checksum that the page should carry, 1..65535 (`pg_checksum_page`). */
  checksum(byteOffset: number, blockNumber: number): number;

  /** Everything that is to say about one page; of `mode`, only `NO_CHECKSUMS` matters. */
  verdict(byteOffset: number, blockNumber: number, mode?: VerifyFlags): PageVerdict;

  /**
   * How many pages at the start of the run pass under `mode`: `count` when all do, else the index of the
   * first that does not. {@link verdict} tells what is wrong with it; the rest of the run is not judged yet.
   */
  verifyRun(byteOffset: number, firstBlock: number, count: number, mode: VerifyFlags): number;
}

interface KernelExports {
  checksum(page: number, blockNumber: number, blockSize: number): number;
  verdict(page: number, blockNumber: number, mode: number, blockSize: number): number;
  verifyRun(page: number, firstBlock: number, count: number, mode: number, blockSize: number): number;
}

const kernelUrl = new URL('./page-kernel.wasm', import.meta.url);

/** A kernel over `memory` for this thread; `blockSize` in bytes is one of those that PostgreSQL knows. */
export function createPageKernel(
  memory: WebAssembly.Memory,
  blockSize: number = DEFAULT_BLOCK_SIZE,
): PageKernel {
  assert(BLOCK_SIZES.includes(blockSize), `no PostgreSQL block size: ${blockSize}`);
  const wasm = instantiateOnMemory<KernelExports>(kernelUrl, memory);
  // JavaScript numbers above 2^31 wrap to the i32 with the same bits, which the kernel reads as unsigned.
  return {
    blockSize,
    checksum: (byteOffset, blockNumber) => wasm.checksum(byteOffset, blockNumber, blockSize),
    verdict: (byteOffset, blockNumber, mode = 0) =>
      wasm.verdict(byteOffset, blockNumber, mode, blockSize) as PageVerdict,
    verifyRun: (byteOffset, firstBlock, count, mode) =>
      wasm.verifyRun(byteOffset, firstBlock, count, mode, blockSize),
  };
}
