/**
 * When to set IOSQE_ASYNC. Without it, the kernel first tries an I/O inside the submitter's system call: of
 * cached data that is all there is to it. Of data that is not cached, the submitter sets the device to work
 * itself; with the flag, a kernel thread does, at three times the processor time. For cached data the flag
 * is never right: it costs a third of the throughput. For cold data it depends: where the device is the
 * limit it gains nothing, where the submitter is (a fast device, or a program that computes) it does.
 *
 * So this looks at what happened, twice. An I/O that was tried inline and was complete when the system call
 * returned was cached; while most are, nothing is punted. While most are not, short periods with and without
 * the flag are timed, and what moved clearly more I/O is used, the other tried again now and then.
 *
 * PostgreSQL decides by the number in flight alone; that stays as a condition, because a single I/O gains
 * nothing from another thread. Only I/O through the page cache: what goes past it never is complete at once.
 */

/** PostgreSQL's: up to this depth another thread only adds its wake-up. */
const IN_FLIGHT_MIN = 4;
/** While the flag is set, one I/O of so many is tried inline, to find out whether the data is cached by now. */
const PROBE_EVERY = 16;
/** Weight of one I/O in the running share of misses. */
const WEIGHT = 1 / 16;
/** Above this share of misses data counts as cold. */
const THRESHOLD = 0.5;
/** A period that is timed has at least so many I/Os, and takes at least so long; one that takes far longer had a pause. */
const PERIOD_IOS = 64;
const PERIOD_MILLIS = 20;
const PAUSE_MILLIS = 1000;
/** Periods that are tried by turns before the first choice; and how often the other way is tried again. */
const FIRST_PERIODS = 4;
const TRY_OTHER_EVERY = 16;
/** The flag must move so many times more I/O to be worth its processor time. */
const WORTH_IT = 1.1;

/** Low bits of an entry's tag: 0, or the number of the submission in which it was tried inline. */
export const PROBE_BITS = 4;
export const PROBE_MASK = 15;

/** What the method asks; for measurements there are other rules. */
export interface PuntingRule {
  /** Number of this submission, 1 to 15. */
  readonly submission: number;
  /** How many of it are tried inline. */
  readonly triedInline: number;
  /** A system call's worth of I/O begins. */
  begin(): void;
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
  readonly #clock: () => number;
  readonly #inlinePeriods = new Rate();
  readonly #puntedPeriods = new Rate();
  #punts = false;
  #periods = 0;
  #periodStart = 0;
  #periodIos = 0;

  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /** Share of I/Os, tried inline, that were not cached: 0 to 1. */
  get missShare(): number {
    return this.#missShare;
  }

  get submission(): number {
    return this.#submission;
  }

  get triedInline(): number {
    return this.#triedInline;
  }

  begin(): void {
    this.#submission = (this.#submission % PROBE_MASK) + 1;
    this.#triedInline = 0;
  }

  shouldPunt(inFlight: number): boolean {
    if (this.#missShare > THRESHOLD && inFlight > IN_FLIGHT_MIN) {
      this.#countInPeriod();
      if (this.#punts && ++this.#sinceProbe < PROBE_EVERY) return true;
    }
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

  #countInPeriod(): void {
    if (++this.#periodIos % PERIOD_IOS !== 0) return;
    const now = this.#clock();
    const millis = now - this.#periodStart;
    if (millis < PERIOD_MILLIS) return;
    if (millis < PAUSE_MILLIS) {
      (this.#punts ? this.#puntedPeriods : this.#inlinePeriods).add(this.#periodIos / millis);
      this.#chooseNext(++this.#periods);
    }
    this.#periodStart = now;
    this.#periodIos = 0;
  }

  #chooseNext(periods: number): void {
    const better = this.#puntedPeriods.value > this.#inlinePeriods.value * WORTH_IT;
    if (periods < FIRST_PERIODS) this.#punts = periods % 2 === 1;
    else this.#punts = periods % TRY_OTHER_EVERY === 0 ? !better : better;
  }
}

/** A rate that follows what it is told, half way each time. */
class Rate {
  value = 0;

  add(rate: number): void {
    this.value = this.value === 0 ? rate : (this.value + rate) / 2;
  }
}
