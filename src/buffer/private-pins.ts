/**
 * A backend's own count of its pins, PostgreSQL's PrivateRefCount, and to which scope they belong. A
 * backend has at most one shared pin on a buffer; this is why.
 *
 * Nearly every pinned buffer belongs to one scope, so that is one number a buffer, beside the count; the
 * rest is in a map. `add` and `remove` are on the path of every hit.
 */
import { fail } from '../base/assert.js';
import type { Scope } from '../aio/scope.js';

/** Several scopes have pins on the buffer: the counts are in the map. */
const SEVERAL = -1;

export class PrivatePins {
  /**
   * For each buffer: how many pins, and the scope's id. The id is stale while there are none. The pool reads
   * and writes it itself where a buffer has no other pin.
   */
  readonly entries: Int32Array;
  private readonly several = new Map<number, Map<number, number>>();

  constructor(bufferCount: number) {
    this.entries = new Int32Array(bufferCount * 2);
  }

  /** Pins of this backend on a buffer, over all scopes. */
  count(buffer: number): number {
    return this.entries[buffer * 2] as number;
  }

  add(buffer: number, scope: Scope): void {
    const { entries } = this;
    const count = entries[buffer * 2] as number;
    entries[buffer * 2] = count + 1;
    scope.pinCount++;
    if (count === 0) entries[buffer * 2 + 1] = scope.id;
    else if (entries[buffer * 2 + 1] !== scope.id) this.addAmongSeveral(buffer, count, scope.id);
  }

  private addAmongSeveral(buffer: number, count: number, scope: number): void {
    let owners = this.several.get(buffer);
    if (owners === undefined) {
      owners = new Map([[this.entries[buffer * 2 + 1] as number, count]]);
      this.several.set(buffer, owners);
      this.entries[buffer * 2 + 1] = SEVERAL;
    }
    owners.set(scope, (owners.get(scope) ?? 0) + 1);
  }

  /** Returns how many pins of this backend are left. */
  remove(buffer: number, scope: Scope): number {
    const { entries } = this;
    const left = (entries[buffer * 2] as number) - 1;
    if (left < 0 || entries[buffer * 2 + 1] !== scope.id) this.removeAmongSeveral(buffer, left, scope.id);
    entries[buffer * 2] = left;
    scope.pinCount--;
    return left;
  }

  private removeAmongSeveral(buffer: number, left: number, scope: number): void {
    if (left < 0) fail(`buffer ${buffer} is not pinned`);
    const owners = this.several.get(buffer);
    const count = owners?.get(scope);
    if (owners === undefined || count === undefined)
      throw new Error(`buffer ${buffer} is not pinned in this scope`);
    if (count > 1) owners.set(scope, count - 1);
    else owners.delete(scope);
    if (owners.size > 1) return;
    this.several.delete(buffer);
    for (const last of owners.keys()) this.entries[buffer * 2 + 1] = last;
  }

  /** Pins of one scope on a buffer. */
  countIn(buffer: number, scope: Scope): number {
    const count = this.count(buffer);
    if (count === 0) return 0;
    if (this.entries[buffer * 2 + 1] === scope.id) return count;
    return this.several.get(buffer)?.get(scope.id) ?? 0;
  }

  /** Buffers that this backend has pinned. Looks at all of them. */
  get buffersPinned(): number {
    let pinned = 0;
    for (let at = 0; at < this.entries.length; at += 2) if (this.entries[at] !== 0) pinned++;
    return pinned;
  }

  /** Every buffer that the scope has pinned. Looks at all buffers: only for scopes that end with pins. */
  *ofScope(scope: Scope): Generator<number> {
    for (let buffer = 0; buffer * 2 < this.entries.length; buffer++) {
      if (this.countIn(buffer, scope) > 0) yield buffer;
    }
  }
}
