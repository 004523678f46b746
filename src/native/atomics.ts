/**
 * Atomics on 32-bit words of shared memory, and on pairs of them, sequentially consistent.
 *
 * V8 does not inline `Atomics.*`: each call costs three times as much as the exported WebAssembly function
 * that does the same. This module keeps that choice in one place: the two constructors return the same
 * interface and agree bit for bit.
 *
 * Waiting and waking (`Atomics.wait`, `notify`) are not here.
 */
import { instantiateOnMemory } from './wasm-module.js';

/**
 * Indices count 32-bit words from the start of the memory. Values are signed 32-bit integers. Every
 * operation except `store` returns the value that was there before it.
 */
export interface WordAtomics {
  readonly load: (index: number) => number;
  readonly store: (index: number, value: number) => void;
  readonly add: (index: number, value: number) => number;
  readonly sub: (index: number, value: number) => number;
  readonly and: (index: number, value: number) => number;
  readonly or: (index: number, value: number) => number;
  readonly xor: (index: number, value: number) => number;
  readonly exchange: (index: number, value: number) => number;
  /** Succeeded when the returned value is `expected`. */
  readonly compareExchange: (index: number, expected: number, replacement: number) => number;
  /** Two words at an even index, the low one first, as one number below 2^53, never torn. */
  readonly loadWide: (index: number) => number;
  readonly storeWide: (index: number, value: number) => void;
}

const atomicsUrl = new URL('./atomics.wasm', import.meta.url);

/**
 * Atomics over `memory`, by WebAssembly. An index outside the memory throws a `WebAssembly.RuntimeError`.
 *
 * Create one per memory and thread and keep it: V8 inlines the call only where one call site always meets
 * the same object.
 */
export function createWordAtomics(memory: WebAssembly.Memory): WordAtomics {
  return instantiateOnMemory<WordAtomics>(atomicsUrl, memory);
}

/** The same in plain JavaScript: the twin for tests, and for hosts without WebAssembly threads. */
export function createJsWordAtomics(memory: WebAssembly.Memory): WordAtomics {
  const words = new Int32Array(memory.buffer);
  const wide = new BigUint64Array(memory.buffer);
  const wideIndex = (index: number): number => {
    if (index % 2 !== 0) throw new RangeError(`two words as one number start at an even index, not ${index}`);
    return index / 2;
  };
  return {
    load: (index) => Atomics.load(words, index),
    store: (index, value) => void Atomics.store(words, index, value),
    add: (index, value) => Atomics.add(words, index, value),
    sub: (index, value) => Atomics.sub(words, index, value),
    and: (index, value) => Atomics.and(words, index, value),
    or: (index, value) => Atomics.or(words, index, value),
    xor: (index, value) => Atomics.xor(words, index, value),
    exchange: (index, value) => Atomics.exchange(words, index, value),
    compareExchange: (index, expected, replacement) =>
      Atomics.compareExchange(words, index, expected, replacement),
    loadWide: (index) => Number(Atomics.load(wide, wideIndex(index))),
    storeWide: (index, value) => void Atomics.store(wide, wideIndex(index), BigInt(value)),
  };
}
