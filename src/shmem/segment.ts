/**
 * The segment: one shared memory for control structures, sized once. Every module says how much it needs
 * by reserving regions from a plan; the same settings give the same plan in every thread, so an attaching
 * thread needs the memory and the settings, nothing else.
 */
import { assert } from '../base/assert.js';
import { CACHE_LINE_WORDS } from './layout.js';

const WASM_PAGE_BYTES = 65_536;
/** A WebAssembly memory with 32-bit addresses ends here: 4 GiB. */
export const MEMORY_BYTES_MAX: number = 65_536 * WASM_PAGE_BYTES;

export interface Region {
  readonly name: string;
  /** First word. */
  readonly start: number;
  readonly words: number;
}

export class SegmentPlan {
  readonly regions: Region[] = [];
  #words = 0;

  /**
   * Reserves a region that starts on a cache line, or on another multiple of words. Returns the index of its
   * first word.
   */
  reserve(name: string, words: number, alignment: number = CACHE_LINE_WORDS): number {
    assert(Number.isInteger(words) && words >= 0, `region ${name} asks for ${words} words`);
    const start = Math.ceil(this.#words / alignment) * alignment;
    this.regions.push({ name, start, words });
    this.#words = start + Math.ceil(words / CACHE_LINE_WORDS) * CACHE_LINE_WORDS;
    assert(this.#words * 4 <= MEMORY_BYTES_MAX, `the control segment would exceed 4 GiB at region ${name}`);
    return start;
  }

  get words(): number {
    return this.#words;
  }
}

/** Shared, page-aligned, zero-filled memory that never grows. */
export function createSharedMemory(bytes: number): WebAssembly.Memory {
  assert(bytes > 0 && bytes <= MEMORY_BYTES_MAX, `a shared memory of ${bytes} bytes is not possible`);
  const pages = Math.ceil(bytes / WASM_PAGE_BYTES);
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}
