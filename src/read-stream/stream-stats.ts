/** What a stream did, as PostgreSQL 19's EXPLAIN (ANALYZE, IO) prints it of a scan. */
export interface ReadStreamStats {
  /** Buffers returned: PostgreSQL's prefetch count. */
  buffers: number;
  /**
   * Buffers that were pinned and on their way when one of them was returned, that one included: the sum over all
   * returned buffers, the maximum, and what would have been possible.
   */
  distanceSum: number;
  distanceMax: number;
  distanceCapacity: number;
  ios: number;
  /** Blocks read by those. */
  ioBlocks: number;
  /** Sum of reads in flight when one was started, that one included. */
  inFlightSum: number;
  /** How often the consumer had to wait for an I/O. One that is executed at once counts. */
  waits: number;
  /** How often the kernel was advised of a read to come. */
  advices: number;
  /** How often the callback yielded. */
  yields: number;
}

export function newStreamStats(distanceCapacity: number): ReadStreamStats {
  return {
    buffers: 0,
    distanceSum: 0,
    distanceMax: 0,
    distanceCapacity,
    ios: 0,
    ioBlocks: 0,
    inFlightSum: 0,
    waits: 0,
    advices: 0,
    yields: 0,
  };
}
