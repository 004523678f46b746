/** One user of a backend in the simulation of the WAL; see wal-simulation.ts. */
import type { Backend } from '../src/instance/backend.js';
import { Checkpoint } from '../src/recovery/checkpoint-record.js';
import { PENDING, type Pending, type Step } from '../src/shmem/wait.js';
import { logicalMessage } from '../src/wal/logical-message.js';
import type { Lsn } from '../src/wal/lsn.js';
import type { Random } from './random.js';
import type { SteppedTask } from './simulated-backend.js';
import type { SimulatedDisk } from './simulated-disk.js';
import type { WalModel } from './wal-simulation-model.js';

const PREFIX = 's';
/** Payload of a message that takes as much room as the record of a checkpoint, which is what follows recovery. */
export const AS_CHECKPOINT: number =
  Checkpoint.first(1, 0, 0).record(true).length - logicalMessage(PREFIX, new Uint8Array()).length;

/** Thrown where a thread would look away while another copies a record. One for all: a stack takes time. */
export const LOOKED_AWAY: Error = new Error('another copies a record');

/** The simulation that a client is part of. */
export interface ClientSimulation {
  readonly random: Random;
  readonly disk: SimulatedDisk;
  readonly model: WalModel;
  readonly result: { commits: number; failures: number };
  /** Of payloads. */
  readonly sizes: readonly number[];
  /** Data syncs that had failed before this life. */
  readonly failedBefore: number;
  isExcused(error: unknown): boolean;
  preempt(chance: number): void;
}

/** One user of a backend: appends, commits, and flushes what others have appended. */
export class Client implements SteppedTask {
  isDone = false;
  readonly #simulation: ClientSimulation;
  readonly #backend: Backend;
  #left: number;
  #inserting: Step<Lsn | null> | null = null;
  #flushing: Step<void> | null = null;
  #want: Lsn = 0;
  /** No sync had failed when the record was appended. */
  #mayCommit = true;
  readonly #failedBefore: number;

  constructor(simulation: ClientSimulation, backend: Backend) {
    this.#simulation = simulation;
    this.#backend = backend;
    this.#failedBefore = simulation.failedBefore;
    this.#left = 1 + simulation.random.below(simulation.sizes[0] === AS_CHECKPOINT ? 30 : 8);
  }

  step(): true | Pending {
    const { result } = this.#simulation;
    try {
      return this.#advance();
    } catch (error) {
      if (error === LOOKED_AWAY) return true;
      if (!this.#simulation.isExcused(error)) throw error;
      result.failures++;
      this.#next();
      return true;
    }
  }

  #advance(): true | Pending {
    const { model, result, random } = this.#simulation;
    const { wal } = this.#backend.wal.parts;
    if (this.#inserting !== null) {
      const end = this.#inserting();
      if (end === PENDING) return PENDING;
      this.#inserting = null;
      this.#want = end ?? 0;
      if (random.chance(0.2)) this.#next();
      else this.#flushing = wal.flushing(this.#want);
    } else if (this.#flushing !== null) {
      if (this.#flushing() === PENDING) return PENDING;
      if (!this.#mayCommit) throw new Error(`a commit was acknowledged after a failed sync`);
      model.claim(Math.max(this.#want, wal.control.flushed));
      result.commits++;
      this.#next();
    } else this.#begin();
    return true;
  }

  #begin(): void {
    const { random, model, disk, sizes } = this.#simulation;
    const { wal } = this.#backend.wal.parts;
    this.#mayCommit = true;
    if (random.chance(0.1)) {
      this.#want = wal.control.reserved;
      this.#flushing = wal.flushing(this.#want);
      return;
    }
    this.#mayCommit = disk.failedDataSyncs === this.#failedBefore;
    const payload = new Uint8Array(random.pick(sizes));
    for (let at = 0; at < payload.length; at += 61) payload[at] = random.below(256);
    const record = logicalMessage(PREFIX, payload);
    const placed = (start: Lsn): void => {
      model.placed({ start, end: wal.control.end, payload });
      this.#simulation.preempt(0.3);
    };
    this.#inserting = wal.inserting(record, { placed });
  }

  #next(): void {
    this.#inserting = null;
    this.#flushing = null;
    if (--this.#left <= 0) this.isDone = true;
  }
}
