/**
 * A thread of the instance's own with a backend of its own, PostgreSQL's auxiliary processes: the checkpointer, the
 * background writer. One that has ended is started again until it is stopped.
 */
import type { Worker } from 'node:worker_threads';
import type { LogEvent, LogSink } from '../base/log.js';
import type { InstanceHandle } from './shared-state.js';
import { startThread } from './start-thread.js';

/** So often at most: one that cannot even begin would keep a core busy. */
const RESTART_MILLIS = 1000;

export class AuxiliaryThread {
  /** In messages. */
  readonly name: string;
  readonly #program: string;
  readonly #handle: InstanceHandle;
  readonly #log: LogSink;
  #thread: Worker;
  #ended: Promise<void>;
  #startedAt = 0;
  #restart: NodeJS.Timeout | null = null;
  #stopping = false;

  /** `program` lies in this folder. */
  constructor(program: string, name: string, handle: InstanceHandle, log: LogSink) {
    this.#program = program;
    this.name = name;
    this.#handle = handle;
    this.#log = log;
    this.#thread = this.#start();
    this.#ended = this.#untilEnded();
  }

  #start(): Worker {
    const thread = startThread(this.#program, `pgaio ${this.name}`, { handle: this.#handle });
    this.#startedAt = Date.now();
    thread.unref(); // an instance that nobody uses does not keep the process
    thread.on('message', ({ log }: { log?: LogEvent }) => {
      if (log !== undefined) this.#log(log);
    });
    thread.on('error', ({ message }) => {
      this.#log({ level: 'warning', message: `the ${this.name} ended: ${message}` });
    });
    return thread;
  }

  async #untilEnded(): Promise<void> {
    // Not events.once, which rejects with what the thread threw: that was logged, and the thread is to be started again.
    const code = await new Promise<number>((resolve) => this.#thread.once('exit', resolve));
    if (code === 0 || this.#stopping) return;
    const wait = Math.max(0, this.#startedAt + RESTART_MILLIS - Date.now());
    this.#restart = setTimeout(() => {
      this.#thread = this.#start();
      this.#ended = this.#untilEnded();
    }, wait).unref();
  }

  /** For tests: ends the thread, wherever it is. */
  terminate(): Promise<number> {
    return this.#thread.terminate();
  }

  /** Lets it finish what it does. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#restart !== null) clearTimeout(this.#restart);
    this.#thread.ref();
    this.#thread.postMessage('stop');
    await this.#ended;
  }
}
