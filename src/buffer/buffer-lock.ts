/**
 * A content lock on a pinned buffer, as users hold it, and changes of the page under it.
 *
 * From a first change on until the lock is given back, the thread is in a critical section: a page that was changed in
 * part, or whose change is not in the log yet, must not be written, and nobody else can tell. So the end of such
 * a thread crashes the instance, as an error between START_CRIT_SECTION and END_CRIT_SECTION is a PANIC in PostgreSQL.
 */
import type { Scope, ScopedResources } from '../aio/scope.js';
import { assert } from '../base/assert.js';
import { ClosedError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { setPageLsn } from '../page/page-header.js';
import type { Slots } from '../shmem/slots.js';
import type { Pending } from '../shmem/wait.js';
import type { BufferIo } from './buffer-io.js';
import type { ContentLocks } from './content-lock.js';

/** Changes a page of 8192 bytes in place; must not wait, and not keep the page. */
export type PageChange = (page: Uint8Array<SharedArrayBuffer>) => void;

export interface ChangeOptions {
  /** End of the WAL record that describes the change: becomes the page's LSN. Default: the LSN stays. */
  lsn?: number | bigint;
}

export type LockMode = 'exclusive' | 'share';

/** What a lock is of: a pool, as far as locks need to know it. */
export interface LockedPool {
  readonly locks: ContentLocks;
  readonly bufferIo: BufferIo;
  /** Of the instance, for critical sections; null where a torn page is nobody else's: in a private pool. */
  readonly slots: Slots | null;
  readonly slot: number;
  page(buffer: number): Uint8Array<SharedArrayBuffer>;
}

export class BufferLock {
  readonly mode: LockMode;
  readonly buffer: number;
  readonly scope: Scope;
  readonly #locks: BufferLocks;
  #changed = false;
  #released = false;

  constructor(locks: BufferLocks, scope: Scope, buffer: number, mode: LockMode) {
    this.#locks = locks;
    this.scope = scope;
    this.buffer = buffer;
    this.mode = mode;
  }

  /**
   * Changes the page, and marks it dirty. What `change` throws is thrown here, and the page is then as it was before:
   * readers without a lock may have seen it in between.
   */
  change(change: PageChange, { lsn }: ChangeOptions = {}): void {
    this.#assertMayChange();
    const { pool } = this.#locks;
    const page = pool.page(this.buffer);
    const before = this.#locks.takeScratch();
    before.set(page);
    if (!this.#changed) pool.slots?.enterCritical(pool.slot);
    try {
      const returned: unknown = (change as (page: Uint8Array) => unknown)(page);
      assert(
        !(returned instanceof Promise),
        'a page is changed synchronously; the change returned a promise',
      );
    } catch (error) {
      page.set(before);
      if (!this.#changed) pool.slots?.leaveCritical(pool.slot);
      throw error;
    } finally {
      this.#locks.giveScratchBack(before);
    }
    if (lsn !== undefined) setPageLsn(page, lsn);
    pool.bufferIo.markDirty(this.buffer);
    this.#changed = true;
  }

  /**
   * The LSN of what was changed under this lock, when it is known only now: change, append the record, set the LSN,
   * release. The page cannot be written in between.
   */
  setLsn(lsn: number | bigint): void {
    this.#assertMayChange();
    assert(this.#changed, 'an LSN belongs to a change');
    setPageLsn(this.#locks.pool.page(this.buffer), lsn);
  }

  /** Throws when the lock was given back, with its scope for example. */
  assertHeld(): void {
    if (this.#released) throw new ClosedError(`the lock on buffer ${this.buffer}`);
  }

  #assertMayChange(): void {
    this.assertHeld();
    assert(this.mode === 'exclusive', 'a page is changed under an exclusive lock');
  }

  /** Gives the lock back. Releasing twice does nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.#locks.release(this, this.#changed);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** The locks that a backend holds on buffers of one pool. */
export class BufferLocks implements ScopedResources {
  readonly pool: LockedPool;
  readonly #held = new Set<BufferLock>();
  readonly #scratch: Uint8Array[] = [];

  constructor(pool: LockedPool) {
    this.pool = pool;
  }

  tryLock(scope: Scope, buffer: number, mode: LockMode): BufferLock | null {
    const { locks } = this.pool;
    const locked = mode === 'exclusive' ? locks.tryLockExclusive(buffer) : locks.tryLockShared(buffer);
    return locked ? this.#hold(scope, buffer, mode) : null;
  }

  /** What to do at each step of waiting for a lock; returns it at the end. */
  locking(scope: Scope, buffer: number, mode: LockMode): () => BufferLock | Pending {
    const { locks } = this.pool;
    return () => {
      scope.assertOpen();
      const locked = mode === 'exclusive' ? locks.lockExclusive(buffer) : locks.lockShared(buffer);
      return locked === true ? this.#hold(scope, buffer, mode) : locked;
    };
  }

  #hold(scope: Scope, buffer: number, mode: LockMode): BufferLock {
    const lock = new BufferLock(this, scope, buffer, mode);
    this.#held.add(lock);
    return lock;
  }

  release(lock: BufferLock, changed: boolean): void {
    const { locks, slots, slot } = this.pool;
    this.#held.delete(lock);
    if (lock.mode === 'share') {
      locks.unlockShared(lock.buffer);
      return;
    }
    // The lock first: until then the page must not be seen by a writer, and who dies before has torn it.
    locks.unlockExclusive(lock.buffer);
    if (changed) slots?.leaveCritical(slot);
  }

  takeScratch(): Uint8Array {
    return this.#scratch.pop() ?? new Uint8Array(BLOCK_SIZE);
  }

  giveScratchBack(scratch: Uint8Array): void {
    this.#scratch.push(scratch);
  }

  releaseScope(scope: Scope): void {
    for (const lock of this.#held) if (lock.scope === scope) lock.release();
  }
}
