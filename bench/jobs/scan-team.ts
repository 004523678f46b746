/** Several threads that scan a part of the table each, at the same time. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { ScanCommand, ScanThreadData } from './scan-thread.js';

export class ScanTeam {
  readonly #threads: Worker[];

  constructor(size: number, data: ScanThreadData) {
    const url = new URL('./scan-thread.js', import.meta.url);
    this.#threads = Array.from({ length: size }, () => new Worker(url, { workerData: data }));
  }

  /** Scans the places from `from` up to `end`; returns the number of blocks. */
  async scan(from: number, end: number): Promise<number> {
    const share = Math.ceil((end - from) / this.#threads.length);
    const answers = this.#threads.map(async (thread, index) => {
      const start = from + index * share;
      const answer = once(thread, 'message') as Promise<[number]>;
      thread.postMessage({ from: start, end: Math.min(start + share, end) } satisfies ScanCommand);
      return (await answer)[0];
    });
    return (await Promise.all(answers)).reduce((sum, blocks) => sum + blocks, 0);
  }

  async close(): Promise<void> {
    for (const thread of this.#threads) {
      const exit = once(thread, 'exit');
      thread.postMessage(null satisfies ScanCommand);
      await exit;
    }
  }
}
