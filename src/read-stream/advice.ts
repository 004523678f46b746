/**
 * Which reads are worth advising the kernel of, where reads are made only when their consumer wants them (method
 * `sync`): those it cannot foresee. It reads ahead by itself once it has seen a sequential run's first reads.
 */
const NOWHERE = -1;

export class AdviceRule {
  /** Where the next read begins if it goes on from the last. */
  private expected = NOWHERE;
  /** Start of a sequential run whose reads the kernel has not seen yet. */
  private runStart = NOWHERE;

  /** A read is being prepared, `ahead` of others or to be made at once; whether the kernel should be told of it. */
  prepare(block: number, count: number, ahead: boolean): boolean {
    const goesOn = block === this.expected;
    this.expected = block + count;
    if (goesOn) return this.runStart !== NOWHERE;
    this.runStart = block;
    return ahead;
  }

  /** The read that begins with the block was made. */
  wasRead(block: number): void {
    if (block === this.runStart) this.runStart = NOWHERE;
  }
}
