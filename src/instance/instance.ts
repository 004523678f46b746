/**
 * An instance: what PostgreSQL calls a cluster's shared memory plus its postmaster. One thread creates it,
 * others attach.
 */
import { Worker } from 'node:worker_threads';
import { closeRings, setUpRings } from '../aio/method/io-uring/setup.js';
import { Rings } from '../aio/method/io-uring/rings.js';
import { WorkerControl, type WorkerLimits } from '../aio/method/worker/control.js';
import { MethodUnavailableError, PgaioError } from '../base/errors.js';
import { DamageLogReader } from '../buffer/damage-log.js';
import { defaultLogSink, type LogEvent, type LogSink } from '../base/log.js';
import {
  checkMillis,
  resolveSettings,
  type InstanceSettings,
  type ResolvedSettings,
} from '../base/settings.js';
import { checkKind, checkRange } from '../base/units.js';
import { setAllLatches } from '../shmem/latch.js';
import { createSharedMemory } from '../shmem/segment.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { Backend } from './backend.js';
import { chooseMethod, type MethodChoice } from './methods.js';
import { createMemories, planInstance, type InstanceHandle } from './shared-state.js';
import { AttachedMemory, ThreadParts, loadModules, type LoadedModules } from './thread-parts.js';

export interface CreateOptions extends InstanceSettings {
  /** Where warnings and log events go. Default: warnings become process warnings. */
  log?: LogSink;
  /** URLs of modules that register callbacks and targets; every thread imports them. */
  modules?: readonly string[];
  /** URL of a module with hooks for tests. */
  injection?: string | null;
}

/** Creates an instance; the calling thread becomes its first backend. Close it when done. */
export async function createInstance(options: CreateOptions = {}): Promise<Instance> {
  checkKind('an object of settings', options, 'object');
  const { handle, loaded, log, memory } = await createSharedState(options);
  let supervisor: Worker | undefined;
  try {
    supervisor = await startSupervisor(handle, log);
    return new Instance(handle, new Backend(handle, loaded, log), supervisor, memory, log);
  } catch (error) {
    await supervisor?.terminate();
    await releaseSharedState(memory);
    throw error;
  }
}

interface SharedState {
  readonly handle: InstanceHandle;
  readonly loaded: LoadedModules;
  readonly log: LogSink;
  /** As the creator sees it. */
  readonly memory: AttachedMemory;
}

/** The memory of an instance, ready to be attached to, without any thread. */
export async function createSharedState(options: CreateOptions): Promise<SharedState> {
  const asked = options.ioMethod ?? 'worker';
  try {
    return await createWith(chooseMethod(asked), options);
  } catch (error) {
    if (asked !== 'auto' || !(error instanceof MethodUnavailableError)) throw error;
    return createWith({ name: 'worker', reason: error.message }, options); // it works, but not so many rings
  }
}

async function createWith(method: MethodChoice, options: CreateOptions): Promise<SharedState> {
  const { log = defaultLogSink, modules = [], injection = null, ...given } = options;
  const settings = resolveSettings(given, method);
  const handle: InstanceHandle = {
    control: createSharedMemory(planInstance(settings).plan.words * 4),
    memories: createMemories(settings),
    settings,
    modules: [...modules],
    injection,
  };
  const loaded = await loadModules(handle);
  const memory = new AttachedMemory(handle);
  try {
    initializeMemory(memory, loaded, log);
  } catch (error) {
    await releaseSharedState(memory);
    throw error;
  }
  return { handle, loaded, log, memory };
}

/** What the creator holds for all: nobody uses the instance any more. */
export async function releaseSharedState({ slots, plan, native }: AttachedMemory): Promise<void> {
  if (native === null) return;
  await closeRings(new Rings(slots, plan.rings), native.addon);
  native.forget();
}

/** Attaches the calling thread to an instance whose handle it was sent. */
export async function attachInstance(
  handle: InstanceHandle,
  options: { log?: LogSink } = {},
): Promise<Backend> {
  checkKind('the handle of an instance', handle, 'object');
  return new Backend(handle, await loadModules(handle), options.log ?? defaultLogSink);
}

function initializeMemory(memory: AttachedMemory, modules: LoadedModules, log: LogSink): void {
  const { settings } = memory.handle;
  const { words, slots, plan } = memory;
  DescriptorBudget.initialize(words, plan.budget, settings.maxFilesPerProcess, slots.region.count);
  new WorkerControl(slots, plan.workers).setLimits({
    minWorkers: settings.ioMinWorkers,
    maxWorkers: settings.ioMaxWorkers,
    idleTimeout: settings.ioWorkerIdleTimeout,
    launchInterval: settings.ioWorkerLaunchInterval,
  });
  memory.native?.adviseNoFork();
  if (settings.ioMethod === 'io_uring' && memory.native !== null)
    setUpRings(new Rings(slots, plan.rings), memory.native.use(), settings);
  // The fingerprint is of this thread's registry, so it takes a thread's parts to compute it.
  const parts = new ThreadParts(memory, slots.supervisorSlot, modules, log);
  // A new WAL begins with its second segment, as initdb's does: LSN 0 is none.
  if (settings.wal !== null) parts.wal?.initialize(settings.wal.segmentSize, 0);
  memory.header.initialize(memory.layout, parts.fingerprint);
}

/**
 * A thread inherits the options of its process, unless it is given some; then it refuses those that are for a whole
 * process, so that options are given only where one is in the way: `--input-type`, which is for the main program.
 */
function createSupervisor(handle: InstanceHandle): Worker {
  const program = new URL('./supervisor-thread.js', import.meta.url);
  const options = { workerData: handle, name: 'pgaio supervisor' };
  const execArgv = process.execArgv.filter((argument) => !argument.startsWith('--input-type'));
  if (execArgv.length === process.execArgv.length) return new Worker(program, options);
  try {
    return new Worker(program, { ...options, execArgv });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_WORKER_INVALID_EXEC_ARGV') throw error;
    return new Worker(program, { ...options, execArgv: [] });
  }
}

function startSupervisor(handle: InstanceHandle, log: LogSink): Promise<Worker> {
  const thread = createSupervisor(handle);
  return new Promise<Worker>((resolve, reject) => {
    thread.on('message', (message: { log?: LogEvent; ready?: boolean; failed?: string }) => {
      if (message.log !== undefined) log(message.log);
      if (message.failed !== undefined) {
        reject(new PgaioError('ERR_PGAIO_START', `an I/O worker could not start: ${message.failed}`));
      }
      if (message.ready === true) {
        thread.unref(); // an instance that nobody uses does not keep the process
        resolve(thread);
      }
    });
    thread.on('error', (error) => {
      log({ level: 'warning', message: `the supervision thread ended: ${error.message}` });
      reject(error);
    });
    thread.once('exit', (code) =>
      reject(new PgaioError('ERR_PGAIO_SUPERVISOR', `the supervision thread ended with code ${code}`)),
    );
  }).catch(async (error: unknown) => {
    await thread.terminate(); // or it would try for ever to start workers that cannot start
    throw error;
  });
}

export class Instance {
  /** Pass it to other threads in `workerData`; they call `attachInstance`. */
  readonly handle: InstanceHandle;
  /** The creating thread's backend. */
  readonly backend: Backend;
  readonly #supervisor: Worker;
  readonly #control: WorkerControl;
  readonly #memory: AttachedMemory;
  readonly #damageLog: DamageLogReader;
  #closing: Promise<void> | null = null;

  constructor(
    handle: InstanceHandle,
    backend: Backend,
    supervisor: Worker,
    memory: AttachedMemory,
    log: LogSink,
  ) {
    this.handle = handle;
    this.#memory = memory;
    this.backend = backend;
    this.#supervisor = supervisor;
    this.#control = new WorkerControl(backend.parts.memory.slots, backend.parts.memory.plan.workers);
    const { registry } = backend.parts.thread;
    const describe = (target: number, data: Int32Array): string => registry.target(target).describe(data);
    this.#damageLog = new DamageLogReader(memory.words, memory.plan.damageLog, describe, log);
    void this.#damageLog.run();
  }

  get settings(): ResolvedSettings {
    return this.handle.settings;
  }

  /** Number of I/O workers, as the pool counts them. */
  get workerCount(): number {
    return this.#control.count;
  }

  /** Changes the limits of the worker pool while it runs. Refused as a whole when one is out of range. */
  setWorkerLimits(changes: {
    ioMinWorkers?: number;
    ioMaxWorkers?: number;
    ioWorkerIdleTimeout?: number | string;
    ioWorkerLaunchInterval?: number | string;
  }): void {
    const now = this.#control.limits;
    const minWorkers = checkRange('ioMinWorkers', changes.ioMinWorkers ?? now.minWorkers, 1, 32);
    const limits: WorkerLimits = {
      minWorkers,
      maxWorkers: checkRange('ioMaxWorkers', changes.ioMaxWorkers ?? now.maxWorkers, minWorkers, 32),
      idleTimeout: checkMillis('ioWorkerIdleTimeout', changes.ioWorkerIdleTimeout ?? now.idleTimeout, -1),
      launchInterval: checkMillis(
        'ioWorkerLaunchInterval',
        changes.ioWorkerLaunchInterval ?? now.launchInterval,
        0,
      ),
    };
    this.#control.setLimits(limits);
  }

  /** For tests: ends the thread of an I/O worker, wherever it is. */
  terminateWorker(worker: number): void {
    this.#supervisor.postMessage({ terminateWorker: worker });
  }

  /**
   * Writes and synchronizes what is dirty; closes this thread's backend, then the instance: workers finish what is queued
   * and leave; other backends' next use throws. Resolves when the threads have ended. What could not be written is
   * lost: the instance is closed all the same, and this rejects with the error, of the kinds of `checkpointBuffers`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    try {
      await this.#saveDirty();
    } finally {
      await this.#end();
    }
  }

  /** With a backend of its own where this thread's has left already. */
  async #saveDirty(): Promise<void> {
    const { header } = this.backend.parts.memory;
    if (!this.backend.writes.hasWork) return;
    header.checkCrashed();
    if (!this.backend.hasLeft) return this.backend.checkpointBuffers();
    const other = await attachInstance(this.handle);
    try {
      await other.checkpointBuffers();
    } finally {
      await other.close();
    }
  }

  async #end(): Promise<void> {
    const { header, slots } = this.backend.parts.memory;
    try {
      await this.backend.close();
    } finally {
      header.beginClosing();
      setAllLatches(slots);
      await this.#supervisorEnded();
      try {
        this.#damageLog.stop(); // calls the log, which may throw
      } finally {
        await releaseSharedState(this.#memory);
      }
    }
  }

  #supervisorEnded(): Promise<void> {
    if (this.#supervisor.threadId === -1) return Promise.resolve();
    this.#supervisor.ref();
    return new Promise((resolve) => {
      this.#supervisor.once('exit', () => resolve());
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
