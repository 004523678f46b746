/** What the kernel answers to a ring's owner or waiter, as a test wants it; in this thread only. */
import { theAddon } from './native-ring.js';

/** In place of the kernel, once for each of the answers. What is returned ends it, and returns how many were given. */
export function answerEnter(
  answers: number[],
  only: (submit: number, waitFor: number) => boolean,
): () => number {
  const addon = theAddon();
  const original = addon.ringEnter.bind(addon);
  let refused = 0;
  addon.ringEnter = (ring, submit, waitFor, millis) => {
    if (answers.length === 0 || !only(submit, waitFor)) return original(ring, submit, waitFor, millis);
    refused++;
    return answers.shift() ?? 0;
  };
  return () => {
    addon.ringEnter = original;
    return refused;
  };
}

/** A call of `ringEnter`: how many entries were offered, how many completions waited for, and the answer. */
export type Enter = readonly [submit: number, waitFor: number, answer: number];

export interface EnterWatch {
  readonly calls: readonly Enter[];
  end(): void;
}

/**
 * Notes every call. One with entries is answered by `answer`, given their number and how often it was asked:
 * `take(n)` lets the kernel have so many of them.
 */
export function watchEnter(
  answer: (submit: number, call: number, take: (count: number) => number) => number,
): EnterWatch {
  const addon = theAddon();
  const original = addon.ringEnter.bind(addon);
  const calls: Enter[] = [];
  let asked = 0;
  addon.ringEnter = (ring, submit, waitFor, millis) => {
    const take = (count: number): number => original(ring, count, waitFor, millis);
    const result = submit === 0 ? take(0) : answer(submit, asked++, take);
    calls.push([submit, waitFor, result]);
    return result;
  };
  return {
    calls,
    end: () => {
      addon.ringEnter = original;
    },
  };
}
