/**
 * A scope is PostgreSQL's resource owner: what was acquired within it is given back at its end, whatever
 * happens. Scopes form a tree and are passed explicitly; there is no current scope.
 *
 * At a normal end, what should not be there any more causes one warning a thing; after an error it is
 * cleaned up in silence. I/O in flight goes on; its result slot is cut off and never written again.
 */
import { fail } from '../base/assert.js';

/** A layer above that has things belong to scopes (pins). */
export interface ScopedResources {
  /** Gives back what belongs to the scope. `failed`: without warnings. */
  releaseScope(scope: Scope, failed: boolean): void;
}

/** What knows the handles and layers that a scope's end concerns. */
export interface ScopeKeeper {
  /** Throws when it is closed, which has ended all scopes. */
  assertOpen(): void;
  endScope(scope: Scope, failed: boolean): void;
}

let lastId = 0;

export class Scope {
  /** Positive; unique in this thread. */
  readonly id: number = ++lastId;
  readonly parent: Scope | null;
  readonly #keeper: ScopeKeeper;
  readonly #children = new Set<Scope>();
  #open = true;
  /** Buffer pins that belong to this scope; kept by the buffer manager. */
  pinCount = 0;
  /** Those of them that streams have pinned ahead, in the shared pool and in the private one; kept by the streams. */
  readonly lookAheadPins: [number, number] = [0, 0];

  /** @internal */
  constructor(keeper: ScopeKeeper, parent: Scope | null) {
    this.#keeper = keeper;
    this.parent = parent;
    if (parent !== null) parent.#adopt(this);
  }

  #adopt(child: Scope): void {
    this.assertOpen();
    this.#children.add(child);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  assertOpen(): void {
    if (this.#open) return;
    this.#keeper.assertOpen();
    fail('this scope has ended');
  }

  /** Runs `body` in a scope below this one and ends it with the body. */
  async run<T>(body: (scope: Scope) => Promise<T> | T): Promise<T> {
    const child = new Scope(this.#keeper, this);
    let result: T;
    try {
      result = await body(child);
    } catch (error) {
      child.end(true);
      throw error;
    }
    child.end(false);
    return result;
  }

  /** As `run`, for threads that block. */
  runSync<T>(body: (scope: Scope) => T): T {
    const child = new Scope(this.#keeper, this);
    let result: T;
    try {
      result = body(child);
    } catch (error) {
      child.end(true);
      throw error;
    }
    child.end(false);
    return result;
  }

  /** Ends the scope, those below it first. Ending it again does nothing. */
  end(failed: boolean): void {
    if (!this.#open) return;
    for (const child of this.#children) child.end(failed);
    this.#open = false;
    this.#keeper.endScope(this, failed);
    if (this.parent !== null) this.parent.#children.delete(this);
  }
}
