/**
 * An instance: what PostgreSQL calls a cluster's shared memory plus its postmaster. One thread creates it,
 * others attach.
 */
import type { Worker } from 'node:worker_threads';
import type { InFlightIo } from '../aio/in-flight.js';
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
import { checkKind, checkOnOrOff, checkRange } from '../base/units.js';
import type { RecoveryResult } from '../recovery/recover.js';
import { setAllLatches } from '../shmem/latch.js';
import { createSharedMemory } from '../shmem/segment.js';
import { Timing, type BackendType } from '../stats/io-stats.js';
import { IoStatsView, type InstanceStats } from '../stats/io-stats-view.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { AuxiliaryThread } from './auxiliary-thread.js';
import { Backend } from './backend.js';
import { InstanceWal } from './instance-wal.js';
import { Monitor } from './monitor.js';
import { chooseMethod, type MethodChoice } from './methods.js';
import { createMemories, planInstance, type InstanceHandle } from './shared-state.js';
import { startThread } from './start-thread.js';
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
  const shared = await createSharedState(options);
  const { handle, loaded, log, memory, wal } = shared;
  let supervisor: Worker | undefined;
  try {
    supervisor = await startSupervisor(handle, log);
    const instance = new Instance(shared, new Backend(handle, loaded, log), supervisor);
    await instance.start();
    return instance;
  } catch (error) {
    await supervisor?.terminate();
    await releaseSharedState(memory);
    wal?.unlock();
    throw error;
  }
}

interface SharedState {
  readonly handle: InstanceHandle;
  readonly loaded: LoadedModules;
  readonly log: LogSink;
  /** As the creator sees it. */
  readonly memory: AttachedMemory;
  /** Null for an instance without a WAL. Its data directory is locked. */
  readonly wal: InstanceWal | null;
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
  const wal = InstanceWal.open(settings);
  try {
    return await createFor(settings, wal, { log, modules, injection });
  } catch (error) {
    wal?.unlock();
    throw error;
  }
}

async function createFor(
  settings: ResolvedSettings,
  wal: InstanceWal | null,
  { log, modules, injection }: Required<Pick<CreateOptions, 'log' | 'modules' | 'injection'>>,
): Promise<SharedState> {
  const handle: InstanceHandle = {
    control: createSharedMemory(planInstance(settings).plan.words * 4),
    memories: createMemories(settings),
    settings,
    wal: wal?.identity ?? null,
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
  return { handle, loaded, log, memory, wal };
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

/** The same for one of the instance's own threads, which have places kept for them. */
export async function attachAuxiliary(
  handle: InstanceHandle,
  type: Exclude<BackendType, 'client backend'>,
  log: LogSink = defaultLogSink,
): Promise<Backend> {
  return new Backend(handle, await loadModules(handle), log, type);
}

/** Until then they would have nothing to do; a program that is over sooner need not wait for their start. */
const AUXILIARIES_MILLIS = 100;

/** By the creator: makes zeroed memory an instance that can be attached to. */
export function initializeMemory(memory: AttachedMemory, modules: LoadedModules, log: LogSink): void {
  const { settings } = memory.handle;
  const { words, slots, plan } = memory;
  DescriptorBudget.initialize(words, plan.budget, settings.maxFilesPerProcess, slots.region.count);
  new WorkerControl(slots, plan.workers).setLimits({
    minWorkers: settings.ioMinWorkers,
    maxWorkers: settings.ioMaxWorkers,
    idleTimeout: settings.ioWorkerIdleTimeout,
    launchInterval: settings.ioWorkerLaunchInterval,
  });
  new IoStatsView(words, plan.ioStats).want(Timing.WANTED, settings.trackIoTiming);
  memory.native?.adviseNoFork();
  if (settings.ioMethod === 'io_uring' && memory.native !== null)
    setUpRings(new Rings(slots, plan.rings), memory.native.use(), settings);
  // The fingerprint is of this thread's registry, so it takes a thread's parts to compute it.
  const parts = new ThreadParts(memory, slots.supervisorSlot, modules, log);
  memory.header.initialize(memory.layout, parts.fingerprint);
}

function startSupervisor(handle: InstanceHandle, log: LogSink): Promise<Worker> {
  const thread = startThread('./supervisor-thread.js', 'pgaio supervisor', handle);
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
  readonly #wal: InstanceWal | null;
  readonly #auxiliaries: AuxiliaryThread[] = [];
  #auxiliariesDue: NodeJS.Timeout | null = null;
  readonly #log: LogSink;
  readonly #monitors: Monitor[] = [];
  #closing: Promise<void> | null = null;

  /** @internal */
  constructor({ handle, memory, log, wal }: SharedState, backend: Backend, supervisor: Worker) {
    this.handle = handle;
    this.#memory = memory;
    this.#wal = wal;
    this.#log = log;
    this.backend = backend;
    this.#supervisor = supervisor;
    this.#control = new WorkerControl(backend.parts.memory.slots, backend.parts.memory.plan.workers);
    const { registry } = backend.parts.thread;
    const describe = (target: number, data: Int32Array): string => registry.target(target).describe(data);
    this.#damageLog = new DamageLogReader(memory.words, memory.plan.damageLog, describe, log);
    void this.#damageLog.run();
  }

  /** For the creator: recovers the WAL, before anybody else attaches. */
  async start(): Promise<void> {
    try {
      await this.#wal?.start(this.backend, this.#log);
      this.#auxiliariesDue = setTimeout(() => {
        this.#startAuxiliaries();
      }, AUXILIARIES_MILLIS).unref();
    } catch (error) {
      await this.backend.close();
      throw error;
    }
  }

  #startAuxiliaries(): void {
    const { wal, bgwriterLruMaxpages } = this.settings;
    const start = (program: string, name: string): void => {
      this.#auxiliaries.push(new AuxiliaryThread(program, name, this.handle, this.#log));
    };
    if (wal?.checkpointer === true) start('./checkpointer-thread.js', 'checkpointer');
    if (bgwriterLruMaxpages > 0) start('./background-writer-thread.js', 'background writer');
  }

  /** How the WAL was found when the instance was created; null for one without a WAL. */
  get recovery(): RecoveryResult | null {
    return this.#wal?.recovery ?? null;
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

  /** What was done by all threads, and how long it took: PostgreSQL's pg_stat_io. */
  stats(): InstanceStats {
    return this.backend.stats();
  }

  /** Counts from 0 again, for all who ask: `statsReset` says since when. Percentiles and maxima as well. */
  resetStats(): void {
    this.backend.statistics.reset();
  }

  /**
   * Opens a Unix socket that tells whoever connects how the instance is, for `pgaio top PATH`: only this user may connect,
   * and root. What listens is a thread of its own; while somebody is connected, clocks are read as with `trackIoTiming`.
   * A socket that a program left behind when it was killed is replaced. Rejects with a MonitorError when the path is another
   * program's, or something else, too long for a socket, or in a directory that cannot be written.
   */
  async openMonitor(path: string): Promise<Monitor> {
    checkKind('the path of a socket', path, 'string');
    this.backend.parts.memory.header.checkOpen();
    const { statistics } = this.backend;
    const unwatch = (): void => statistics.want(Timing.WATCHED, false);
    const monitor = await Monitor.open(this.handle, path, this.#log, unwatch);
    this.#monitors.push(monitor);
    if (this.#closing !== null) await monitor.close();
    return monitor;
  }

  /** All I/O of the instance that is not over, with the columns of pg_aios. */
  inFlight(): InFlightIo[] {
    return this.backend.inFlight();
  }

  /** Whether the clock is read when an I/O starts and when it is over. May be changed at any time, for all threads. */
  get trackIoTiming(): boolean {
    return this.backend.statistics.isWanted;
  }

  set trackIoTiming(on: boolean) {
    this.backend.statistics.want(Timing.WANTED, checkOnOrOff('trackIoTiming', on));
  }

  /** For tests: ends the thread of an I/O worker, wherever it is. */
  terminateWorker(worker: number): void {
    this.#supervisor.postMessage({ terminateWorker: worker });
  }

  /** For tests: ends one of the instance's own threads, wherever it is; another is started. */
  async terminateAuxiliary(name: string): Promise<void> {
    await this.#auxiliaries.find((thread) => thread.name === name)?.terminate();
  }

  /**
   * Writes and synchronizes what is dirty, with a WAL as its last checkpoint; closes this thread's backend, then the
   * instance: workers finish what is queued and leave; other backends' next use throws. Resolves when the threads have
   * ended. What could not be written is lost, or with a WAL, recovered when it is opened next: the instance is closed all
   * the same, and this rejects with the error, of the kinds of `checkpointBuffers`.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all(this.#monitors.map((monitor) => monitor.close()));
    try {
      await this.#saveDirty();
    } finally {
      await this.#end();
    }
  }

  /** With a backend of its own where this thread's has left already. */
  async #saveDirty(): Promise<void> {
    if (this.#auxiliariesDue !== null) clearTimeout(this.#auxiliariesDue);
    await Promise.all(this.#auxiliaries.map((thread) => thread.stop()));
    if (this.#wal === null && !this.backend.writes.hasWork) return;
    this.backend.parts.memory.header.checkCrashed();
    if (!this.backend.hasLeft) return this.#save(this.backend);
    await this.backend.close();
    const other = await attachInstance(this.handle);
    try {
      await this.#save(other);
    } finally {
      await other.close();
    }
  }

  #save(backend: Backend): Promise<void> {
    return this.#wal === null ? backend.writes.checkpointBuffers() : this.#wal.close(backend);
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
        this.#wal?.unlock(); // nothing of ours is in flight any more
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
