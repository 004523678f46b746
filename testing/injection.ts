/**
 * Injection points under a test's control, in every thread of an instance. The test arms a rule for a point;
 * the hooks (injection-hooks.ts, imported by all threads of the instance) obey it. Rules are words of one
 * shared buffer, which threads inherit as environment data: so it works wherever a thread was started from.
 */
import assert from 'node:assert/strict';
import { Rings } from '../src/aio/method/io-uring/rings.js';
import type { Backend } from '../src/instance/backend.js';
import { setEnvironmentData } from 'node:worker_threads';
import { Action, ANY, points, Rule, RULE_WORDS, THREADS, type Point } from './injection-rules.js';

export { points, type Point };

export interface Filter {
  block?: number;
  relation?: number;
  owner?: number;
  worker?: number;
  /** Default: every time. */
  times?: number;
}

let lastKey = 0;

export class Injection {
  static readonly #all: Injection[] = [];
  /** For the option `injection` of an instance. */
  readonly url: string;
  readonly #words: Int32Array;
  readonly #ahead: boolean;

  /** `ahead`: rules may be armed before the instance is made, by what is tested; its test must see their effect. */
  constructor({ ahead = false }: { ahead?: boolean } = {}) {
    this.#ahead = ahead;
    const key = `pgaio injection ${++lastKey}`;
    const memory = new SharedArrayBuffer((THREADS + 1) * 4);
    this.#words = new Int32Array(memory);
    setEnvironmentData(key, memory);
    Injection.#all.push(this);
    this.url = `${new URL('./injection-hooks.js', import.meta.url).href}?key=${encodeURIComponent(key)}`;
  }

  /** After a failure: everybody who is held goes on, or the instance would never close, and nobody see the failure. */
  static letAllGo(): void {
    for (const injection of Injection.#all)
      for (const point of points) new Hold(injection.#words, points.indexOf(point) * RULE_WORDS).release();
  }

  /** Holds whoever comes to the point. */
  hold(point: Point, filter: Filter = {}): Hold {
    this.#arm(point, Action.HOLD, 0, filter);
    return new Hold(this.#words, points.indexOf(point) * RULE_WORDS);
  }

  /** Makes the kernel's answer another: bytes, or a negative errno. What was not "read" is wiped. */
  answer(value: number, filter: Filter = {}): void {
    this.#arm('beforeSharedCompletion', Action.RESULT, value, filter);
  }

  /** Throws in whoever comes to the point. */
  throwAt(point: Point, filter: Filter = {}): void {
    this.#arm(point, Action.THROW, 0, filter);
  }

  /** Disarms a point; those held there stay held until their hold is released. */
  disarm(point: Point): void {
    Atomics.store(this.#words, points.indexOf(point) * RULE_WORDS + Rule.ACTION, Action.NONE);
  }

  /** A rule that nobody would obey is an error, never silence. */
  #arm(point: Point, action: number, value: number, filter: Filter): void {
    if (!this.#ahead && Atomics.load(this.#words, THREADS) === 0) {
      throw new Error(
        'no thread has these injection points: create the instance with `injection: injection.url`',
      );
    }
    const base = points.indexOf(point) * RULE_WORDS;
    this.#words[base + Rule.VALUE] = value;
    this.#words[base + Rule.BLOCK] = filter.block ?? ANY;
    this.#words[base + Rule.RELATION] = filter.relation ?? ANY;
    this.#words[base + Rule.OWNER] = filter.owner ?? ANY;
    this.#words[base + Rule.WORKER] = filter.worker ?? ANY;
    this.#words[base + Rule.TIMES] = Math.min(filter.times ?? Infinity, 0x7fff_ffff);
    Atomics.store(this.#words, base + Rule.ARRIVED, 0);
    Atomics.store(this.#words, base + Rule.ACTION, action);
  }
}

/** Threads that are held at a point. */
export class Hold {
  readonly #words: Int32Array;
  readonly #base: number;

  constructor(words: Int32Array, base: number) {
    this.#words = words;
    this.#base = base;
  }

  /** Resolves with the number of the worker that came last (-1: no worker) once `count` have come. */
  async arrived(count = 1): Promise<number> {
    await untilWord(this.#words, this.#base + Rule.ARRIVED, (arrived) => arrived >= count);
    return Atomics.load(this.#words, this.#base + Rule.LAST_WORKER);
  }

  /** Lets everybody go on, and disarms the point. */
  release(): void {
    this.#go(Action.NONE);
  }

  /** Lets go on who is held with the kernel's answer in hand, as if that were another; nobody else, so limit `times`. */
  releaseWith(answer: number): void {
    this.#words[this.#base + Rule.VALUE] = answer;
    this.#go(Action.RESULT);
  }

  #go(action: number): void {
    Atomics.store(this.#words, this.#base + Rule.ACTION, action);
    Atomics.add(this.#words, this.#base + Rule.GATE, 1);
    Atomics.notify(this.#words, this.#base + Rule.GATE);
  }
}

/**
 * Holds the I/O of one backend in flight, under any asynchronous method: in the I/O worker that runs it, or,
 * under io_uring, by keeping everybody from taking completions from that backend's ring. `times`: how many I/Os; under
 * io_uring it is all of them.
 */
export function holdIo(injection: Injection, owner: Backend, point: Point, times = 1): IoHold {
  const { slots, plan, handle } = owner.parts.memory;
  if (handle.settings.ioMethod === 'worker') return injection.hold(point, { owner: owner.number, times });
  const rings = new Rings(slots, plan.rings);
  const nobody = slots.workerSlot(0); // there are no I/O workers
  assert.ok(rings.tryLock(owner.number, nobody), 'somebody takes completions just now');
  return { arrived: () => Promise.resolve(), release: () => rings.unlock(owner.number, nobody) };
}

export interface IoHold {
  /** Resolves once the I/O is held. */
  arrived(): Promise<unknown>;
  release(): void;
}

/** Waits until a shared word satisfies `accept`; whoever changes it notifies. Keeps the event loop alive. */
export async function untilWord(
  words: Int32Array,
  index: number,
  accept: (value: number) => boolean,
): Promise<number> {
  // eslint-disable-next-line no-restricted-globals -- nothing is waited for: a pending waitAsync keeps no loop alive
  const keepAlive = setInterval(() => undefined, 1000);
  try {
    for (;;) {
      const value = Atomics.load(words, index);
      if (accept(value)) return value;
      const wait = Atomics.waitAsync(words as Int32Array<SharedArrayBuffer>, index, value);
      if (wait.async) await wait.value;
    }
  } finally {
    clearInterval(keepAlive);
  }
}
