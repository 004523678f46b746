/** Several threads in each of which some committers commit, at the same time. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { CommitCommand, CommitThreadData } from './commit-thread.js';

export class CommitTeam {
  readonly #threads: Worker[];

  constructor(size: number, data: CommitThreadData) {
    const url = new URL('./commit-thread.js', import.meta.url);
    this.#threads = Array.from({ length: size }, () => new Worker(url, { workerData: data }));
  }

  /** Commits for so long; returns the number of commits. */
  async commit(seconds: number): Promise<number> {
    const answers = this.#threads.map(async (thread) => {
      const answer = once(thread, 'message') as Promise<[number]>;
      thread.postMessage({ seconds } satisfies CommitCommand);
      return (await answer)[0];
    });
    return (await Promise.all(answers)).reduce((sum, commits) => sum + commits, 0);
  }

  async close(): Promise<void> {
    for (const thread of this.#threads) {
      const exit = once(thread, 'exit');
      thread.postMessage(null satisfies CommitCommand);
      await exit;
    }
  }
}
