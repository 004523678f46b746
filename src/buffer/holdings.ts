/**
 * Which buffers a backend has pinned, and which of them it has claimed without an I/O yet: a byte a buffer
 * and slot in shared memory, for the supervisor, which gives them back when the backend's thread has ended.
 * How often a buffer is pinned, and for which scope, is the thread's own business (private-pins.ts). A byte,
 * because that is written without being read: a bit is not (see decision 0008).
 *
 * Who writes: the slot's own thread, plainly; the supervisor once that has ended. What orders a byte is its
 * place in the code: it is written directly behind the operation that takes or gives back the pin or the
 * claim. A thread ends between calls' entries only (see shmem/slots.ts), so whoever looks after its end finds
 * PINNED if and only if the slot has a pin, and CLAIMED if and only if it has a claim, too. While the thread
 * lives, nobody else looks.
 */
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';

/** What a slot has of a buffer. A claim is only ever made, tied to an I/O, or given up by who has it pinned. */
export const Holding = { NONE: 0, PINNED: 1, CLAIMED: 2 } as const;

export interface HoldingsRegion {
  readonly start: number;
  readonly buffers: number;
}

export function planHoldings(plan: SegmentPlan, backends: number, buffers: number): HoldingsRegion {
  return { start: plan.reserve('buffer holdings', backends * wordsEach(buffers)), buffers };
}

function wordsEach(buffers: number): number {
  return Math.ceil(buffers / 4 / CACHE_LINE_WORDS) * CACHE_LINE_WORDS;
}

/** The bytes of a slot, by buffer. Only backends pin and claim: other slots have none. */
export function holdingsOf(
  words: SharedWords,
  region: HoldingsRegion,
  backends: number,
  slot: number,
): Uint8Array {
  if (slot >= backends) return new Uint8Array();
  const start = (region.start + slot * wordsEach(region.buffers)) * 4;
  return new Uint8Array(words.array.buffer, start, region.buffers);
}
