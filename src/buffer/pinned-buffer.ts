/** A pin on one block, as users hold it. */
import type { Scope } from '../aio/scope.js';
import { ClosedError } from '../base/errors.js';
import type { Step } from '../shmem/wait.js';
import type { BufferLock, ChangeOptions, LockMode, PageChange } from './buffer-lock.js';
import type { BufferManager } from './buffer-manager.js';
import { placeAt, type BlockPlace } from './descriptor.js';

export class PinnedBuffer {
  /** Block number within the relation's fork. */
  readonly block: number;
  /** Number of the buffer in the pool. */
  readonly buffer: number;
  readonly #manager: BufferManager;
  readonly #scope: Scope;
  #released = false;

  /** @internal */
  constructor(manager: BufferManager, scope: Scope, buffer: number, block: number) {
    this.#manager = manager;
    this.#scope = scope;
    this.buffer = buffer;
    this.block = block;
  }

  /**
   * The page: 8192 bytes of shared memory, to be read and not written, but in `change`. Others may change it under your
   * eyes: who must not see half a change takes `lockShare`. A view that you keep beyond
   * `release` shows whatever block is in the buffer by then; asking again throws.
   */
  get page(): Uint8Array<SharedArrayBuffer> {
    if (this.#released) throw new ClosedError(`the pin on block ${this.block}`);
    return this.#manager.page(this.buffer);
  }

  /** Whether the page was changed and is not in its file yet. */
  get isDirty(): boolean {
    return !this.#released && this.#manager.bufferIo.isDirty(this.buffer);
  }

  /**
   * Changes the page: waits for its content lock, calls `change` with the 8192 bytes, marks the page dirty. It is written
   * when its buffer is wanted for another block, or by `flushRelation`, `checkpointBuffers` and their like; its checksum is
   * set then. `change` is synchronous; what it throws is a rejection, and the page is then as it was before. A thread
   * that ends in the middle of a change crashes the instance.
   */
  async change(change: PageChange, options: ChangeOptions = {}): Promise<void> {
    const lock = await this.lockExclusive();
    try {
      lock.change(change, options);
    } finally {
      lock.release();
    }
  }

  /** As `change`, blocking the thread. */
  changeBlocking(change: PageChange, options: ChangeOptions = {}): void {
    const lock = this.#manager.aio.waits.block(this.locking('exclusive'));
    try {
      lock.change(change, options);
    } finally {
      lock.release();
    }
  }

  /**
   * The page's content lock, alone: for a change whose LSN is known only behind it, or for several that belong together.
   * The page is not written meanwhile. Release it before the pin; the end of the pin's scope releases both.
   */
  lockExclusive(): Promise<BufferLock> {
    return this.#manager.aio.waits.until(this.locking('exclusive'));
  }

  /** The page's content lock together with others who only read: nobody changes the page until it is released. */
  lockShare(): Promise<BufferLock> {
    return this.#manager.aio.waits.until(this.locking('share'));
  }

  /** Where the block belongs; null in a private pool, whose blocks are in no log. */
  get place(): BlockPlace | null {
    const { pool, isPrivate } = this.#manager;
    if (this.#released) throw new ClosedError(`the pin on block ${this.block}`);
    return isPrivate ? null : placeAt(pool.words.array, pool.base(this.buffer));
  }

  /** A content lock if it is to be had now, or null. */
  tryLock(mode: LockMode): BufferLock | null {
    if (this.#released) throw new ClosedError(`the pin on block ${this.block}`);
    return this.#manager.locks.tryLock(this.#scope, this.buffer, mode);
  }

  /** Step: until the content lock is to be had. */
  locking(mode: LockMode): Step<BufferLock> {
    const step = this.#manager.locks.locking(this.#scope, this.buffer, mode);
    return () => {
      if (this.#released) throw new ClosedError(`the pin on block ${this.block}`);
      return step();
    };
  }

  /** Gives the pin back. Releasing twice does nothing. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    // The scope may have ended and given the pin back itself.
    if (this.#scope.isOpen) this.#manager.pool.unpin(this.buffer, this.#scope);
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
