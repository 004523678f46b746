/**
 * Making a relation longer through the pool: PostgreSQL's ExtendBufferedRelBy. The new blocks get buffers first, which
 * are claimed as if they were read; then the files grow; then the buffers, all zero, are valid. Who fails on the way
 * leaves neither blocks nor claims behind.
 */
import type { Scope } from '../aio/scope.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { Claim } from '../buffer/buffer-io.js';
import { DropRelationBuffers } from '../buffer/drop-buffers.js';
import { DIRTY_VICTIMS } from '../buffer/pool.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import type { ExtensionLocks } from '../smgr/extension-locks.js';
import type { Fork } from '../smgr/relation.js';
import { requestingSyncs, type RequestSync } from '../smgr/requesting-syncs.js';
import type { SmgrRelation } from '../smgr/smgr.js';

export interface Extension {
  readonly buffers: BufferManager;
  readonly relation: SmgrRelation;
  readonly fork: Fork;
  readonly count: number;
  readonly scope: Scope;
  readonly locks: ExtensionLocks;
  /** Null: nothing is synchronized. */
  readonly requestSync: RequestSync | null;
}

/** New blocks, and their buffers in order, pinned for the scope. */
export interface Extended {
  readonly first: number;
  readonly buffers: readonly number[];
}

export class BufferedExtension {
  readonly #given: Extension;
  readonly #hash: number;
  #locked = false;
  #end = 0;
  /** Claimed, and pinned. */
  #claimed: number[] = [];
  /** What is waited for, holding nothing but the extension lock. */
  #before: Step<unknown> | null = null;
  #extended: Extended | null = null;
  #requesting: Step<true> = () => true;

  constructor(given: Extension) {
    if (!Number.isInteger(given.count) || given.count < 1)
      throw new RangeError(`${given.count} is not a number of blocks to add`);
    this.#given = given;
    this.#hash = given.buffers.reader(given.relation, given.fork).tag.hashBase;
  }

  step(): Extended | Pending {
    try {
      for (;;) {
        if (this.#before !== null && this.#before() === PENDING) return PENDING;
        this.#before = null;
        if (this.#extended !== null) {
          return this.#requesting() === PENDING ? PENDING : this.#extended;
        } else if (!this.#locked) {
          if (this.#lock() === PENDING) return PENDING;
        } else if (this.#claimAll()) {
          this.#extended = this.#grow();
        } else {
          this.#giveUp();
        }
      }
    } catch (error) {
      this.#giveUp();
      this.#unlock();
      throw error;
    }
  }

  #lock(): true | Pending {
    const { locks, relation, fork } = this.#given;
    if (locks.lock(this.#hash) === PENDING) return PENDING;
    this.#locked = true;
    this.#end = relation.blockCount(fork);
    this.#before = this.#dropping();
    return true;
  }

  #unlock(): void {
    if (this.#locked) this.#given.locks.unlock(this.#hash);
    this.#locked = false;
  }

  /** What the pool has of the new blocks: somebody tried to read beyond the end. */
  #dropping(): Step<true> {
    const { buffers, relation, fork, count } = this.#given;
    const { tag } = buffers.reader(relation, fork);
    const range = { tag, from: this.#end, to: this.#end + count };
    const drop = new DropRelationBuffers(buffers, [range], relation.path(fork));
    return () => drop.step();
  }

  /** False: something is to be waited for first. */
  #claimAll(): boolean {
    const { buffers, relation, fork, count, scope } = this.#given;
    const { pool, bufferIo } = buffers;
    const { tag } = buffers.reader(relation, fork);
    while (this.#claimed.length < count) {
      const buffer = pool.pinBlock(tag, (this.#end + this.#claimed.length) | 0, scope);
      if (buffer === DIRTY_VICTIMS) {
        this.#before = buffers.cleaningVictims();
        return false;
      }
      if (bufferIo.claim(buffer) !== Claim.READY) {
        pool.unpin(buffer, scope);
        this.#before = this.#dropping();
        return false;
      }
      this.#claimed.push(buffer);
    }
    return true;
  }

  #giveUp(): void {
    const { buffers, scope } = this.#given;
    for (const buffer of this.#claimed) {
      buffers.bufferIo.giveUp(buffer);
      buffers.pool.unpin(buffer, scope);
    }
    this.#claimed = [];
  }

  #grow(): Extended {
    const { buffers, relation, fork, count, requestSync } = this.#given;
    for (const buffer of this.#claimed) buffers.page(buffer).fill(0, 0, BLOCK_SIZE);
    relation.zeroExtend(fork, this.#end, count);
    for (const buffer of this.#claimed) buffers.bufferIo.endAsValid(buffer);
    this.#requesting = requestingSyncs(requestSync, fork, this.#end, this.#end + count);
    const extended = { first: this.#end, buffers: this.#claimed };
    this.#claimed = [];
    this.#unlock();
    return extended;
  }
}
