/**
 * Which buffers a backend has pinned, and which it has claimed without an I/O yet: a bit each in shared
 * memory, for the supervisor, which gives them back when the backend's thread has ended. How often a buffer
 * is pinned, and for which scope, is the thread's own business (private-pins.ts).
 *
 *   slot 0: [ pins: one bit a buffer ][ claims: one bit a buffer ]   slot 1: …
 *
 * Who writes: the slot's own thread, with plain reads and writes; the supervisor once that has ended. What
 * orders a bit is its place in the code: it is set directly behind the compare-and-swap that takes the pin
 * or the claim, and cleared directly behind the one that gives it back. A thread ends between calls' entries
 * only (see shmem/slots.ts), so for whoever looks after its end the bit is set if and only if the slot has
 * the pin, or the claim. Only the slot's thread looks before that: never.
 */
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';

export interface HoldingsRegion {
  readonly start: number;
  /** Words of one slot's bits of one kind. */
  readonly words: number;
}

export function planHoldings(plan: SegmentPlan, backends: number, buffers: number): HoldingsRegion {
  const words = Math.ceil(buffers / 32 / CACHE_LINE_WORDS) * CACHE_LINE_WORDS;
  return { start: plan.reserve('buffer holdings', backends * 2 * words), words };
}

/** First word of a slot's pins. Only backends' slots have any. */
export function pinsOf(region: HoldingsRegion, slot: number): number {
  return region.start + slot * 2 * region.words;
}

/** First word of a slot's claims. */
export function claimsOf(region: HoldingsRegion, slot: number): number {
  return pinsOf(region, slot) + region.words;
}
