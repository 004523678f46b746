/**
 * When to set IOSQE_ASYNC. Without it, the kernel first tries an I/O inside the submitter's system call: of
 * cached data that is all there is to it. Of data that is not cached, the submitter sets the device to work
 * itself and pays for that; with the flag, a kernel thread does. Setting it for cached data costs a third
 * of the throughput; not setting it for cold data costs a quarter. So this looks at what happened: an I/O
 * that was tried inline and was complete when the system call returned was cached. While most are not, the
 * flag is set, except on every sixteenth I/O, which is the probe that finds out when that has changed.
 *
 * PostgreSQL decides by the number in flight alone; that stays as a condition, because a single I/O gains
 * nothing from another thread. Only I/O through the page cache: what goes past it never is complete at once.
 */

/** PostgreSQL's: below this depth another thread only adds its wake-up. */
const IN_FLIGHT_MIN = 4;
const PROBE_EVERY = 16;
/** Weight of one I/O in the running share of misses. */
const WEIGHT = 1 / 16;
/** Above this share of misses the flag is set. */
const THRESHOLD = 0.5;

/** Low bits of an entry's tag: 0, or the number of the submission in which it was tried inline. */
export const PROBE_BITS = 4;
export const PROBE_MASK = 15;

/** What the method asks. An interface, so that measurements can compare rules. */
export interface PuntingRule {
  /** A system call's worth of I/O begins. */
  begin(): void;
  /** Number of this submission, 1 to 15; 0 where nobody wants to know what was complete at once. */
  readonly submission: number;
  /** How many of this submission were not to be punted. While it is 0, `end` is not called. */
  readonly triedInline: number;
  /** Whether to set the flag on an I/O through the page cache, with so many in flight. */
  shouldPunt(inFlight: number): boolean;
  /** The system call is over: so many of those tried inline are complete. */
  end(complete: number): void;
}

export class Punting implements PuntingRule {
  #missShare = 0;
  #submission = 0;
  #triedInline = 0;
  #sinceProbe = 0;

  /** Share of I/Os, tried inline, that were not cached: 0 to 1. */
  get missShare(): number {
    return this.#missShare;
  }

  begin(): void {
    this.#submission = (this.#submission % PROBE_MASK) + 1;
    this.#triedInline = 0;
  }

  get submission(): number {
    return this.#submission;
  }

  get triedInline(): number {
    return this.#triedInline;
  }

  shouldPunt(inFlight: number): boolean {
    if (this.#missShare > THRESHOLD && inFlight >= IN_FLIGHT_MIN && ++this.#sinceProbe < PROBE_EVERY)
      return true;
    this.#sinceProbe = 0;
    this.#triedInline++;
    return false;
  }

  end(complete: number): void {
    const hits = Math.min(complete, this.#triedInline);
    for (let left = this.#triedInline; left > 0; left--) {
      const miss = left > hits ? 1 : 0;
      this.#missShare += (miss - this.#missShare) * WEIGHT;
    }
  }
}
