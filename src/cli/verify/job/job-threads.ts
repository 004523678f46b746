/**
 * The job threads, as the main thread has them: started together, each given work when it asks for it, and all
 * told to finish at the end. Two batches are under way to each, so that none waits for the main thread.
 */
import { Worker } from 'node:worker_threads';
import type { Findings, FromJob, JobData, ScanRange, ToJob } from './protocol.js';

const BATCHES_AHEAD = 2;

export class JobThreads {
  /** Sums over the jobs that have ended. */
  waits = 0;
  undecided = 0;
  /** Why a job ended before its time, or null. */
  failure: Error | null = null;
  readonly #threads: Worker[] = [];
  readonly #wanting: Worker[] = [];
  readonly #onFindings: (findings: Findings) => void;
  readonly #ended: Promise<unknown>;
  #changed: () => void = () => undefined;

  /** The threads load their modules, and wait for `start`. */
  constructor(count: number, onFindings: (findings: Findings) => void) {
    this.#onFindings = onFindings;
    const endings: Promise<void>[] = [];
    for (let job = 1; job <= count; job++) {
      const thread = new Worker(new URL('./job-thread.js', import.meta.url), {
        name: `pgaio verify job ${job}`,
      });
      this.#threads.push(thread);
      endings.push(this.#supervise(thread));
    }
    this.#ended = Promise.all(endings);
  }

  start(data: JobData): void {
    for (const thread of this.#threads) send(thread, { start: data });
    for (let ahead = 0; ahead < BATCHES_AHEAD; ahead++) this.#wanting.push(...this.#threads);
    this.#changed();
  }

  #supervise(thread: Worker): Promise<void> {
    let ended = false;
    thread.on('message', ({ wantsWork, findings, end }: FromJob) => {
      if (wantsWork === true) this.#wanting.push(thread);
      if (findings !== undefined) this.#onFindings(findings);
      if (end !== undefined) {
        ended = true;
        this.waits += end.waits;
        this.undecided += end.undecided;
      }
      this.#changed();
    });
    thread.on('error', (error) => this.#fail(error));
    return new Promise((resolve) => {
      thread.on('exit', (code) => {
        if (!ended) this.#fail(new Error(`a job's thread ended with code ${code}`));
        resolve();
      });
    });
  }

  #fail(error: Error): void {
    this.failure ??= error;
    this.#changed();
  }

  /** Resolves when some job wants work; false: there is no point in giving it any. */
  async wantWork(isStopped: () => boolean): Promise<boolean> {
    while (this.#wanting.length === 0 && this.failure === null && !isStopped()) {
      await new Promise<void>((resolve) => (this.#changed = resolve));
    }
    return this.failure === null && !isStopped();
  }

  /** To the job that has waited longest. */
  give(ranges: ScanRange[]): void {
    send(this.#wanting.shift() as Worker, { ranges });
  }

  /** Whoever waits in `wantWork` looks again. */
  poke(): void {
    this.#changed();
  }

  /** Tells all jobs to finish what they have; resolves when their threads have ended. */
  async finish(): Promise<void> {
    for (const thread of this.#threads) send(thread, { finish: true });
    await this.#ended;
  }
}

function send(thread: Worker, message: ToJob): void {
  thread.postMessage(message);
}
