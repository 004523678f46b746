/**
 * Ctrl-C: the first one asks for an early end, a second one ends the process at once. A launcher such as npm
 * passes on a signal that the terminal has sent to everybody already, so one that follows closely is the same.
 */
const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
const SAME_SIGNAL_MILLIS = 500;

export class Interruption {
  readonly #controller = new AbortController();
  readonly #onFirst: () => void;
  #firstAt = 0;

  constructor(onFirst: () => void) {
    this.#onFirst = onFirst;
    for (const signal of SIGNALS) process.on(signal, this.#handle);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** As if it had been asked for from outside. */
  abort(): void {
    this.#controller.abort();
  }

  /** From here on signals do what they always do. */
  end(): void {
    for (const signal of SIGNALS) process.off(signal, this.#handle);
  }

  readonly #handle = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (!this.signal.aborted) {
      this.#firstAt = now;
      this.#onFirst();
      this.#controller.abort();
    } else if (now - this.#firstAt > SAME_SIGNAL_MILLIS) {
      this.end();
      process.kill(process.pid, signal);
    }
  };
}
