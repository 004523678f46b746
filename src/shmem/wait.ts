/**
 * Waiting. A core operation is a step function: it returns its result, or PENDING after saying what it
 * waits for with `waitFor`. It never sleeps. Two drivers run it: `block`, for threads that may block, and
 * `until`, for event loops. A simulator can be a third.
 *
 * What a step waits for is a word that it read (`watch`, and the value seen) and the condition whose
 * waiters are woken after that word changes. The driver joins the condition, reads the word once more,
 * and sleeps only if it still holds the value: so a change between the step's look and the sleep is
 * never missed (the orders are in latch.ts and condition.ts).
 *
 * Sleeps are timed slices. Each slice checks that the instance lives and runs the step again, so that a
 * step can notice what nobody will wake it for (a worker that died).
 */
import { fail } from '../base/assert.js';
import { hasJoined, joinCondition } from './condition.js';
import type { InstanceHeader } from './header.js';
import { OwnLatch } from './latch.js';
import { LoopTurn } from './loop-turn.js';
import { SlotLayout, type Slots } from './slots.js';

export const PENDING: unique symbol = Symbol('pending');
export type Pending = typeof PENDING;
export type Step<T> = () => T | Pending;

/** What a backend can wait for; the names are PostgreSQL's wait events where it has them. */
export const WaitEvent = {
  None: 0,
  AioIoCompletion: 1,
  BufferIo: 2,
  AioHandle: 3,
  AioHandleTurn: 4,
  IoMemory: 5,
  BufferContent: 6,
  RelationExtension: 7,
  Checkpoint: 8,
} as const;
export type WaitEvent = (typeof WaitEvent)[keyof typeof WaitEvent];

const eventNames = Object.fromEntries(Object.entries(WaitEvent).map(([name, id]) => [id, name]));
export function waitEventName(event: number): string | null {
  return event === WaitEvent.None ? null : (eventNames[event] ?? `event ${event}`);
}

/** The object of such a wait is a handle. */
function isIoEvent(event: number): boolean {
  return event === WaitEvent.AioIoCompletion || event === WaitEvent.AioHandle;
}

/** How long a sleep is, until the thread looks whether the instance still lives. */
const SLICE_MILLIS = 100;
/** Stands for "something in this thread", which no other thread can bring about. */
const OWN_THREAD = -1;

interface AsyncWaiter {
  readonly step: Step<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  event: number;
  object: number;
  generation: number;
  condition: number;
  watch: number;
  seen: number;
}

/** How an I/O method sleeps for an I/O that nobody completes unless somebody waits in the kernel for it. */
export interface IoSleeper {
  /**
   * Blocks until the I/O may be over, for at most `millis`; false after a time-out. Where it cannot wait in
   * the kernel it sleeps on the latch, whose announcement returned `seen`.
   */
  sleep(index: number, generation: number, latch: OwnLatch, seen: number, millis: number): boolean;
  /** The event loop is about to wait for the I/O: arranges that `lookAgain` is called when it may be over. */
  watch(index: number, generation: number): void;
  /** Nothing of this thread waits in the event loop any more. */
  unwatch(): void;
}

/** What runs around sleeping; the layers above fill it in. */
export interface WaitHooks {
  /** Of the I/O method, if it has one. */
  sleeper: IoSleeper | null;
  /** Submits what is staged: whoever is about to sleep submits first. */
  beforeSleep: () => void;
  /** Throws, or marks the instance as crashed, when nobody supervises any more. Runs once a slice. */
  checkSupervised: () => void;
}

export class Waits {
  readonly hooks: WaitHooks = {
    sleeper: null,
    beforeSleep: () => undefined,
    checkSupervised: () => undefined,
  };
  /** Longer in tests that must not be saved by it. */
  sliceMillis: number = SLICE_MILLIS;
  /** How often this backend really slept or returned to its loop. */
  sleeps = 0;

  readonly #slots: Slots;
  readonly #header: InstanceHeader;
  readonly #slot: number;
  readonly #latch: OwnLatch;
  readonly #turn = new LoopTurn();
  readonly #asyncWaiters: AsyncWaiter[] = [];
  #closed: Error | null = null;
  #loopSleeping = false;
  #pumping = false;
  #lookScheduled = false;
  #keepAlive: NodeJS.Timeout | undefined;

  // The descriptor of the last step that returned PENDING.
  #event = 0;
  #object = 0;
  #generation = 0;
  #condition = OWN_THREAD;
  #watch = 0;
  #seen = 0;

  constructor(slots: Slots, header: InstanceHeader, slot: number) {
    this.#slots = slots;
    this.#header = header;
    this.#slot = slot;
    this.#latch = new OwnLatch(slots, slot);
  }

  /** For a step: wait until `watch` no longer holds `seen`; whoever changes it wakes `condition`. */
  waitFor(
    event: WaitEvent,
    condition: number,
    watch: number,
    seen: number,
    object: number,
    generation: number,
  ): Pending {
    this.#event = event;
    this.#condition = condition;
    this.#watch = watch;
    this.#seen = seen;
    this.#object = object;
    this.#generation = generation;
    return PENDING;
  }

  /** For a step: wait for another task of this thread; asked again whenever any task of it is. */
  waitForOwnThread(event: WaitEvent): Pending {
    return this.waitFor(event, OWN_THREAD, 0, 0, 0, 0);
  }

  /** Runs a step to its end, blocking the thread where it must. */
  block<T>(step: Step<T>): T {
    for (;;) {
      const result = step();
      if (result !== PENDING) return result;
      this.#blockOnce();
    }
  }

  #blockOnce(): void {
    const { words } = this.#slots;
    const condition = this.#condition;
    const watch = this.#watch;
    const seen = this.#seen;
    if (condition === OWN_THREAD) {
      fail(
        `blocking here would wait for this thread itself (${String(waitEventName(this.#event))}); use the awaiting form`,
      );
    }
    this.#publish(this.#event, this.#object, this.#generation);
    this.hooks.beforeSleep();
    const latch = this.#latch.announceBlocking();
    try {
      joinCondition(this.#slots, condition, this.#slot);
      if (words.load(watch) === seen) {
        this.sleeps++;
        if (!this.#sleep(latch)) this.hooks.checkSupervised();
      }
    } finally {
      this.#latch.retractBlocking();
      this.#publish(0, 0, 0);
    }
    this.#header.checkCrashed();
  }

  /** False after a time-out. */
  #sleep(latch: number): boolean {
    const { sleeper } = this.hooks;
    if (sleeper === null || !isIoEvent(this.#event)) return this.#latch.sleep(latch, this.sliceMillis);
    return sleeper.sleep(this.#object, this.#generation, this.#latch, latch, this.sliceMillis);
  }

  /** Runs a step to its end, returning to the event loop where it must. */
  until<T>(step: Step<T>): Promise<T> {
    if (this.#closed !== null) return Promise.reject(this.#closed);
    let result: T | Pending;
    try {
      result = step();
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    if (result !== PENDING) return this.resolved(result);
    return new Promise<T>((resolve, reject) => {
      this.#settle(step, resolve as (value: unknown) => void, reject);
    });
  }

  /** Whether who works without waiting is to let the event loop have its turn. */
  get isTurnOver(): boolean {
    return this.#turn.isOver();
  }

  /** A result that is there already, when the event loop can spare the time. */
  resolved<T>(result: T): Promise<T> {
    if (!this.#turn.isOver()) return Promise.resolve(result);
    return new Promise((resolve) => {
      this.#turn.deliver(resolve, result);
    });
  }

  /** As `until`, for who has a promise already, or needs none. */
  settle<T>(step: Step<T>, resolve: (result: T) => void, reject: (error: unknown) => void): void {
    if (this.#closed !== null) {
      reject(this.#closed);
      return;
    }
    let result: T | Pending;
    try {
      result = step();
    } catch (error) {
      reject(error);
      return;
    }
    if (result === PENDING) this.#settle(step, resolve as (value: unknown) => void, reject);
    else this.#turn.deliver(resolve, result);
  }

  /** The step has just returned PENDING. */
  #settle(step: Step<unknown>, resolve: (result: unknown) => void, reject: (error: unknown) => void): void {
    const waiter = this.#newWaiter(step, resolve, reject);
    this.#asyncWaiters.push(waiter);
    this.#keepAlive ??= setInterval(() => this.#slice(), this.sliceMillis);
    this.hooks.beforeSleep();
    if (this.#loopSleeping && !this.#pumping) this.#join(waiter);
    else this.#pump();
  }

  /** One more waiter while the loop sleeps for others already: only this one has to look. */
  #join(waiter: AsyncWaiter): void {
    if (this.#look(waiter, false)) {
      this.#asyncWaiters.splice(this.#asyncWaiters.indexOf(waiter), 1);
      if (this.#asyncWaiters.length === 0) this.#stopWaiting();
    } else {
      this.hooks.beforeSleep(); // the look may have started something
      this.#watchIo(waiter);
      if (this.#asyncWaiters[0] === waiter) this.#publishFirstWaiter(); // the sleep is for those before, who are done
    }
  }

  #newWaiter(
    step: Step<unknown>,
    resolve: AsyncWaiter['resolve'],
    reject: AsyncWaiter['reject'],
  ): AsyncWaiter {
    const waiter = {
      step,
      resolve,
      reject,
      event: 0,
      object: 0,
      generation: 0,
      condition: OWN_THREAD,
      watch: 0,
      seen: 0,
    };
    this.#describe(waiter);
    return waiter;
  }

  #describe(waiter: AsyncWaiter): void {
    waiter.event = this.#event;
    waiter.object = this.#object;
    waiter.generation = this.#generation;
    waiter.condition = this.#condition;
    waiter.watch = this.#watch;
    waiter.seen = this.#seen;
  }

  /**
   * Lets every waiter look, settles those that are done, and sleeps in the loop while any is left.
   * Steps run in the order in which they began to wait; what they start is submitted before the sleep.
   */
  #pump(runAll = false): void {
    if (this.#pumping) return; // a step added a waiter: the loop below reaches it
    try {
      this.#pumpOnce(runAll);
    } catch (error) {
      this.#pumping = false;
      for (const waiter of this.#asyncWaiters.splice(0)) waiter.reject(error); // there is nobody else to tell
      this.#stopWaiting();
    }
  }

  #pumpOnce(runAll: boolean): void {
    const latch = this.#latch.announceAsync();
    this.#pumping = true;
    for (let index = 0; index < this.#asyncWaiters.length; index++) {
      const waiter = this.#asyncWaiters[index] as AsyncWaiter;
      if (this.#look(waiter, runAll)) {
        this.#asyncWaiters.splice(index, 1);
        index--;
      }
    }
    this.#pumping = false;
    if (this.#asyncWaiters.length === 0) {
      this.#stopWaiting();
      return;
    }
    this.hooks.beforeSleep();
    for (const waiter of this.#asyncWaiters) this.#watchIo(waiter);
    this.#publishFirstWaiter();
    if (this.#loopSleeping) return;
    this.#loopSleeping = true;
    void this.#latch.sleepAsync(latch).then(() => {
      this.#loopSleeping = false;
      this.sleeps++;
      if (this.#asyncWaiters.length > 0) this.#pump();
    });
  }

  /** After whatever a step might wait for may have happened in this thread itself. `all`: also what no word tells. */
  lookAgain(all = false): void {
    if (this.#asyncWaiters.length === 0) return;
    this.sleeps++;
    this.#pump(all);
  }

  /** As `lookAgain`, once the current task is over: for whoever is in the middle of something. */
  lookAgainSoon(): void {
    if (this.#lookScheduled || this.#asyncWaiters.length === 0) return;
    this.#lookScheduled = true;
    queueMicrotask(() => {
      this.#lookScheduled = false;
      if (this.#asyncWaiters.length > 0) this.#pump();
    });
  }

  #watchIo(waiter: AsyncWaiter): void {
    if (isIoEvent(waiter.event)) this.hooks.sleeper?.watch(waiter.object, waiter.generation);
  }

  /** True when the waiter was settled. Joins its condition before it looks for the last time. */
  #look(waiter: AsyncWaiter, run: boolean): boolean {
    const { words } = this.#slots;
    for (;;) {
      if (waiter.condition !== OWN_THREAD && !run) {
        if (!hasJoined(this.#slots, waiter.condition, this.#slot))
          joinCondition(this.#slots, waiter.condition, this.#slot);
        if (words.load(waiter.watch) === waiter.seen) return false;
      }
      run = false;
      try {
        this.#header.checkCrashed();
        const result = waiter.step();
        if (result !== PENDING) {
          this.#turn.deliver(waiter.resolve, result);
          return true;
        }
      } catch (error) {
        waiter.reject(error);
        return true;
      }
      this.#describe(waiter);
      if (waiter.condition === OWN_THREAD) return false;
    }
  }

  /**
   * For a backend that leaves: every task that still waits looks a last time, because what it waits for may
   * have been done by whoever drained; the others are rejected, and all that ever will wait.
   */
  close(reason: Error): void {
    this.#closed = reason;
    for (const waiter of this.#asyncWaiters.splice(0)) {
      if (!this.#look(waiter, true)) waiter.reject(reason);
    }
    this.#stopWaiting();
  }

  #slice(): void {
    try {
      this.hooks.checkSupervised();
    } catch {
      // Marked as crashed: every waiter is rejected with the reason below.
    }
    this.#pump(true);
  }

  #stopWaiting(): void {
    this.hooks.sleeper?.unwatch();
    this.#latch.retractAsync();
    clearInterval(this.#keepAlive);
    this.#keepAlive = undefined;
    this.#publish(0, 0, 0);
    // A pending sleep is woken, so that it does not outlive the waiters: the word has changed for it.
    if (this.#loopSleeping) this.#latch.wakeAsync();
  }

  #publishFirstWaiter(): void {
    const first = this.#asyncWaiters[0];
    if (first !== undefined) this.#publish(first.event, first.object, first.generation);
  }

  /** Shows others what this backend waits for; they read it without a lock. */
  #publish(event: number, object: number, generation: number): void {
    const { words } = this.#slots;
    const base = this.#slots.base(this.#slot);
    words.set(base + SlotLayout.at.waitObject, object);
    words.set(base + SlotLayout.at.waitGeneration, generation);
    words.store(base + SlotLayout.at.waitEvent, event);
  }
}
