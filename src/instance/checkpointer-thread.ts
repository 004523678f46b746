/**
 * Entry of the checkpointer: a backend of its own, which takes checkpoints when they are due, makes the next segment of
 * the WAL before anybody needs it, and sees to it that what was appended without waiting becomes durable soon
 * (PostgreSQL's checkpointer and WAL writer). Ends when it is told to, or when the instance has crashed.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { InstanceCrashedError } from '../base/errors.js';
import type { LogEvent } from '../base/log.js';
import { INVALID_LSN, type Lsn } from '../wal/lsn.js';
import { segmentOf } from '../wal/segments.js';
import type { Backend } from './backend.js';
import { attachInstance } from './instance.js';
import type { InstanceHandle } from './shared-state.js';

/** `wal_writer_delay`: so much later, at most, what was appended is written. */
const TICK_MILLIS = 200;
/** After a checkpoint that failed. */
const RETRY_MILLIS = 5000;

class Checkpointer {
  readonly #backend: Backend;
  readonly #timeout: number;
  readonly #maxWalSize: number;
  /** Where the WAL ended after the last checkpoint that this thread took: with nothing since, none is due. */
  #lastEnd: Lsn = INVALID_LSN;
  #lastTime = Date.now();
  #notBefore = 0;
  #complaint = '';
  #timer: NodeJS.Timeout | null = null;
  #stop: () => void = () => undefined;
  readonly #stopped = new Promise<void>((resolve) => (this.#stop = resolve));
  #isStopping = false;

  constructor(backend: Backend, timeout: number, maxWalSize: number) {
    this.#backend = backend;
    this.#timeout = timeout;
    this.#maxWalSize = maxWalSize;
  }

  async run(): Promise<void> {
    parentPort?.on('message', () => {
      this.#isStopping = true;
      this.#stop();
    });
    try {
      while (!this.#isStopping) {
        await this.#tick();
        await Promise.race([this.#stopped, this.#pause()]);
      }
    } finally {
      if (this.#timer !== null) clearTimeout(this.#timer);
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#timer = setTimeout(resolve, TICK_MILLIS);
    });
  }

  async #tick(): Promise<void> {
    try {
      const { wal } = this.#backend;
      if (wal.flushedUpTo < wal.insertedUpTo) await wal.flush();
      this.#prepareSegment();
      if (this.#isDue()) await this.#checkpoint();
      this.#complaint = '';
    } catch (error) {
      if (error instanceof InstanceCrashedError) throw error;
      this.#notBefore = Date.now() + RETRY_MILLIS;
      this.#complain(error instanceof Error ? error.message : String(error));
    }
  }

  #isDue(): boolean {
    const { wal } = this.#backend;
    const now = Date.now();
    if (now < this.#notBefore || wal.insertedUpTo === this.#lastEnd) return false;
    return now - this.#lastTime >= this.#timeout || wal.insertedUpTo - wal.redo >= this.#maxWalSize;
  }

  async #checkpoint(): Promise<void> {
    const began = Date.now();
    await this.#backend.wal.checkpoint();
    this.#lastTime = began;
    this.#lastEnd = this.#backend.wal.insertedUpTo;
  }

  /** Once a quarter of the segment before is full. */
  #prepareSegment(): void {
    const { wal } = this.#backend;
    const { segmentSize } = wal.parts.identity;
    wal.parts.wal.files.make(segmentOf(wal.insertedUpTo + (3 * segmentSize) / 4, segmentSize));
  }

  /** Once, until something else is wrong. */
  #complain(message: string): void {
    if (message === this.#complaint) return;
    this.#complaint = message;
    const event: LogEvent = {
      level: 'warning',
      message: `the checkpointer could not do its work: ${message}`,
    };
    parentPort?.postMessage({ log: event });
  }
}

const { handle } = workerData as { handle: InstanceHandle };

async function main(): Promise<void> {
  const { wal } = handle.settings;
  if (wal === null) return;
  const backend = await attachInstance(handle);
  try {
    await new Checkpointer(backend, wal.checkpointTimeout, wal.maxWalSize).run();
  } catch (error) {
    if (!(error instanceof InstanceCrashedError)) throw error;
  } finally {
    await backend.close().catch(() => undefined); // of a crash, everybody else is told
    parentPort?.close();
  }
}

await main();
