/**
 * Callbacks and targets are small integers in shared memory. Every thread resolves them in a registry of
 * its own, which `instance/registrations` fills the same way everywhere (the fingerprint checks that).
 */
import { assert } from '../base/assert.js';
import type { LogEvent } from '../base/log.js';
import type { IoHandle } from './handle.js';
import type { AioResult, AioReturn } from './result.js';

/** What a callback is told about the backend in which it runs. The layers above put their own things in. */
export type CallbackContext = object;

/**
 * What happens to an I/O besides the I/O itself. All parts are optional. The three that run during
 * staging and completion must not throw, wait or start I/O; one that throws crashes the instance.
 */
export interface AioCallback {
  readonly name: string;
  /** In the issuer, inside the start call, before others can see the I/O as STAGED. */
  stage?(io: IoHandle, data: number): void;
  /**
   * In whichever thread completes. May refine `result` for the callbacks behind it. May run twice after a death,
   * and, failed, where `stage` ran in part or not at all: the issuer's thread ended there.
   */
  completeShared?(io: IoHandle, result: AioResult, data: number): void;
  /** In the issuer, when it reclaims the handle; never, if its thread has ended. Keeps the issuer's own books. */
  completeLocal?(io: IoHandle, result: AioResult, data: number): void;
  /** Turns a result that this callback set into an error to throw, or an event to log. */
  report?(result: AioReturn): Error | LogEvent;
}

/** What kind of thing an I/O is on. The identity is in the handle's target data. */
export interface AioTarget {
  readonly name: string;
  /** The callback of slot 0: it knows what a short read means here. 0: none. */
  readonly callback: number;
  /** For messages and the in-flight view. */
  describe(targetData: Int32Array): string;
  /**
   * A descriptor for this thread, from the identity alone. Returns -errno when the file cannot be opened.
   * A target without `reopen` always runs in its issuer.
   */
  reopen?(io: IoHandle): number;
}

/** Ids from here on are for users' modules. */
export const FIRST_USER_ID = 32;
const MAX_ID = 255;

export class Registry {
  readonly #callbacks: (AioCallback | undefined)[] = [];
  readonly #targets: (AioTarget | undefined)[] = [];

  addCallback(id: number, callback: AioCallback): void {
    Registry.#add(this.#callbacks, id, callback, 'callback');
  }

  addTarget(id: number, target: AioTarget): void {
    Registry.#add(this.#targets, id, target, 'target');
  }

  static #add<T extends { name: string }>(
    table: (T | undefined)[],
    id: number,
    entry: T,
    what: string,
  ): void {
    assert(Number.isInteger(id) && id > 0 && id <= MAX_ID, `${what} id ${id} is outside 1 .. ${MAX_ID}`);
    const taken = table[id];
    assert(taken === undefined, `${what} id ${id} is taken by ${taken?.name ?? ''}`);
    table[id] = entry;
  }

  callback(id: number): AioCallback {
    return this.#callbacks[id] ?? missing('callback', id);
  }

  target(id: number): AioTarget {
    return this.#targets[id] ?? missing('target', id);
  }

  /** Names and ids, for the fingerprint. */
  signature(): string {
    const names = (table: ({ name: string } | undefined)[]): string =>
      table.map((entry, id) => (entry === undefined ? '' : `${id}=${entry.name}`)).join();
    return `callbacks:${names(this.#callbacks)};targets:${names(this.#targets)}`;
  }
}

function missing(what: string, id: number): never {
  throw new Error(`no ${what} has the id ${id}`);
}
