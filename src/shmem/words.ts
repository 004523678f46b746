/**
 * The control segment as one thread sees it: 32-bit words, with atomic operations that are WebAssembly
 * exports (a third of the cost of `Atomics.*`, which V8 does not inline).
 *
 * `get` and `set` are plain. They are right where an atomic operation on another word orders them (a
 * field read after the state word was read with `load`, or written before it is published with `store`),
 * or where a compare-and-swap validates what was read. Each use that is not obvious says which.
 */
import { createWordAtomics, type WordAtomics } from '../native/atomics.js';

export class SharedWords {
  readonly memory: WebAssembly.Memory;
  readonly array: Int32Array<SharedArrayBuffer>;
  /** The same memory, two words each: for what is a double there. */
  readonly doubles: Float64Array<SharedArrayBuffer>;
  readonly load: WordAtomics['load'];
  readonly store: WordAtomics['store'];
  /** Each of the following returns the old value. */
  readonly add: WordAtomics['add'];
  readonly sub: WordAtomics['sub'];
  readonly and: WordAtomics['and'];
  readonly or: WordAtomics['or'];
  readonly exchange: WordAtomics['exchange'];
  readonly compareExchange: WordAtomics['compareExchange'];
  readonly loadWide: WordAtomics['loadWide'];
  readonly storeWide: WordAtomics['storeWide'];

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    this.array = new Int32Array(memory.buffer as unknown as SharedArrayBuffer); // shared: true, always
    this.doubles = new Float64Array(this.array.buffer);
    const atomics = createWordAtomics(memory);
    this.load = atomics.load;
    this.store = atomics.store;
    this.add = atomics.add;
    this.sub = atomics.sub;
    this.and = atomics.and;
    this.or = atomics.or;
    this.exchange = atomics.exchange;
    this.compareExchange = atomics.compareExchange;
    this.loadWide = atomics.loadWide;
    this.storeWide = atomics.storeWide;
  }

  get(index: number): number {
    return this.array[index] as number;
  }

  set(index: number, value: number): void {
    this.array[index] = value;
  }

  /** Two words as one non-negative number below 2^53: low word first. */
  getWide(index: number): number {
    return (this.get(index) >>> 0) + (this.get(index + 1) >>> 0) * 0x1_0000_0000;
  }

  setWide(index: number, value: number): void {
    this.set(index, value | 0);
    this.set(index + 1, Math.floor(value / 0x1_0000_0000) | 0);
  }

  /** Adds to a counter that only this thread writes; others may read a torn value of a 64-bit counter. */
  addWide(index: number, amount: number): void {
    this.setWide(index, this.getWide(index) + amount);
  }

  /** Writes text as UTF-8 behind a word that holds its length in bytes; `capacityWords` counts both. */
  setText(index: number, capacityWords: number, text: string): void {
    const bytes = new Uint8Array(this.array.buffer, (index + 1) * 4, (capacityWords - 1) * 4);
    const encoded = Buffer.from(text, 'utf8').subarray(0, bytes.length);
    bytes.set(encoded);
    this.store(index, encoded.length);
  }

  getText(index: number): string {
    return Buffer.from(this.array.buffer, (index + 1) * 4, this.load(index)).toString('utf8');
  }
}
