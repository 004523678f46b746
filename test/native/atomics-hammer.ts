/** Worker and shared part of atomics.test.ts: one thread's share of the contention, with its own findings. */
import { parentPort, workerData } from 'node:worker_threads';
import { createJsWordAtomics, createWordAtomics, type WordAtomics } from '../../src/native/atomics.js';

/** Which implementation a thread uses. */
export type Flavour = 'wasm' | 'js';

export interface HammerInput {
  memory: WebAssembly.Memory;
  flavour: Flavour;
  /** 0 or 1. */
  thread: number;
  rounds: number;
}

export interface HammerOutput {
  /** How often a returned old value contradicted what only this thread could have written. */
  contradictions: number;
  /** Sums of the tokens that this thread put into and got out of the exchange word. */
  tokensPut: number;
  tokensGot: number;
}

/** Far from zero, and one per cache line, so that an index mistaken for a byte offset shows. */
export const WORD = { arrived: 1024, counter: 1040, flags: 1056, toggles: 1072, tokens: 1088, swapped: 1104 };

export function atomicsOf(flavour: Flavour, memory: WebAssembly.Memory): WordAtomics {
  return flavour === 'wasm' ? createWordAtomics(memory) : createJsWordAtomics(memory);
}

/** Runs one thread's share; returns when its rounds are done. */
export function hammer({ memory, flavour, thread, rounds }: HammerInput): HammerOutput {
  const atomics = atomicsOf(flavour, memory);
  const myBit = 1 << (30 + thread); // bit 31 too: the sign must survive
  const output: HammerOutput = { contradictions: 0, tokensPut: 0, tokensGot: 0 };

  atomics.add(WORD.arrived, 1);
  while (atomics.load(WORD.arrived) < 2); // both start together

  for (let round = 1; round <= rounds; round++) {
    atomics.add(WORD.counter, 3);
    atomics.sub(WORD.counter, 1);

    if ((atomics.or(WORD.flags, myBit) & myBit) !== 0) output.contradictions++;
    if ((atomics.and(WORD.flags, ~myBit) & myBit) === 0) output.contradictions++;

    const isSet = (atomics.xor(WORD.toggles, myBit) & myBit) !== 0;
    if (isSet !== (round % 2 === 0)) output.contradictions++;

    const token = round * 2 + thread;
    output.tokensPut += token;
    output.tokensGot += atomics.exchange(WORD.tokens, token);

    let expected = atomics.load(WORD.swapped);
    for (;;) {
      const found = atomics.compareExchange(WORD.swapped, expected, expected + 1);
      if (found === expected) break;
      expected = found;
    }
  }
  return output;
}

if (parentPort !== null && workerData !== null) parentPort.postMessage(hammer(workerData as HammerInput));
