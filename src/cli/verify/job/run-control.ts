/**
 * The few words that all threads of a verification share: whether to stop, and when the next bytes may be
 * read (`--rate`).
 *
 * Who writes: `stop` the main thread, once; `nextFree` whoever is about to read, by compare-and-swap. It is
 * the moment, on the process's monotonic clock, from which the device is free again if everything that was
 * let through so far takes as long as the rate says: a token bucket that nobody needs to fill.
 */
const STOP = 0;
/** Unused time is remembered for this long. */
const BURST_NANOS = 50_000_000n;

export class RunControl {
  readonly memory: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #nextFree: BigInt64Array;
  /** Nanoseconds a byte in 16.16 fixed point; 0: no limit. */
  readonly #cost: BigInt64Array;

  /** `bytesPerSecond` 0: no limit. */
  static create(bytesPerSecond: number): RunControl {
    const control = new RunControl(new SharedArrayBuffer(24));
    control.#cost[0] = bytesPerSecond > 0 ? BigInt(Math.round((1e9 / bytesPerSecond) * 65_536)) : 0n;
    return control;
  }

  constructor(memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#words = new Int32Array(memory, 0, 2);
    this.#nextFree = new BigInt64Array(memory, 8, 1);
    this.#cost = new BigInt64Array(memory, 16, 1);
  }

  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    Atomics.notify(this.#words, STOP);
  }

  get stopped(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** Nanoseconds on the process's monotonic clock. */
  now(): bigint {
    return process.hrtime.bigint();
  }

  /** Blocks the thread for so long, or until it is to stop. */
  sleep(millis: number): void {
    Atomics.wait(this.#words, STOP, 0, millis);
  }

  /** Blocks the thread until so many bytes are within the rate, or until it is to stop. */
  pace(bytes: number): void {
    const cost = this.#cost[0] as bigint;
    if (cost === 0n || bytes === 0) return;
    const price = (BigInt(bytes) * cost) >> 16n;
    const now = this.now();
    for (;;) {
      const free = Atomics.load(this.#nextFree, 0);
      const start = free > now - BURST_NANOS ? free : now - BURST_NANOS;
      if (Atomics.compareExchange(this.#nextFree, 0, free, start + price) !== free) continue;
      const wait = Number(start + price - now) / 1e6;
      if (wait > 0) this.sleep(wait);
      return;
    }
  }
}
