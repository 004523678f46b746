/** Backends in threads of their own, which do one of a few things; see actor-thread.ts. */
import { Worker } from 'node:worker_threads';
import type { InstanceHandle } from '../src/instance/shared-state.js';

export type Role =
  /** Attaches and stays, until told otherwise. */
  | 'stay'
  /** Attaches, closes its backend, and stays. */
  | 'close'
  /** Attaches, starts a read that it never awaits, and returns. */
  | 'return'
  /** The same, but calls process.exit. */
  | 'exit'
  /** The same, but throws. */
  | 'throw'
  /** Reads a block, blocking the thread. */
  | 'block'
  /** Takes the lock of a mapping partition, and stays in the critical section. */
  | 'critical'
  /** Creates an instance of its own, reports its handle, and stays. */
  | 'create'
  /** Stages a read in a batch, and stays blocked without submitting it. */
  | 'stage'
  /** Commits a message to the WAL, blocking the thread. */
  | 'commit'
  /** The same, but stays blocked when its page is written and it has taken the fsync upon itself. */
  | 'commit unsynced';

export interface ActorInput {
  role: Role;
  handle: InstanceHandle | null;
  dataDirectory: string;
  locator: { database: number; relation: number };
  block: number;
  injection: string | null;
}

export interface ActorReport {
  /** It is where its role wants it. */
  ready?: boolean;
  /** Its slot. */
  backend?: number;
  handle?: InstanceHandle;
  /** How its job ended: 'done', or the code of the error. */
  outcome?: string;
}

export class Actor {
  readonly #thread: Worker;
  readonly #reports: ActorReport[] = [];
  readonly #exited: Promise<void>;
  #wake: () => void = () => undefined;

  constructor(input: ActorInput) {
    this.#thread = new Worker(new URL('./actor-thread.js', import.meta.url), { workerData: input });
    this.#thread.on('message', (report: ActorReport) => {
      this.#reports.push(report);
      this.#wake();
    });
    this.#thread.on('error', () => undefined); // the role 'throw' ends so
    this.#exited = new Promise((resolve) => this.#thread.once('exit', () => resolve()));
  }

  /** Resolves with the first report that has the field. */
  async report<Field extends keyof ActorReport>(field: Field): Promise<NonNullable<ActorReport[Field]>> {
    for (;;) {
      const found = this.#reports.find((report) => report[field] !== undefined)?.[field];
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the thread wherever it is: no `finally` runs. */
  async terminate(): Promise<void> {
    await this.#thread.terminate();
  }

  ended(): Promise<void> {
    return this.#exited;
  }
}
