/** What the instance's own threads have in common: they work at intervals until they are told to stop, and say once what is wrong. */
import { parentPort } from 'node:worker_threads';
import { ClosedError, InstanceCrashedError } from '../base/errors.js';
import type { LogEvent } from '../base/log.js';
import type { BackendType } from '../stats/io-stats.js';
import type { Backend } from './backend.js';
import { attachAuxiliary } from './instance.js';
import type { InstanceHandle } from './shared-state.js';

export interface AuxiliaryWork {
  /** The thread's, in messages. */
  readonly name: string;
  /** Milliseconds between two rounds. */
  readonly interval: number;
  /** A round; what it rejects with is logged, once, and the next round comes all the same. */
  round(): Promise<void>;
}

/** Resolves when the thread is told to stop, or the instance has crashed. */
export async function workAtIntervals(
  handle: InstanceHandle,
  type: Exclude<BackendType, 'client backend'>,
  makeWork: (backend: Backend) => AuxiliaryWork,
): Promise<void> {
  let backend: Backend | null = null;
  try {
    backend = await attachAuxiliary(handle, type);
    await new Rounds(makeWork(backend)).run();
  } catch (error) {
    // Of a crash, and of the end of the instance, everybody else is told.
    if (!(error instanceof InstanceCrashedError || error instanceof ClosedError)) throw error;
  } finally {
    await backend?.close().catch(() => undefined);
    parentPort?.close();
  }
}

class Rounds {
  readonly #work: AuxiliaryWork;
  #complaint = '';
  #timer: NodeJS.Timeout | null = null;
  #stop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => (this.#stop = resolve));
  #isStopping = false;

  constructor(work: AuxiliaryWork) {
    this.#work = work;
  }

  async run(): Promise<void> {
    parentPort?.on('message', () => {
      this.#isStopping = true;
      this.#stop();
    });
    try {
      while (!this.#isStopping) {
        await this.#round();
        await Promise.race([this.#stopped, this.#pause()]);
      }
    } finally {
      if (this.#timer !== null) clearTimeout(this.#timer);
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, this.#work.interval);
    });
  }

  async #round(): Promise<void> {
    try {
      await this.#work.round();
      this.#complaint = '';
    } catch (error) {
      if (error instanceof InstanceCrashedError || error instanceof ClosedError) throw error;
      this.#complain(error instanceof Error ? error.message : String(error));
    }
  }

  #complain(message: string): void {
    if (message === this.#complaint) return;
    this.#complaint = message;
    const event: LogEvent = {
      level: 'warning',
      message: `the ${this.#work.name} could not do its work: ${message}`,
    };
    parentPort?.postMessage({ log: event });
  }
}
