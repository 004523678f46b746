/** How long operations took, each. */
import type { Latency } from '../measurement.js';

export class Latencies {
  #millis: number[] = [];

  add(millis: number): void {
    this.#millis.push(millis);
  }

  clear(): void {
    this.#millis = [];
  }

  summary(): Latency {
    const sorted = Float64Array.from(this.#millis).sort();
    const at = (share: number): number => (sorted[Math.floor(sorted.length * share)] ?? 0) * 1000;
    return { medianMicros: at(0.5), p99Micros: at(0.99) };
  }
}
