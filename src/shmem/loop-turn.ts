/**
 * When the event loop is to have its turn. What is cached completes at once: a program that awaits one such read after the
 * other runs in microtasks, behind which no timer and no socket would be served until it is done.
 */

/** A turn may last so long. */
const TURN_MILLIS = 4;
/** The clock is looked at once in so many times. */
const CLOCK_STRIDE = 8;

type Resolve = (result: unknown) => void;

export class LoopTurn {
  readonly #clock: () => number;
  /** When somebody asked first in this turn; 0: nobody has. */
  #began = 0;
  #untilClock = CLOCK_STRIDE;
  #isOver = false;
  /** What the next turn settles, and with what. */
  #resolves: Resolve[] = [];
  #results: unknown[] = [];
  readonly #settlePutOff = (): void => {
    const [resolves, results] = [this.#resolves, this.#results];
    [this.#resolves, this.#results] = [[], []];
    resolves.forEach((resolve, at) => {
      resolve(results[at]);
    });
  };
  readonly #next = (): void => {
    this.#began = 0;
    this.#isOver = false;
  };

  constructor(clock: () => number = () => performance.now()) {
    this.#clock = clock;
  }

  /**
   * Settles now, or in the next turn of the loop; all of that turn together: who goes on asks for the next I/O together with the
   * others, which is one submission. With an immediate each, Node would run what follows the first before it settles the second.
   */
  deliver<T>(resolve: (result: T) => void, result: T): void {
    if (!this.isOver()) {
      resolve(result);
      return;
    }
    if (this.#resolves.push(resolve as Resolve) === 1) setImmediate(this.#settlePutOff);
    this.#results.push(result);
  }

  /** Whether whoever asks is to go on in the loop's next turn. To be asked often. */
  isOver(): boolean {
    if (this.#isOver) return true;
    if (this.#began === 0) {
      this.#began = this.#clock();
      this.#untilClock = CLOCK_STRIDE;
      setImmediate(this.#next).unref(); // that a turn passes keeps no program
    } else if (--this.#untilClock === 0) {
      this.#untilClock = CLOCK_STRIDE;
      this.#isOver = this.#clock() - this.#began > TURN_MILLIS;
    }
    return this.#isOver;
  }
}
