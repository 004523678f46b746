/**
 * A third driver of step functions: several backends in one thread, in an order that a seed decides. A task that has to
 * wait sleeps exactly as the blocking driver would let it: it joins the condition, looks once more, and is run again
 * only when its latch has been set. So a wake-up that is lost is not healed by a time slice, but leaves everybody
 * asleep, which is an error there.
 */
import type { Backend } from '../src/instance/backend.js';
import { joinCondition } from '../src/shmem/condition.js';
import { OwnLatch } from '../src/shmem/latch.js';
import { SlotLayout } from '../src/shmem/slots.js';
import { PENDING, type Pending } from '../src/shmem/wait.js';

export interface SteppedTask {
  readonly isDone: boolean;
  /** One step. PENDING: it must wait. */
  step(): true | Pending;
}

/** A backend and where its sleepers stand. */
export class SimulatedBackend<T extends SteppedTask = SteppedTask> {
  readonly backend: Backend;
  readonly tasks: T[] = [];
  readonly #latch: OwnLatch;
  readonly #latchWord: number;
  #pending = { condition: 0, watch: 0, seen: 0 };
  /** What each sleeping task's latch was when it went to sleep. */
  readonly #asleep = new Map<T, number>();

  constructor(backend: Backend) {
    this.backend = backend;
    const { slots } = backend.parts.memory;
    this.#latch = new OwnLatch(slots, backend.number);
    this.#latchWord = slots.base(backend.number) + SlotLayout.at.latchBlocking;
    backend.parts.thread.onOwnWaiters = () => this.#asleep.clear();
    backend.aio.waits.waitFor = (_event, condition, watch, seen): Pending => {
      this.#pending = { condition, watch, seen };
      return PENDING;
    };
  }

  runnable(): T[] {
    const latch = this.backend.parts.memory.words.load(this.#latchWord);
    return this.tasks.filter((task) => !this.#asleep.has(task) || this.#asleep.get(task) !== latch);
  }

  /** Runs one step; what it staged is submitted before anybody else runs. */
  run(task: T): void {
    this.#asleep.delete(task);
    if (task.step() !== PENDING) {
      if (task.isDone) this.tasks.splice(this.tasks.indexOf(task), 1);
      return;
    }
    const { condition, watch, seen } = this.#pending;
    const { slots, words } = this.backend.parts.memory;
    if (condition < 0) return; // for another task of this backend: asked again
    this.backend.aio.waits.hooks.beforeSleep();
    const latch = this.#latch.announceBlocking();
    joinCondition(slots, condition, this.backend.number);
    if (words.load(watch) === seen) this.#asleep.set(task, latch);
  }
}
