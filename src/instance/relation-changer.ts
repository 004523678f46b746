/**
 * What a backend changes of the files of relations, with what the pool has of them: each as a promise, and blocking the
 * thread. What a change does is in relation-changes.ts.
 */
import type { Aio } from '../aio/aio.js';
import type { Step } from '../shmem/wait.js';
import { Fork } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import { InstanceViews } from './instance-views.js';
import { discarding, extending, removing, truncating, type RelationChange } from './relation-changes.js';
import type { DiscardOptions, RelationOptions } from './relation-options.js';

export abstract class RelationChanger extends InstanceViews {
  abstract readonly aio: Aio;

  /** Throws when the relation is another backend's, or this one is closed. */
  protected abstract changeStep<T>(relation: SmgrRelation, change: RelationChange<T>): Step<T>;

  /**
   * Discards buffers of a fork from a block on, without writing anything: PostgreSQL's DropRelationBuffers. For a
   * file that was changed behind the pool's back, as much as for what follows below. Waits for reads in flight on
   * them, whoever started those. Resolves with how many buffers that were.
   *
   * Rejects with a BuffersPinnedError when a user, of this backend or another, has one of them pinned; none was
   * discarded then. The caller must keep others from reading these blocks until it is done with the file, as
   * PostgreSQL's callers do with an AccessExclusiveLock: who reads between the discarding and the change brings
   * the old page back, and who reads behind the new end fails with a ShortReadError.
   */
  discardBuffers(relation: SmgrRelation, options: DiscardOptions = {}): Promise<number> {
    const { fork = Fork.MAIN, from = 0 } = options;
    return this.#until(relation, discarding(relation, fork, from));
  }

  /** As `discardBuffers`, blocking the thread. */
  discardBuffersBlocking(relation: SmgrRelation, options: DiscardOptions = {}): number {
    const { fork = Fork.MAIN, from = 0 } = options;
    return this.#block(relation, discarding(relation, fork, from));
  }

  /**
   * Cuts a fork to its first `blocks` blocks: discards the buffers of the others, then truncates the files. What
   * `discardBuffers` says of readers and errors is true here as well; besides, a RelationFileError, or a RangeError
   * when the fork is shorter. After an error of the file the buffers are gone, changed ones as well; in the data
   * directory of a WAL it crashes the instance, and recovery does what could not be done. Free space maps are not logged.
   */
  async truncateRelation(
    relation: SmgrRelation,
    blocks: number,
    options: RelationOptions = {},
  ): Promise<void> {
    await this.#until(relation, truncating(relation, options.fork ?? Fork.MAIN, blocks));
  }

  /** As `truncateRelation`, blocking the thread. */
  truncateRelationBlocking(relation: SmgrRelation, blocks: number, options: RelationOptions = {}): void {
    this.#block(relation, truncating(relation, options.fork ?? Fork.MAIN, blocks));
  }

  /**
   * Removes a relation: discards the buffers of all its forks, then removes its files, at once. Resolves with how
   * many files that were. Readers and errors as with `truncateRelation`. The relation may be created anew; after a crash
   * it may be there again, empty.
   */
  dropRelation(relation: SmgrRelation): Promise<number> {
    return this.#until(relation, removing(relation, this.parts.syncRequests));
  }

  /** As `dropRelation`, blocking the thread. */
  dropRelationBlocking(relation: SmgrRelation): number {
    return this.#block(relation, removing(relation, this.parts.syncRequests));
  }

  /**
   * Adds pages of 8192 bytes, whose checksums the caller has set, or so many pages of zeroes, to the end of a fork
   * that exists. Resolves with the number of the first new block. One thread at a time may extend a fork. Errors: see
   * SmgrRelation.extend, and BuffersPinnedError when somebody is trying to read beyond the end.
   */
  extendRelation(
    relation: SmgrRelation,
    pages: Uint8Array | number,
    options: RelationOptions = {},
  ): Promise<number> {
    return this.#until(relation, extending(relation, options.fork ?? Fork.MAIN, pages));
  }

  /** As `extendRelation`, blocking the thread. */
  extendRelationBlocking(
    relation: SmgrRelation,
    pages: Uint8Array | number,
    options: RelationOptions = {},
  ): number {
    return this.#block(relation, extending(relation, options.fork ?? Fork.MAIN, pages));
  }

  /** What making the step throws is a rejection, too. */
  async #until<T>(relation: SmgrRelation, change: RelationChange<T>): Promise<T> {
    return this.aio.waits.until(this.changeStep(relation, change));
  }

  #block<T>(relation: SmgrRelation, change: RelationChange<T>): T {
    return this.aio.waits.block(this.changeStep(relation, change));
  }
}
