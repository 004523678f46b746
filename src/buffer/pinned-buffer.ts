/** A pin on one block, as users hold it. */
import type { Scope } from '../aio/scope.js';
import { ClosedError } from '../base/errors.js';
import type { BufferManager } from './buffer-manager.js';

export class PinnedBuffer {
  /** Block number within the relation's fork. */
  readonly block: number;
  /** Number of the buffer in the pool. */
  readonly buffer: number;
  readonly #manager: BufferManager;
  readonly #scope: Scope;
  #released = false;

  constructor(manager: BufferManager, scope: Scope, buffer: number, block: number) {
    this.#manager = manager;
    this.#scope = scope;
    this.buffer = buffer;
    this.block = block;
  }

  /**
   * The page: 8192 bytes of shared memory, to be read and not written. A view that you keep beyond
   * `release` shows whatever block is in the buffer by then; asking again throws.
   */
  get page(): Uint8Array<SharedArrayBuffer> {
    if (this.#released) throw new ClosedError(`the pin on block ${this.block}`);
    return this.#manager.page(this.buffer);
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
