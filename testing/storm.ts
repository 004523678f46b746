/**
 * Backend threads that come, read, and end: killed at a random point, by process.exit, or by returning, always
 * several at a time, while two survivors read on and check every page. Nothing may be left of the dead. What
 * is done follows from the seed; where a thread is when it is killed does not.
 *
 * A thread that dies in a critical section crashes the instance, by design: the storm goes on in another one.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { IoMethodName } from '../src/base/settings.js';
import { createInstance, type Instance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { leaksOf } from './leaks.js';
import { seededRandom, type Random } from './random.js';
import { DataDirectory } from './relations.js';
import { isExpected, StressWork, type StressData } from './stress-work.js';
import { untilBackends } from './turns.js';

export interface StormOptions {
  seed: number;
  ioMethod: IoMethodName;
  /** Threads that end. */
  rounds: number;
}

export type Ending = 'terminate' | 'exit' | 'return' | 'never';

export interface StormThreadInput extends StressData {
  handle: InstanceHandle;
  seed: number;
  ending: Ending;
  /** Of each of its backends; with `never`: until this word is set. */
  operations: number;
  stop: Int32Array;
}

export interface StormReport {
  attached?: true;
  failed?: string;
  blocks?: number;
}

export interface StormResult {
  blocks: number;
  /** Backends that were given back. */
  backendsLost: number;
  workersLost: number;
  /** Threads that were killed, wherever they were. */
  killed: number;
  /** Why instances crashed. */
  crashes: string[];
  /** What went wrong; empty when nothing did. */
  problems: string[];
}

/** Backends of a thread. */
export const BACKENDS_EACH = 3;
/** Threads at a time. */
const LANES = 4;
/** Survivors leave the processor to those who come and go. */
export const REST_MILLIS = 3;
const KILL_WITHIN_MILLIS = 30;

export async function storm(options: StormOptions): Promise<StormResult> {
  const random = seededRandom(options.seed);
  using data = new DataDirectory();
  const relations = [97, 400, 33, 900].map((blocks, at) => ({
    locator: data.write(700 + at, blocks),
    blocks,
  }));
  const result: StormResult = {
    blocks: 0,
    backendsLost: 0,
    workersLost: 0,
    killed: 0,
    crashes: [],
    problems: [],
  };
  const left = { rounds: options.rounds };
  while (left.rounds > 0 && result.problems.length === 0) {
    await new Storm(options, random, { dataDirectory: data.path, relations }, result).run(left);
  }
  return result;
}

/** As long as one instance lives. */
class Storm {
  readonly #options: StormOptions;
  readonly #random: Random;
  readonly #data: StressData;
  readonly #result: StormResult;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  #instance!: Instance;

  constructor(options: StormOptions, random: Random, data: StressData, result: StormResult) {
    this.#options = options;
    this.#random = random;
    this.#data = data;
    this.#result = result;
  }

  async run(left: { rounds: number }): Promise<void> {
    const random = this.#random;
    const result = this.#result;
    this.#instance = await createInstance({
      ioMethod: this.#options.ioMethod,
      sharedBuffers: random.pick(['4MB', '6MB']),
      tempBuffers: '800kB',
      ioMemory: random.pick(['256kB', '1MB']),
      ioMaxConcurrency: random.pick([1, 2, 5, -1]),
      ioCombineLimit: random.pick(['8kB', '24kB', '64kB']),
      effectiveIoConcurrency: random.pick([0, 1, 3]),
      ioMinWorkers: random.pick([1, 2]),
      ioMaxWorkers: 3,
      ioWorkerLaunchInterval: 0,
      maxBackends: 60,
      maxFilesPerProcess: 400,
      log: () => undefined,
    });
    const survivors = [this.#survive(), this.#thread('never').ended];
    const lanes = Array.from({ length: LANES }, async () => {
      while (left.rounds > 0 && !this.#isOver) {
        left.rounds--;
        await this.#casualty();
        // Whoever is in an instance that crashes is not given back, so those rounds do not count.
        if (this.#instance.backend.parts.memory.header.isCrashed) left.rounds++;
      }
    });
    await Promise.all(lanes);
    Atomics.store(this.#stop, 0, 1);
    await Promise.all(survivors);
    await this.#end().catch((error: unknown) => this.#failed(error));
    const { backendsLost, workersLost } = this.#instance.backend.counters();
    result.backendsLost += backendsLost;
    result.workersLost += workersLost;
  }

  get #isOver(): boolean {
    return this.#instance.backend.parts.memory.header.isCrashed || this.#result.problems.length > 0;
  }

  #failed(error: unknown): void {
    if ((error as { code?: string }).code === 'ERR_PGAIO_INSTANCE_CRASHED') return;
    this.#result.problems.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
  }

  #thread(ending: Ending): { thread: Worker; attached: Promise<void>; ended: Promise<void> } {
    const workerData: StormThreadInput = {
      ...this.#data,
      handle: this.#instance.handle,
      seed: this.#random.bits(),
      ending,
      operations: ending === 'never' ? 1 : this.#random.below(6),
      stop: this.#stop,
    };
    const thread = new Worker(new URL('./storm-thread.js', import.meta.url), { workerData });
    thread.on('error', (error) => this.#failed(error));
    const ended = once(thread, 'exit').then(() => undefined);
    const attached = new Promise<void>((resolve) => {
      thread.on('message', (report: StormReport) => {
        if (report.attached === true) resolve();
        if (report.failed !== undefined) this.#result.problems.push(report.failed);
        this.#result.blocks += report.blocks ?? 0;
      });
    });
    return { thread, attached, ended };
  }

  async #casualty(): Promise<void> {
    const ending = this.#random.pick(['terminate', 'terminate', 'terminate', 'exit', 'return'] as const);
    const millis = this.#random.below(KILL_WITHIN_MILLIS * 1000) / 1000;
    const early = this.#random.chance(0.1);
    if (this.#random.chance(0.1)) this.#instance.terminateWorker(this.#random.below(3));
    const { thread, attached, ended } = this.#thread(ending);
    if (ending !== 'terminate') return ended;
    if (!early) await Promise.race([attached, ended]);
    // eslint-disable-next-line no-restricted-globals -- a thread is to die at any moment, which the seed draws
    await new Promise((resolve) => setTimeout(resolve, millis + (early ? KILL_WITHIN_MILLIS * 3 : 0)));
    this.#result.killed++;
    await thread.terminate();
  }

  /** The creator's own backend, in this thread. */
  async #survive(): Promise<void> {
    const { backend } = this.#instance;
    const work = new StressWork(backend, this.#random, this.#data);
    while (Atomics.load(this.#stop, 0) === 0 && !this.#isOver) {
      await work.step().catch((error: unknown) => {
        if (!isExpected(error)) this.#failed(error);
      });
      // eslint-disable-next-line no-restricted-globals -- nothing is waited for: it leaves the processor to the others
      await new Promise((resolve) => setTimeout(resolve, REST_MILLIS));
    }
    this.#result.blocks += work.blocks;
  }

  async #end(): Promise<void> {
    const { handle, backend } = this.#instance;
    const { header } = backend.parts.memory;
    if (!header.isCrashed)
      await untilBackends(this.#instance, 1).catch((error: unknown) => this.#failed(error));
    if (header.isCrashed) {
      this.#result.crashes.push(header.crashReason);
      if (!/ended inside a critical section/.test(header.crashReason))
        this.#result.problems.push(header.crashReason);
      await this.#instance.close().catch(() => undefined);
      return;
    }
    await backend.aio.waits.until(() => backend.aio.drain()); // what the survivor itself has not reclaimed yet
    this.#result.problems.push(...leaksOf(handle, 1));
    await this.#instance.close();
    this.#result.problems.push(...leaksOf(handle));
  }
}
