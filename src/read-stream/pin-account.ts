/**
 * How many buffers a stream has pinned ahead of its consumer: counted in the pool, whose limit all streams of a
 * backend share, and in the scope, so that a scope that ends gives them back there.
 */
import type { Scope } from '../aio/scope.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import type { BufferPool } from '../buffer/pool.js';

export class PinAccount {
  private readonly pool: BufferPool;
  private readonly scope: Scope;
  private pins = 0;

  /** Where the scope counts those of this pool. */
  private readonly which: 0 | 1;

  constructor(manager: BufferManager, scope: Scope) {
    this.pool = manager.pool;
    this.scope = scope;
    this.which = manager.isPrivate ? 1 : 0;
  }

  /** So many it has now. */
  set(pins: number): void {
    const more = pins - this.pins;
    this.pins = pins;
    if (!this.scope.isOpen) return; // it has given all its pins back, and counted them off
    this.pool.lookAheadPins += more;
    this.scope.lookAheadPins[this.which] += more;
  }

  /** One went to the consumer. */
  handOver(): void {
    this.pins--;
    this.pool.lookAheadPins--;
    this.scope.lookAheadPins[this.which]--;
  }

  /** How many more the backend may pin; negative when others attached meanwhile. */
  get left(): number {
    return this.pool.pinLimit - this.pool.lookAheadPins;
  }
}
