/** Instances for tests: every variant of the contract suite, and the check that none leaves anything behind. */
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { IoMethodName, RingMemory } from '../src/base/settings.js';
import type { LogEvent } from '../src/base/log.js';
import type { Backend } from '../src/instance/backend.js';
import {
  attachInstance,
  createInstance,
  type CreateOptions,
  type Instance,
} from '../src/instance/instance.js';
import { supportedMethods } from '../src/instance/methods.js';
import { Injection } from './injection.js';
import { leaksOf } from './leaks.js';
import { DataDirectory } from './relations.js';

export interface Variant {
  readonly ioMethod: IoMethodName;
  readonly ioMaxConcurrency: number;
  readonly ioUringMemory?: RingMemory;
}

/**
 * Runs a suite for every method, each with one handle, with four, and with as many as are chosen automatically;
 * io_uring also with rings as kernels before 6.5 have them.
 */
export function forEachVariant(suite: (variant: Variant) => void): void {
  for (const ioMethod of supportedMethods()) {
    for (const ioMaxConcurrency of [1, 4, -1]) {
      const handles = ioMaxConcurrency === -1 ? 'automatic handles' : `${ioMaxConcurrency} handle(s)`;
      describe(`${ioMethod}, ${handles}`, () => {
        suite({ ioMethod, ioMaxConcurrency });
      });
    }
    if (ioMethod !== 'io_uring') continue;
    describe('io_uring, mapped rings', () => {
      suite({ ioMethod, ioMaxConcurrency: -1, ioUringMemory: 'mapped' });
    });
  }
}

/** Runs a suite once for every method. */
export function forEachMethod(suite: (ioMethod: IoMethodName) => void): void {
  for (const ioMethod of supportedMethods()) {
    describe(ioMethod, () => {
      suite(ioMethod);
    });
  }
}

/** A small instance, a data directory, and what was logged. */
export class Rig {
  readonly instance: Instance;
  readonly data: DataDirectory;
  readonly log: LogEvent[];
  readonly #others: Backend[] = [];

  constructor(instance: Instance, data: DataDirectory, log: LogEvent[]) {
    this.instance = instance;
    this.data = data;
    this.log = log;
  }

  get backend(): Backend {
    return this.instance.backend;
  }

  /** One more backend in this thread, closed with the rig. */
  async attach(): Promise<Backend> {
    const backend = await attachInstance(this.instance.handle, { log: (event) => this.log.push(event) });
    this.#others.push(backend);
    return backend;
  }

  get warnings(): string[] {
    return this.log.filter(({ level }) => level === 'warning').map(({ message }) => message);
  }

  /** Closes everything, and asserts that nothing was left behind. */
  async close(): Promise<void> {
    try {
      for (const backend of this.#others) await backend.close();
      await this.instance.close();
      assert.deepEqual(leaksOf(this.instance.handle), []);
    } finally {
      this.data[Symbol.dispose]();
    }
  }
}

export async function openRig(options: CreateOptions = {}): Promise<Rig> {
  const log: LogEvent[] = [];
  const data = new DataDirectory();
  try {
    const instance = await createInstance({
      sharedBuffers: '1MB',
      ioMemory: '1MB',
      ioMinWorkers: 2,
      maxBackends: 8,
      log: (event) => log.push(event),
      ...options,
    });
    return new Rig(instance, data, log);
  } catch (error) {
    data[Symbol.dispose]();
    throw error;
  }
}

/** Runs `body` with a rig of its own. */
export async function withRig(
  options: CreateOptions,
  body: (rig: Rig) => Promise<void> | void,
): Promise<void> {
  const rig = await openRig(options);
  try {
    await body(rig);
  } catch (error) {
    Injection.letAllGo();
    await rig.close().catch(() => undefined); // the first error is the one to see
    throw error;
  }
  await rig.close();
}
