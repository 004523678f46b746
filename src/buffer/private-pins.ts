/**
 * A backend's own count of its pins, PostgreSQL's PrivateRefCount, and to which scope they belong. A
 * backend has at most one shared pin on a buffer; this is why.
 *
 * Nearly every pinned buffer belongs to one scope, so that is one number a buffer; the rest is in a map.
 */
import { assert } from '../base/assert.js';
import type { Scope } from '../aio/scope.js';

const NOBODY = 0;
/** Several scopes have pins on the buffer: the counts are in the map. */
const SEVERAL = -1;

export class PrivatePins {
  readonly #counts: Int32Array;
  readonly #scopes: Int32Array;
  readonly #several = new Map<number, Map<number, number>>();
  #buffersPinned = 0;

  constructor(bufferCount: number) {
    this.#counts = new Int32Array(bufferCount);
    this.#scopes = new Int32Array(bufferCount);
  }

  /** Pins of this backend on a buffer, over all scopes. */
  count(buffer: number): number {
    return this.#counts[buffer] as number;
  }

  get buffersPinned(): number {
    return this.#buffersPinned;
  }

  add(buffer: number, scope: Scope): void {
    const counts = this.#counts;
    const count = counts[buffer] as number;
    counts[buffer] = count + 1;
    scope.pinCount++;
    if (count === 0) {
      this.#scopes[buffer] = scope.id;
      this.#buffersPinned++;
    } else if (this.#scopes[buffer] !== scope.id) {
      this.#addAmongSeveral(buffer, count, scope.id);
    }
  }

  #addAmongSeveral(buffer: number, count: number, scope: number): void {
    let owners = this.#several.get(buffer);
    if (owners === undefined) {
      owners = new Map([[this.#scopes[buffer] as number, count]]);
      this.#several.set(buffer, owners);
      this.#scopes[buffer] = SEVERAL;
    }
    owners.set(scope, (owners.get(scope) ?? 0) + 1);
  }

  /** Returns how many pins of this backend are left. */
  remove(buffer: number, scope: Scope): number {
    const counts = this.#counts;
    const left = (counts[buffer] as number) - 1;
    assert(left >= 0, `buffer ${buffer} is not pinned`);
    if (this.#scopes[buffer] !== scope.id) this.#removeAmongSeveral(buffer, scope.id);
    counts[buffer] = left;
    scope.pinCount--;
    if (left === 0) {
      this.#scopes[buffer] = NOBODY;
      this.#buffersPinned--;
    }
    return left;
  }

  #removeAmongSeveral(buffer: number, scope: number): void {
    const owners = this.#several.get(buffer);
    const count = owners?.get(scope);
    if (owners === undefined || count === undefined)
      throw new Error(`buffer ${buffer} is not pinned in this scope`);
    if (count > 1) owners.set(scope, count - 1);
    else owners.delete(scope);
    if (owners.size > 1) return;
    this.#several.delete(buffer);
    for (const last of owners.keys()) this.#scopes[buffer] = last;
  }

  /** Pins of one scope on a buffer. */
  countIn(buffer: number, scope: Scope): number {
    if (this.#scopes[buffer] === scope.id) return this.#counts[buffer] as number;
    return this.#several.get(buffer)?.get(scope.id) ?? 0;
  }

  /** Every buffer that the scope has pinned. Looks at all buffers: only for scopes that end with pins. */
  *ofScope(scope: Scope): Generator<number> {
    for (let buffer = 0; buffer < this.#counts.length; buffer++) {
      if (this.#counts[buffer] !== 0 && this.countIn(buffer, scope) > 0) yield buffer;
    }
  }
}
