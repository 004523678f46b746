/**
 * Entry of the checkpointer: a backend of its own, which takes checkpoints when they are due, makes the next segment of
 * the WAL before anybody needs it, and sees to it that what was appended without waiting becomes durable soon
 * (PostgreSQL's checkpointer and WAL writer). Ends when it is told to, or when the instance has crashed.
 */
import { workerData } from 'node:worker_threads';
import { INVALID_LSN, type Lsn } from '../wal/lsn.js';
import { segmentOf } from '../wal/segments.js';
import { workAtIntervals, type AuxiliaryWork } from './auxiliary-work.js';
import type { Backend } from './backend.js';
import type { InstanceHandle } from './shared-state.js';

/** `wal_writer_delay`: so much later, at most, what was appended is written. */
const TICK_MILLIS = 200;
/** After a checkpoint that failed. */
const RETRY_MILLIS = 5000;

class Checkpointer implements AuxiliaryWork {
  readonly name = 'checkpointer';
  readonly interval = TICK_MILLIS;
  readonly #backend: Backend;
  readonly #timeout: number;
  readonly #maxWalSize: number;
  /** Where the WAL ended after the last checkpoint that this thread took: with nothing since, none is due. */
  #lastEnd: Lsn = INVALID_LSN;
  #lastTime = Date.now();
  #notBefore = 0;
  /** Then `redo` says nothing of how much recovery would read. */
  #hasFailed = false;

  constructor(backend: Backend, timeout: number, maxWalSize: number) {
    this.#backend = backend;
    this.#timeout = timeout;
    this.#maxWalSize = maxWalSize;
  }

  async round(): Promise<void> {
    const { wal } = this.#backend;
    // First: on a full disk it may be what makes room for the others.
    if (this.#isDue()) await this.#checkpoint();
    if (wal.flushedUpTo < wal.insertedUpTo) await wal.flush();
    this.#prepareSegment();
  }

  #isDue(): boolean {
    const { wal } = this.#backend;
    const now = Date.now();
    if (now < this.#notBefore || wal.insertedUpTo === this.#lastEnd) return false;
    if (this.#hasFailed) return true;
    return now - this.#lastTime >= this.#timeout || wal.insertedUpTo - wal.redo >= this.#maxWalSize;
  }

  async #checkpoint(): Promise<void> {
    const began = Date.now();
    try {
      this.#hasFailed = true; // unless it gets to its end
      await this.#backend.wal.checkpoint();
      this.#hasFailed = false;
    } catch (error) {
      this.#notBefore = Date.now() + RETRY_MILLIS;
      throw error;
    }
    this.#lastTime = began;
    this.#lastEnd = this.#backend.wal.insertedUpTo;
  }

  /** Once a quarter of the segment before is full. */
  #prepareSegment(): void {
    const { wal } = this.#backend;
    const { segmentSize } = wal.parts.identity;
    wal.parts.wal.files.make(segmentOf(wal.insertedUpTo + (3 * segmentSize) / 4, segmentSize));
  }
}

const { handle } = workerData as { handle: InstanceHandle };
const { wal } = handle.settings;
if (wal !== null)
  await workAtIntervals(
    handle,
    'checkpointer',
    (backend) => new Checkpointer(backend, wal.checkpointTimeout, wal.maxWalSize),
  );
