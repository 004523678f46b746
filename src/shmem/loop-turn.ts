/**
 * When the event loop is to have its turn. What is cached completes at once: a program that awaits one such read after the
 * other runs in microtasks, behind which no timer and no socket would be served until it is done.
 */

/** A turn may last so long. */
const TURN_MILLIS = 4;
/** The clock is looked at once in so many times. */
const CLOCK_STRIDE = 8;

export class LoopTurn {
  /** When somebody asked first in this turn; 0: nobody has. */
  #began = 0;
  #untilClock = CLOCK_STRIDE;
  #isOver = false;
  readonly #next = (): void => {
    this.#began = 0;
    this.#isOver = false;
  };

  /** Whether whoever asks is to go on in the loop's next turn. To be asked often. */
  isOver(): boolean {
    if (this.#isOver) return true;
    if (this.#began === 0) {
      this.#began = performance.now();
      this.#untilClock = CLOCK_STRIDE;
      setImmediate(this.#next).unref(); // that a turn passes keeps no program
    } else if (--this.#untilClock === 0) {
      this.#untilClock = CLOCK_STRIDE;
      this.#isOver = performance.now() - this.#began > TURN_MILLIS;
    }
    return this.#isOver;
  }
}
