import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { createJsWordAtomics, createWordAtomics, type WordAtomics } from '../../src/native/atomics.js';
import {
  atomicsOf,
  hammer,
  WORD,
  type Flavour,
  type HammerInput,
  type HammerOutput,
} from './atomics-hammer.js';

const ROUNDS = 50_000;

function sharedMemory(pages = 1): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
}

describe('word atomics', () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const operation = fc.constantFrom('add', 'sub', 'and', 'or', 'xor', 'exchange');

  it('by WebAssembly and by JavaScript agree on results and memory', () => {
    const wasm = createWordAtomics(sharedMemory());
    const js = createJsWordAtomics(sharedMemory());
    const index = fc.integer({ min: 0, max: 16383 });
    fc.assert(
      fc.property(index, word, operation, word, word, (at, initial, name, value, replacement) => {
        const run = (atomics: WordAtomics): number[] => {
          atomics.store(at, initial);
          const old = atomics[name](at, value);
          const middle = atomics.load(at);
          const missed = atomics.compareExchange(at, value, replacement);
          const hit = atomics.compareExchange(at, atomics.load(at), replacement);
          return [old, middle, missed, hit, atomics.load(at)];
        };
        const results = run(wasm);
        assert.deepEqual(results, run(js));
        assert.equal(results[0], initial);
        assert.equal(results[4], replacement);
      }),
    );
  });

  it('touches only the word of its index, and throws outside the memory', () => {
    const memory = sharedMemory();
    const wasm = createWordAtomics(memory);
    wasm.store(16383, -7);
    const words = new Int32Array(memory.buffer);
    assert.equal(
      words.findIndex((value) => value !== 0),
      16383,
    );
    assert.throws(() => wasm.load(16384), { name: 'RuntimeError' });
    assert.throws(() => wasm.load(-1), { name: 'RuntimeError' });
  });

  const pairs: [Flavour, Flavour][] = [
    ['wasm', 'wasm'],
    ['js', 'js'],
    ['wasm', 'js'],
  ];
  for (const [here, there] of pairs) {
    it(`loses nothing between two threads (${here} against ${there})`, async () => {
      const memory = sharedMemory();
      const workerData: HammerInput = { memory, flavour: there, thread: 1, rounds: ROUNDS };
      const worker = new Worker(new URL('./atomics-hammer.js', import.meta.url), { workerData });
      const theirs = once(worker, 'message') as Promise<[HammerOutput]>;
      await once(worker, 'online');
      const mine = hammer({ memory, flavour: here, thread: 0, rounds: ROUNDS });
      const [other] = await theirs;
      await worker.terminate();

      const atomics = atomicsOf(here, memory);
      assert.equal(mine.contradictions + other.contradictions, 0);
      assert.equal(atomics.load(WORD.counter), 4 * ROUNDS);
      assert.equal(atomics.load(WORD.swapped), 2 * ROUNDS);
      assert.equal(atomics.load(WORD.flags), 0);
      assert.equal(atomics.load(WORD.toggles), 0); // an even number of rounds
      const left = atomics.load(WORD.tokens);
      assert.equal(mine.tokensGot + other.tokensGot + left, mine.tokensPut + other.tokensPut);
    });
  }
});
