/** Where the words of a pool are: the shared one's in the segment, a private one's in the thread's own. */
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import { BufferIoLayout, DESCRIPTOR_SHIFT } from './descriptor.js';
import { planHoldings, type HoldingsRegion } from './holdings.js';

/** Locks of the mapping table. */
export const PARTITIONS = 128;

export interface BufferRegion {
  readonly count: number;
  readonly descriptors: number;
  readonly io: number;
  readonly buckets: number;
  readonly bucketCount: number;
  readonly locks: number;
  readonly hand: number;
  readonly holdings: HoldingsRegion;
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
  };
}
