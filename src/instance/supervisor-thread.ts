/**
 * Entry of the supervision thread, the postmaster's part: starts, counts and replaces I/O workers, and
 * gives back what backends held whose thread has ended. It has a thread of its own so that a creator that
 * blocks does not stop it. It ends when the instance closes, once the workers have left.
 */
import { parentPort, workerData, Worker } from 'node:worker_threads';
import { WorkerControl } from '../aio/method/worker/control.js';
import { WorkerSupervision } from '../aio/method/worker/supervision.js';
import { fail } from '../base/assert.js';
import type { LogEvent } from '../base/log.js';
import { OwnLatch } from '../shmem/latch.js';
import { Phase } from '../shmem/header.js';
import { currentThreadIdentity } from '../shmem/thread-identity.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { BackendRecovery } from './backend-recovery.js';
import { receiveExitNotices } from './exit-notices.js';
import type { InstanceHandle } from './shared-state.js';
import { AttachedMemory, ThreadParts, loadModules, type LoadedModules } from './thread-parts.js';

/** How often backends are looked after that may have ended without a notice: without the addon, or between two words. */
const LOOK_MILLIS = 250;

class Supervisor {
  readonly #handle: InstanceHandle;
  readonly #memory: AttachedMemory;
  readonly #parts: ThreadParts;
  readonly #latch: OwnLatch;
  readonly #supervision: WorkerSupervision | null;
  readonly #backends: BackendRecovery;
  readonly #threads = new Map<number, Worker>();
  #online = 0;
  #announced = false;
  #closing = false;

  constructor(handle: InstanceHandle, modules: LoadedModules) {
    this.#handle = handle;
    this.#memory = new AttachedMemory(handle);
    const { slots, header, plan } = this.#memory;
    this.#parts = new ThreadParts(this.#memory, slots.supervisorSlot, modules, tellLog);
    header.checkFingerprint(this.#parts.fingerprint);
    if (!slots.tryClaim(slots.supervisorSlot, currentThreadIdentity()))
      fail('another thread supervises this instance');
    this.#latch = new OwnLatch(slots, slots.supervisorSlot);
    this.#backends = new BackendRecovery(this.#parts);
    const control = new WorkerControl(slots, plan.workers);
    const launch = (worker: number): void => this.#launch(worker);
    this.#supervision =
      handle.settings.ioMethod === 'worker'
        ? new WorkerSupervision(this.#parts.thread, control, { launch })
        : null;
  }

  async run(): Promise<void> {
    const ignoreNotices = receiveExitNotices(this.#memory, tellLog, () => this.#backends.lookAtNotices());
    const timer = setInterval(() => this.#backends.lookAfterBackends(), LOOK_MILLIS);
    parentPort?.on('message', (message: { terminateWorker?: number }) => {
      if (message.terminateWorker !== undefined) void this.#threads.get(message.terminateWorker)?.terminate();
    });
    this.#announceWhenReady();
    while (!this.#isOver()) {
      const seen = this.#latch.announceAsync();
      this.#closeIfAsked();
      this.#supervision?.adjust();
      this.#backends.continue();
      if (!this.#isOver()) await this.#latch.sleepAsync(seen);
    }
    clearInterval(timer);
    ignoreNotices();
    this.#parts.reopens.close();
    this.#memory.slots.release(this.#memory.slots.supervisorSlot);
    parentPort?.close();
  }

  #closeIfAsked(): void {
    if (this.#closing || this.#memory.header.phase === Phase.OPEN) return;
    this.#closing = true;
    this.#supervision?.stop();
  }

  #isOver(): boolean {
    const working = this.#supervision !== null && this.#supervision.running > 0;
    return this.#closing && !working && (this.#backends.pending === 0 || this.#memory.header.isCrashed);
  }

  #launch(worker: number): void {
    const thread = new Worker(new URL('./io-worker-thread.js', import.meta.url), {
      workerData: { handle: this.#handle, worker },
      name: `pgaio I/O worker ${worker}`,
    });
    this.#threads.set(worker, thread);
    thread.on('message', (message: { log?: LogEvent; online?: number }) => {
      if (message.log !== undefined) tellLog(message.log);
      if (message.online !== undefined) {
        this.#online++;
        this.#supervision?.workerOnline(worker);
      }
      this.#announceWhenReady();
    });
    thread.on('error', (error) => {
      tellLog({ level: 'warning', message: `I/O worker ${worker} ended: ${error.message}` });
      if (!this.#announced) parentPort?.postMessage({ failed: error.message });
    });
    thread.on('exit', (code) => {
      this.#threads.delete(worker);
      const { words, slots, plan } = this.#memory;
      new DescriptorBudget(words, plan.budget, slots.workerSlot(worker)).giveBackAll();
      this.#supervision?.workerExited(worker, code !== 0);
      this.#latch.wakeAsync(); // the loop looks whether this was the last
    });
  }

  /** The creator waits until the first workers work, so that what cannot work at all is reported to it. */
  #announceWhenReady(): void {
    const needed = this.#supervision === null ? 0 : this.#handle.settings.ioMinWorkers;
    if (this.#announced || this.#online < needed) return;
    this.#announced = true;
    parentPort?.postMessage({ ready: true });
  }
}

function tellLog(event: LogEvent): void {
  parentPort?.postMessage({ log: event });
}

const handle = workerData as InstanceHandle;
await new Supervisor(handle, await loadModules(handle)).run();
