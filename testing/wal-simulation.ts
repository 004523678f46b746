/**
 * The WAL on a simulated disk: several backends in one thread append and commit, and a checkpointer lets go of segments,
 * in an order that a seed decides, until the power is gone; what the disk has left is judged, recovered by the real
 * recovery, and written on, several times in one run.
 *
 * Threads really run at the same time, so others also come in between where one is in the middle of something: at each
 * call to the file system, and between a record's place and its bytes. See `preempt`.
 */
import { resolveSettings, type IoMethodName, type ResolvedSettings } from '../src/base/settings.js';
import { Backend } from '../src/instance/backend.js';
import { initializeMemory } from '../src/instance/instance.js';
import { InstanceWal } from '../src/instance/instance-wal.js';
import { createMemories, planInstance, type InstanceHandle } from '../src/instance/shared-state.js';
import { AttachedMemory, type LoadedModules } from '../src/instance/thread-parts.js';
import { InvalidPageError } from '../src/base/errors.js';
import { controlFilePath } from '../src/recovery/control-file.js';
import { RecoveryError } from '../src/recovery/recovery-error.js';
import { NO_ADDON_VARIABLE } from '../src/native/addon.js';
import { createSharedMemory } from '../src/shmem/segment.js';
import { PENDING, type Pending, type Step } from '../src/shmem/wait.js';
import { formatLsn, type Lsn } from '../src/wal/lsn.js';
import { segmentOf } from '../src/wal/segments.js';
import { replaceFs } from './fake-fs.js';
import { seededRandom, type Random } from './random.js';
import { SimulatedBackend, type SteppedTask } from './simulated-backend.js';
import { SimulatedDevice } from './simulated-device.js';
import { DISK_ROOT, NO_FAULTS, SimulatedDisk } from './simulated-disk.js';
import { isOfFiles, PageClient } from './page-client.js';
import { PageSimulation } from './page-simulation.js';
import { AS_CHECKPOINT, Client, LOOKED_AWAY } from './wal-client.js';
import { WalModel } from './wal-simulation-model.js';

// The calls that are replaced are those of `node:fs`.
process.env[NO_ADDON_VARIABLE] = '1';

const DIRECTORY = `${DISK_ROOT}/data`;
const KB = 1024;
const LOADED: LoadedModules = { registrations: [], injection: null };
const silent = (): void => undefined;

export interface WalSimulationResult {
  lives: number;
  steps: number;
  commits: number;
  failures: number;
  checkpoints: number;
  segments: number;
  /** Of pages. */
  changes: number;
  extensions: number;
  cuts: number;
}

/** What an `await` of production code waits for. */
class AwaitedStep implements SteppedTask {
  isDone = false;
  readonly #step: () => true | Pending;

  constructor(step: () => true | Pending) {
    this.#step = step;
  }

  step(): true | Pending {
    return this.#step();
  }
}

/** Memory of instances whose settings are alike; only one of them is used at a time. */
const memories = new Map<string, Pick<InstanceHandle, 'control' | 'memories'>>();

function freshMemory(settings: ResolvedSettings): Pick<InstanceHandle, 'control' | 'memories'> {
  const key = JSON.stringify([settings.ioMethod, settings.wal?.bufferBytes]);
  const found = memories.get(key) ?? {
    control: createSharedMemory(planInstance(settings).plan.words * 4),
    memories: createMemories(settings),
  };
  memories.set(key, found);
  new Float64Array(found.control.buffer).fill(0); // of shared memory, an element at a time
  return found;
}

export class WalSimulation {
  readonly random: Random;
  readonly disk: SimulatedDisk;
  readonly model: WalModel = new WalModel();
  readonly result: WalSimulationResult = {
    lives: 0,
    steps: 0,
    commits: 0,
    failures: 0,
    checkpoints: 0,
    segments: 0,
    changes: 0,
    extensions: 0,
    cuts: 0,
  };
  /** Of payloads; often the same, so that old records fit where new ones end. */
  readonly sizes: readonly number[];
  /** Data syncs that had failed before this life. */
  failedBefore = 0;
  #faultsBefore = 0;
  readonly #settings: ResolvedSettings;
  readonly #isFaulty: boolean;
  #backends: SimulatedBackend[] = [];
  #device: SimulatedDevice | null = null;
  /** In the middle of a step. */
  readonly #busy = new Set<object>();
  #mustTurn = false;
  #problem: unknown = null;
  /** Where the WAL was found to end after the last crash. */
  #end: Lsn = 0;

  /** Null: in this simulation there is only the WAL. */
  readonly #pages: PageSimulation | null;

  constructor(seed: number, hasPages: boolean) {
    const random = seededRandom(seed);
    this.random = random;
    this.disk = new SimulatedDisk(random);
    this.sizes = random.chance(0.3)
      ? [random.pick([AS_CHECKPOINT, AS_CHECKPOINT, 100, 1000, 4000])]
      : random.pick([
          [0, 1, 100, 203, 204, 205, 4000, 8192, 8192 - 24 - 53, 20_000],
          [500, 3000, 7000, 20_000],
        ]);
    this.#isFaulty = random.chance(0.5);
    this.#settings = drawSettings(random);
    const { disk, model: wal, result } = this;
    const preempt = (chance: number): void => this.preempt(chance);
    const parts = { random, disk, directory: DIRECTORY, wal, preempt, lookedAway: LOOKED_AWAY, result };
    this.#pages = hasPages ? new PageSimulation(parts) : null;
  }

  async run(): Promise<WalSimulationResult> {
    const restore = replaceFs((real) => this.disk.calls(real));
    try {
      const lives = 1 + this.random.below(4);
      for (let life = 0; life < lives; life++) await this.#live();
      return this.result;
    } finally {
      restore();
    }
  }

  /** Whether the disk has refused anything in this life, so that something may fail. */
  get hadFault(): boolean {
    return this.disk.faultsGiven > this.#faultsBefore;
  }

  isExcused(error: unknown): boolean {
    return isOfFiles(error) && this.hadFault;
  }

  // --- one life ----------------------------------------------------------------------------------

  async #live(): Promise<void> {
    const { disk, random } = this;
    this.result.lives++;
    this.failedBefore = disk.failedDataSyncs;
    this.#faultsBefore = disk.faultsGiven;
    disk.callsLeft = random.chance(0.2) ? 1 + random.below(40) : 20 + random.below(400);
    if (this.#pages !== null) disk.callsLeft *= random.pick([1, 2, 5]);
    disk.faults = { ...NO_FAULTS };
    if (this.#isFaulty) {
      disk.faults = {
        shortWrite: random.pick([0, 0.05]),
        readError: random.pick([0, 0.01]),
        writeError: random.pick([0, 0.02]),
        syncError: random.pick([0, 0, 0.01]),
        relationSyncError: 0,
        fullAfter: random.pick([Infinity, 70_000 + random.below(300_000)]),
      };
      if (this.#pages !== null) disk.faults.relationSyncError = random.pick([0, 0.05, 0.3]);
    }
    disk.onCall = () => this.preempt(0.1);
    try {
      await this.#work();
    } catch (error) {
      if (!disk.isDown && !(this.hadFault && isFailure(error))) throw error;
    }
    if (this.#problem !== null) throw this.#problem as Error;
    disk.losePower();
    this.#device?.abandon();
    this.#device = null;
    this.#backends = [];
    disk.onCall = silent;
    disk.faults = { ...NO_FAULTS };
    // What a failed sync has left is seen until the machine ends: recovery must make it durable itself.
    disk.restart(random.chance(0.3) ? 'process' : 'machine');
    this.#judge();
  }

  #judge(): void {
    const { disk, model } = this;
    const lock = `${DIRECTORY}/postmaster.pid`;
    if (disk.exists(lock)) disk.unlink(lock); // the numbers of processes begin anew
    if (disk.exists(controlFilePath(DIRECTORY))) this.#end = model.check(disk, DIRECTORY);
    else if (model.claimed > 0) throw new Error('the control file is gone');
    this.#pages?.checkLogged(this.#end);
  }

  async #work(): Promise<void> {
    const { disk, random, model, result } = this;
    const wal = InstanceWal.open(this.#settings);
    if (wal === null) throw new Error('there is no WAL');
    const handle: InstanceHandle = {
      ...freshMemory(this.#settings),
      settings: this.#settings,
      wal: wal.identity,
      modules: [],
      injection: null,
    };
    const memory = new AttachedMemory(handle);
    initializeMemory(memory, LOADED, silent);
    this.#device = new SimulatedDevice(memory, LOADED, disk, random);
    this.#backends = [0, 1, 2].map(() => this.#attach(new Backend(handle, LOADED, silent)));
    const first = (this.#backends[0] as SimulatedBackend).backend;
    await this.#until(wal.start(first, silent));
    if (disk.isDown) return;
    const { end } = wal.recovery ?? { end: 0 };
    if (this.#end > 0 && end !== this.#end)
      throw new Error(`recovery ends at ${formatLsn(end)}, and the WAL at ${formatLsn(this.#end)}`);
    model.claim(end);
    if (this.#pages !== null) {
      this.#pages.checkRecovered();
      this.#pages.begin(first);
      for (const { backend } of this.#backends) this.#addPageClient(backend, this.#pages);
    }
    const segmentsBefore = segmentOf(end, wal.identity.segmentSize);
    for (const one of this.#backends)
      for (let count = 1 + random.below(3); count > 0; count--) one.tasks.push(new Client(this, one.backend));
    await this.#until(
      this.#checkpoints(first, random.below(this.#pages === null ? 4 : random.pick([3, 12]))),
    );
    await this.#until(null);
    result.segments += segmentOf(first.wal.insertedUpTo, wal.identity.segmentSize) - segmentsBefore;
    if (disk.isDown || !random.chance(0.3)) return;
    await this.#until(wal.close(first));
    if (!disk.isDown) model.claim(first.wal.insertedUpTo);
  }

  #addPageClient(backend: Backend, pages: PageSimulation): void {
    const { disk, model, result } = this;
    const one = this.#backends.find((each) => each.backend === backend) as SimulatedBackend;
    pages.attach(backend);
    one.tasks.push(
      new PageClient({
        pages,
        backend,
        isExcused: (error) => {
          if (!this.isExcused(error)) return false;
          result.failures++;
          return true;
        },
        mayCommit: () => disk.failedDataSyncs === this.failedBefore,
        onCommit: (end) => {
          model.claim(Math.max(end, backend.wal.flushedUpTo));
          result.commits++;
        },
      }),
    );
  }

  async #checkpoints(backend: Backend, count: number): Promise<void> {
    const { parts } = backend.wal;
    const { segmentSize } = parts.identity;
    for (; count > 0; count--) {
      let wait = this.random.below(30);
      await backend.aio.waits.until(() => (wait-- > 0 ? this.#notYet() : true));
      try {
        if (this.random.chance(0.3))
          parts.wal.files.make(segmentOf(backend.wal.insertedUpTo + segmentSize / 2, segmentSize));
        this.#pages?.mayLosePower();
        await backend.wal.checkpoint();
        this.result.checkpoints++;
        this.#pages?.mayLosePower();
      } catch (error) {
        if (this.disk.isDown) throw error;
        const { errno } = error as { errno?: number };
        if (errno === undefined || !this.hadFault) throw error;
        this.result.failures++;
        if (this.#pages !== null && this.random.chance(0.6)) count++; // somebody tries again
      }
    }
  }

  #notYet(): never {
    throw LOOKED_AWAY;
  }

  #attach(backend: Backend): SimulatedBackend {
    const one = new SimulatedBackend(backend);
    const { waits } = backend.aio;
    waits.until = <T>(step: Step<T>): Promise<T> =>
      new Promise<T>((resolve, reject) => {
        const task = new AwaitedStep(() => {
          try {
            const value = step();
            if (value === PENDING) return PENDING;
            resolve(value);
          } catch (error) {
            if (error === LOOKED_AWAY) return true;
            reject(error instanceof Error ? error : new Error(String(error)));
          }
          task.isDone = true;
          this.#mustTurn = true;
          return true;
        });
        one.tasks.push(task);
      });
    backend.wal.parts.wal.control.waitForCopy = () => {
      throw LOOKED_AWAY;
    };
    return one;
  }

  // --- who runs next -----------------------------------------------------------------------------

  /** Runs the others until the promise is settled, or, without one, until nobody has anything to do. */
  async #until(promise: Promise<unknown> | null): Promise<void> {
    let isSettled = promise === null;
    let rejection: unknown = null;
    promise?.then(
      () => (isSettled = true),
      (error: unknown) => {
        isSettled = true;
        rejection = error ?? new Error('rejected');
      },
    );
    for (;;) {
      if (this.#mustTurn || this.result.steps === 0) await this.#turn();
      if (this.disk.isDown || this.#problem !== null) return;
      if (isSettled && (promise !== null || !this.#hasTasks)) break;
      if (this.#step()) continue;
      await this.#turn();
      if (!isSettled && !this.#step()) throw new Error('a wake-up was lost: everybody sleeps');
    }
    if (rejection !== null) throw rejection as Error;
  }

  async #turn(): Promise<void> {
    this.#mustTurn = false;
    const [first] = this.#backends;
    if (first !== undefined) this.#busy.add(first); // only the first backend has code that awaits
    await new Promise(setImmediate);
    if (first !== undefined) this.#busy.delete(first);
  }

  get #hasTasks(): boolean {
    return this.#backends.some(({ tasks }) => tasks.length > 0);
  }

  /** One step of somebody who is not in the middle of one. False: there is nobody. */
  #step(): boolean {
    const choices: (() => void)[] = [];
    for (const one of this.#backends) {
      if (this.#busy.has(one)) continue;
      for (const task of one.runnable()) choices.push(() => this.#run(one, () => one.run(task)));
    }
    const device = this.#device;
    if (device?.hasWork === true && !this.#busy.has(device)) {
      const work = (): void => this.#run(device, () => device.step());
      choices.push(work, work);
    }
    if (choices.length === 0) return false;
    this.random.pick(choices)();
    if (++this.result.steps > 100_000) throw new Error('it does not come to an end');
    return true;
  }

  #run(who: object, step: () => void): void {
    this.#busy.add(who);
    try {
      step();
    } catch (error) {
      if (!this.disk.isDown) this.#problem ??= error;
    } finally {
      this.#busy.delete(who);
    }
  }

  /** Called in the middle of somebody's step: with this probability, another thread does a few of its own. */
  preempt(chance: number): void {
    if (this.#busy.size > 2 || this.#backends.length === 0 || !this.random.chance(chance)) return;
    for (
      let steps = 1 + this.random.below(this.random.pick([4, 12, 60]));
      steps > 0 && !this.disk.isDown;
      steps--
    )
      if (!this.#step()) return;
  }
}

/** Of the disk, as far as anybody can know. */
function isFailure(error: unknown): boolean {
  return !(error instanceof InvalidPageError) && !(error instanceof RecoveryError);
}

function drawSettings(random: Random): ResolvedSettings {
  const ioMethod: IoMethodName = random.chance(0.8) ? 'worker' : 'sync';
  const settings = resolveSettings(
    {
      sharedBuffers: '128kB',
      ioMemory: '256kB',
      ioMaxConcurrency: 4,
      ioMinWorkers: 1,
      ioMaxWorkers: 1,
      maxBackends: 3,
      wal: {
        dataDirectory: DIRECTORY,
        buffers: random.pick(['64kB', '128kB']),
        syncMethod: random.pick(['fdatasync', 'open_datasync']),
        direct: random.chance(0.3),
        checkpointer: false,
        keepSize: 0,
      },
    },
    { name: ioMethod, reason: '' },
  );
  // Smaller than any that a user may have, so that segments change often.
  const segmentSize = random.pick([32, 64]) * KB;
  return { ...settings, wal: settings.wal === null ? null : { ...settings.wal, segmentSize } };
}

/** Runs a whole simulation. Throws what was found wrong; the message begins with the seed. */
export async function simulateWal(seed: number, hasPages = false): Promise<WalSimulationResult> {
  try {
    return await new WalSimulation(seed, hasPages).run();
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  }
}
