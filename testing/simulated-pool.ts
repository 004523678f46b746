/** The pool of I/O workers without threads: each worker is its parts, and one step of it is one I/O, or its death. */
import { runDequeued } from '../src/aio/reopened.js';
import { WorkerControl } from '../src/aio/method/worker/control.js';
import { WorkerSupervision } from '../src/aio/method/worker/supervision.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { AttachedMemory, ThreadParts, type LoadedModules } from '../src/instance/thread-parts.js';
import { UNKNOWN_THREAD } from '../src/shmem/thread-identity.js';
import type { Random } from './random.js';

export type DeathPoint =
  'dequeued' | 'executor' | 'beforeSharedCompletion' | 'betweenBuffers' | 'afterSharedCompletion';

/** Ends a simulated worker where it is thrown. */
export class Death extends Error {
  constructor(point: DeathPoint) {
    super(`a simulated worker died at ${point}`);
  }
}

export class SimulatedPool {
  /** The worker that is running its step. */
  current: number | null = null;
  readonly #memory: AttachedMemory;
  readonly #loaded: LoadedModules;
  readonly #random: Random;
  readonly #mayDie: (point: DeathPoint) => void;
  readonly #control: WorkerControl;
  readonly #supervisor: ThreadParts;
  readonly #supervision: WorkerSupervision;
  readonly #workers = new Map<number, ThreadParts>();
  /** Those that have ended, and the supervisor does not know yet. */
  readonly #dead = new Map<number, ThreadParts>();

  constructor(
    handle: InstanceHandle,
    loaded: LoadedModules,
    random: Random,
    mayDie: (point: DeathPoint) => void,
  ) {
    this.#memory = new AttachedMemory(handle);
    this.#loaded = loaded;
    this.#random = random;
    this.#mayDie = mayDie;
    const { slots, plan } = this.#memory;
    this.#control = new WorkerControl(slots, plan.workers);
    this.#supervisor = new ThreadParts(this.#memory, slots.supervisorSlot, loaded, () => undefined);
    this.#supervision = new WorkerSupervision(this.#supervisor.thread, this.#control, {
      launch: (worker) => this.#launch(worker),
    });
    this.#supervision.adjust();
  }

  #launch(worker: number): void {
    const { slots } = this.#memory;
    const slot = slots.workerSlot(worker);
    slots.tryClaim(slot, UNKNOWN_THREAD);
    const parts = new ThreadParts(this.#memory, slot, this.#loaded, () => undefined);
    const { thread, bufferIo } = parts;
    const terminate = bufferIo.terminate.bind(bufferIo);
    bufferIo.terminate = (...which) => {
      if (this.current === worker) this.#mayDie('betweenBuffers');
      terminate(...which);
    };
    thread.crash = () => undefined; // a death in a callback is a death, and any other error ends the simulation
    this.#workers.set(worker, parts);
    this.#control.markAlive(worker);
    this.#supervision.workerOnline(worker);
  }

  get hasWork(): boolean {
    return this.#control.queue.depth > 0 || this.#dead.size > 0;
  }

  /** One I/O of some worker, or the burial of one. */
  step(): void {
    const [worker, parts] = this.#random.pick([...this.#workers, ...this.#dead]);
    if (!this.#dead.has(worker)) this.#work(worker, parts);
    else if (this.#random.chance(0.05)) this.#bury(worker, parts); // it takes a while until the exit is known
    this.#supervision.adjust();
  }

  #work(worker: number, parts: ThreadParts): void {
    const { queue } = this.#control;
    if (!queue.tryDequeue()) return;
    if (queue.depth > worker) this.#control.requestGrowth();
    const io = parts.thread.table.handle(queue.first);
    const generation = queue.second;
    this.current = worker;
    try {
      this.#mayDie('dequeued');
      this.#dieAsExecutor(parts, queue.first, generation);
      runDequeued(parts.thread, io, generation, worker);
    } catch (error) {
      if (!(error instanceof Death)) throw error;
      this.#workers.delete(worker);
      this.#dead.set(worker, parts);
    } finally {
      this.current = null;
    }
  }

  #dieAsExecutor(parts: ThreadParts, index: number, generation: number): void {
    try {
      this.#mayDie('executor');
    } catch (error) {
      parts.thread.table.handle(index).tryBecomeExecutor(parts.slot, generation);
      throw error;
    }
  }

  /** What becomes of a thread that has ended: Node closes its descriptors, the supervisor does the rest. */
  #bury(worker: number, parts: ThreadParts): void {
    parts.reopens.close();
    this.#dead.delete(worker);
    this.#supervision.workerExited(worker, true);
  }

  close(): void {
    for (const parts of this.#workers.values()) parts.reopens.close();
    this.#supervisor.reopens.close();
    this.#supervision.stop();
    this.#memory.native?.forget();
  }
}
