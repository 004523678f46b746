/**
 * Verification of PostgreSQL's segment files that are read as plain files: the completion callback judges
 * every whole page of the read, in whichever thread completes it, and counts those that are not fine. Which
 * ones they are, the issuer finds out by looking again: they are few, and still in its memory.
 */
import type { AioCallback } from '../aio/callback.js';
import { CallbackId } from '../aio/ids.js';
import { ResultStatus } from '../aio/result.js';
import { createPageKernel, type PageKernel } from '../page/page-kernel.js';
import { FileWord } from '../vfd/file-target.js';

/** The callback's data: the verify mode in the low bits, the block size in kB above. */
export function verifyPagesData(mode: number, blockSize: number): number {
  return mode | ((blockSize >>> 10) << 8);
}

export function verifyPages(memories: readonly WebAssembly.Memory[]): AioCallback {
  /** By memory and block size; made on first use. */
  const kernels = new Map<number, PageKernel>();
  const kernelFor = (memory: number, blockSize: number): PageKernel => {
    const key = memory * 65_536 + blockSize;
    let kernel = kernels.get(key);
    if (kernel === undefined) {
      kernel = createPageKernel(memories[memory] as WebAssembly.Memory, blockSize);
      kernels.set(key, kernel);
    }
    return kernel;
  };
  return {
    name: 'verify_pages',
    completeShared: (io, result, data) => {
      if (result.value <= 0) return;
      const blockSize = (data >>> 8) << 10;
      const mode = data & 0xff;
      const kernel = kernelFor(io.memory, blockSize);
      const pages = Math.floor(result.value / blockSize);
      const firstBlock = io.targetWord(FileWord.FIRST_BLOCK);
      const offset = io.iovOffset(0);
      let suspicious = 0;
      for (let page = 0; page < pages; page++) {
        page += kernel.verifyRun(offset + page * blockSize, firstBlock + page, pages - page, mode);
        if (page < pages) suspicious++;
      }
      if (suspicious === 0) return;
      if (result.status === ResultStatus.OK) result.status = ResultStatus.WARNING;
      result.reporter = CallbackId.VERIFY_PAGES;
      result.errorData = suspicious;
    },
    report: (result) => ({
      level: 'warning',
      message: `${result.errorData} suspicious page(s) in "${result.description}"`,
    }),
  };
}
