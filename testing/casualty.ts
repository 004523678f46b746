/** Backends in threads of their own that stop at a named place, to be ended there; see casualty-thread.ts. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { InstanceHandle } from '../src/instance/shared-state.js';

export interface CasualtyInput {
  /** Its name in casualty-scenes.ts. */
  scene: string;
  handle: InstanceHandle;
  dataDirectory: string;
  locator: { database: number; relation: number };
  /** Its relation is a private one of its own, a copy of that. */
  isPrivate?: boolean;
  /** For scenes in which it helps with another backend's I/O. */
  ioHandle: number;
}

/** A thread that has come to where its scene wants it. */
export class Casualty {
  readonly backend: number;
  readonly #thread: Worker;

  private constructor(thread: Worker, backend: number) {
    this.#thread = thread;
    this.backend = backend;
  }

  /** Resolves once the thread is held. */
  static async start(input: CasualtyInput): Promise<Casualty> {
    const thread = new Worker(new URL('./casualty-thread.js', import.meta.url), { workerData: input });
    const [held] = (await once(thread, 'message')) as [{ backend?: number; failed?: string }];
    if (held.backend === undefined) throw new Error(`${input.scene}: ${held.failed ?? ''}`);
    return new Casualty(thread, held.backend);
  }

  /** Ends the thread where it is: no `finally` runs. */
  async end(): Promise<void> {
    await this.#thread.terminate();
  }
}
