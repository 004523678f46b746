/**
 * How far a stream looks ahead, and how large its I/Os become: two distances that adapt to what happens.
 * PostgreSQL 19's rules.
 *
 * The look-ahead distance, in blocks, doubles only when the consumer really had to wait; so on fast storage it
 * stays short. The combine distance, in blocks an I/O, doubles after any I/O. Both shrink by one a hit, once
 * nothing is in flight and a whole budget of hits has gone by since the last I/O: a cached stream ends up with
 * one buffer at a time, and one that misses now and then keeps its look-ahead.
 */

// Plain private fields: they are read for each block.
export class Distances {
  lookAhead: number;
  combine: number;
  private readonly budget: number;
  private readonly combineLimit: number;
  private holdOff = 0;

  /** `full`: begins with full-sized I/Os instead of the assumption that all is cached. */
  constructor(budget: number, combineLimit: number, full: boolean) {
    this.budget = budget;
    this.combineLimit = combineLimit;
    this.lookAhead = full ? combineLimit : 1;
    this.combine = this.lookAhead;
  }

  /** An I/O was consumed. */
  afterIo(waited: boolean): void {
    if (waited) this.lookAhead = Math.min(this.lookAhead * 2, this.budget);
    this.combine = Math.min(this.combine * 2, this.combineLimit);
    this.holdOff = this.budget;
  }

  /** A block was there, and nothing is in flight. */
  afterHit(): void {
    if (this.holdOff > 0) {
      this.holdOff--;
      return;
    }
    if (this.lookAhead > 1) this.lookAhead--;
    if (this.combine > 1) this.combine--;
  }

  /** No buffers are to be had for looking further than this. */
  shrink(lookAhead: number): void {
    this.lookAhead = Math.max(1, Math.min(this.lookAhead, lookAhead));
  }

  startOver(): void {
    this.lookAhead = 1;
    this.combine = 1;
    this.holdOff = 0;
  }
}
