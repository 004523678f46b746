/** Where the words of a pool are: the shared one's in the segment, a private one's in the thread's own. */
import { CONDITION_WORDS_MAX } from '../shmem/condition.js';
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import { BufferIoLayout, DESCRIPTOR_SHIFT } from './descriptor.js';
import { planHoldings, type HoldingsRegion } from './holdings.js';

/** Locks of the mapping table. */
export const PARTITIONS = 128;
/** Conditions for those who wait for content locks; buffers share them, and a waiter looks again anyway. */
export const LOCK_CONDITIONS = 64;
/** Content locks that a backend may hold in share mode at a time. */
export const SHARE_LOCKS_MAX = 32;
/** Those, and some for write-back, which must go on when a backend's user holds all that it may. */
export const SHARE_LOCK_PLACES: number = SHARE_LOCKS_MAX + 8;

export interface BufferRegion {
  readonly count: number;
  readonly descriptors: number;
  readonly io: number;
  readonly buckets: number;
  readonly bucketCount: number;
  readonly locks: number;
  readonly hand: number;
  readonly holdings: HoldingsRegion;
  /** A word a buffer: see content-lock.ts. */
  readonly contentLocks: number;
  readonly lockConditions: number;
  /** For each slot, the buffers that it has locked in share mode. */
  readonly shareLocks: number;
}

export function planBuffers(plan: SegmentPlan, backends: number, count: number): BufferRegion {
  const bucketCount = 2 ** Math.ceil(Math.log2(count * 2));
  return {
    count,
    descriptors: plan.reserve('buffer descriptors', count << DESCRIPTOR_SHIFT),
    io: plan.reserve('buffer io', count * BufferIoLayout.words),
    buckets: plan.reserve('buffer buckets', bucketCount),
    bucketCount,
    locks: plan.reserve('buffer partition locks', PARTITIONS * CACHE_LINE_WORDS),
    hand: plan.reserve('buffer clock hand', CACHE_LINE_WORDS),
    holdings: planHoldings(plan, backends, count),
    contentLocks: plan.reserve('buffer content locks', count),
    lockConditions: plan.reserve('buffer content lock conditions', LOCK_CONDITIONS * CONDITION_WORDS_MAX),
    shareLocks: plan.reserve('buffer share locks', backends * SHARE_LOCK_PLACES),
  };
}
