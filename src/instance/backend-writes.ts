/**
 * What a backend does about dirty pages: writes them to their files, and synchronizes the files. PostgreSQL's
 * FlushRelationBuffers, CheckPointBuffers and ProcessSyncRequests.
 */
import type { Aio } from '../aio/aio.js';
import type { Scope } from '../aio/scope.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { DescriptorLayout, DIRTY, type ForkTag } from '../buffer/descriptor.js';
import type { WalFlusher } from '../buffer/write-back.js';
import type { BuffersParts } from './backend-buffers.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { ExtensionLocks } from '../smgr/extension-locks.js';
import { Fork, SEGMENT_BLOCKS } from '../smgr/relation.js';
import { requestingSyncs, type RequestSync } from '../smgr/requesting-syncs.js';
import type { SmgrRelation, StorageManager } from '../smgr/smgr.js';
import { makingRoom, SyncFiles } from '../smgr/sync-files.js';
import type { SyncRequest, SyncRequests } from '../smgr/sync-requests.js';
import { BufferedExtension } from './buffered-extend.js';
import type { RelationOptions } from './relation-options.js';

const AT = DescriptorLayout.at;
/** Buffers that are written between two looks at the caller's throttle. */
const CHECKPOINT_RUN = 256;

export interface CheckpointOptions {
  /** Called between writes with how many of the buffers are done; its promise holds the checkpoint up. */
  throttle?: (done: number, total: number) => Promise<void> | void;
}

export interface ExtendOptions extends RelationOptions {
  /** To which the pins belong. Default: the backend's own. */
  scope?: Scope;
}

export interface WritesParts {
  readonly aio: Aio;
  readonly scope: Scope;
  readonly smgr: StorageManager;
  /** The shared pool. */
  readonly buffers: BufferManager;
  readonly requests: SyncRequests;
  readonly extensionLocks: ExtensionLocks;
  /** The pool that a relation is in. */
  buffersOf(relation: SmgrRelation): BufferManager;
}

export class BackendWrites {
  readonly #parts: WritesParts;

  constructor(parts: WritesParts) {
    this.#parts = parts;
  }

  /**
   * The log that must be durable before a page whose LSN lies in it is written; null: there is none. Of this backend: each
   * backend that may write pages needs one, and that is each that reads.
   */
  get walFlusher(): WalFlusher | null {
    return this.#parts.buffers.writeBack.walFlusher;
  }

  set walFlusher(flusher: WalFlusher | null) {
    this.#parts.buffers.writeBack.walFlusher = flusher;
  }

  /** Writes what is dirty of a fork, or of all forks. Resolves with how many pages that were; nothing is synchronized. */
  flushRelation(relation: SmgrRelation, options: RelationOptions = {}): Promise<number> {
    const buffers = this.#parts.buffersOf(relation);
    const forks = options.fork === undefined ? Object.values(Fork) : [options.fork];
    const tags = forks.map((fork) => buffers.reader(relation, fork).tag);
    return this.#flush(buffers, dirtyBuffers(buffers, tags));
  }

  /** Writes one buffer's page if it is dirty. */
  flushBuffer(buffer: number): Promise<number> {
    return this.#flush(this.#parts.buffers, [buffer]);
  }

  /**
   * Writes all pages of the shared pool that are dirty now, in the order of their files and blocks. Resolves with how
   * many that were. Goes on after an error, and rejects with the first at the end: a RelationFileError or a WalFileError.
   */
  async flushAllBuffers(options: CheckpointOptions = {}): Promise<number> {
    const { buffers, aio } = this.#parts;
    const dirty = dirtyBuffers(buffers, null);
    let written = 0;
    let failure: unknown = null;
    for (let at = 0; at < dirty.length; at += CHECKPOINT_RUN) {
      try {
        written += await this.#flush(buffers, dirty.slice(at, at + CHECKPOINT_RUN));
      } catch (error) {
        if (failure !== null) aio.thread.log({ level: 'warning', message: String(error) });
        failure ??= error;
      }
      await options.throttle?.(Math.min(at + CHECKPOINT_RUN, dirty.length), dirty.length);
    }
    if (failure !== null) throw failure as Error;
    return written;
  }

  #flush(buffers: BufferManager, list: readonly number[]): Promise<number> {
    return this.#parts.aio.waits.until(buffers.writeBack.flushing(list));
  }

  /**
   * Synchronizes each file once that was written since it was synchronized last. Resolves with how many that were. Rejects
   * with a RelationFileError: a file whose fsync failed once fails for ever, because nobody knows what the kernel has
   * dropped; the others are synchronized all the same.
   */
  processSyncRequests(): Promise<number> {
    const { requests } = this.#parts;
    return this.#sync(requests.requests());
  }

  #sync(list: readonly SyncRequest[]): Promise<number> {
    const pass = new SyncFiles(this.#parts, list);
    return this.#parts.aio.waits.until(() => pass.step());
  }

  /**
   * PostgreSQL's CheckPointBuffers: when this resolves, every page that was dirty when it was called is on disk. Errors as
   * of `flushAllBuffers` and, when that has written all, of `processSyncRequests`.
   */
  async checkpointBuffers(options: CheckpointOptions = {}): Promise<void> {
    await this.flushAllBuffers(options);
    await this.processSyncRequests();
  }

  /**
   * Adds `count` blocks of zeroes to the end of a fork that exists. Resolves with their buffers, pinned, in order; the
   * caller releases them. Several backends may extend a fork at the same time: each gets blocks of its own. Rejects with a
   * RelationFileError, ENOSPC for example, and nothing has changed then; with ERR_PGAIO_NO_UNPINNED_BUFFERS when the pool
   * has no room for so many blocks at once.
   */
  async extendRelation(
    relation: SmgrRelation,
    count: number,
    options: ExtendOptions = {},
  ): Promise<PinnedBuffer[]> {
    const { aio, extensionLocks: locks } = this.#parts;
    const { fork = Fork.MAIN, scope = this.#parts.scope } = options;
    const buffers = this.#parts.buffersOf(relation);
    const requestSync = this.requestsSyncOf(relation);
    const extension = new BufferedExtension({ buffers, relation, fork, count, scope, locks, requestSync });
    const { first, buffers: added } = await aio.waits.until(() => extension.step());
    return added.map((buffer, at) => new PinnedBuffer(buffers, scope, buffer, first + at));
  }

  /** The next checkpoint is to synchronize a segment file. */
  async requestSync(relation: SmgrRelation, fork: Fork, segment: number): Promise<void> {
    const first = segment * SEGMENT_BLOCKS;
    await this.#parts.aio.waits.until(requestingSyncs(this.requestsSyncOf(relation), fork, first, first + 1));
  }

  /** Null for a relation that is never synchronized, because it is private. */
  requestsSyncOf(relation: SmgrRelation): RequestSync | null {
    const { requests } = this.#parts;
    const { locator, directoryNumber: directory } = relation;
    if (locator.backend !== undefined) return null;
    return (fork, segment) =>
      requests.request({ directory, locator, fork, segment }) ? null : makingRoom(this.#parts);
  }

  /** For a backend that leaves: what it waited with. */
  leave(): void {
    this.#parts.buffers.locks.pool.locks.releaseShared();
    this.#parts.extensionLocks.releaseAll();
  }

  /** Whether a checkpoint would have anything to do. */
  get hasWork(): boolean {
    return dirtyBuffers(this.#parts.buffers, null).length > 0 || this.#parts.requests.requests().length > 0;
  }

  /** Writes what is dirty of a relation, and synchronizes all files of all its forks. Errors as of `checkpointBuffers`. */
  async syncRelation(relation: SmgrRelation): Promise<void> {
    const { requests } = this.#parts;
    await this.flushRelation(relation);
    const { locator, directoryNumber: directory } = relation;
    if (locator.backend !== undefined) return;
    for (const fork of Object.values(Fork)) {
      const count = relation.segmentCount(fork);
      for (let segment = 0; segment < count; segment++) await this.requestSync(relation, fork, segment);
    }
    const own = requests.requests().filter((one) => {
      const { tablespace, database, relation: number } = one.locator;
      const isOwn =
        number === locator.relation && database === locator.database && tablespace === locator.tablespace;
      return isOwn && one.directory === directory;
    });
    await this.#sync(own);
  }
}

/** Dirty buffers, of some forks or all, in the order of files and blocks. As they are seen now: without a lock. */
function dirtyBuffers({ pool, bufferIo }: BufferManager, tags: readonly ForkTag[] | null): number[] {
  const { array } = pool.words;
  const found: { buffer: number; key: readonly number[] }[] = [];
  for (let buffer = 0; buffer < pool.region.count; buffer++) {
    const base = pool.base(buffer);
    if (((array[base + AT.state] as number) & DIRTY) === 0 || !bufferIo.isDirty(buffer)) continue;
    if (tags !== null && !tags.some((tag) => isOf(array, base, tag))) continue;
    found.push({ buffer, key: ORDER.map((word) => (array[base + word] as number) >>> 0) });
  }
  found.sort((a, b) => compareKeys(a.key, b.key));
  return found.map(({ buffer }) => buffer);
}

const ORDER = [AT.tablespace, AT.database, AT.relation, AT.forkDirectory, AT.block] as const;

function compareKeys(a: readonly number[], b: readonly number[]): number {
  for (let at = 0; at < a.length; at++) {
    const difference = (a[at] as number) - (b[at] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

function isOf(array: Int32Array, base: number, tag: ForkTag): boolean {
  return (
    array[base + AT.relation] === tag.relation &&
    array[base + AT.forkDirectory] === tag.forkDirectory &&
    array[base + AT.database] === tag.database &&
    array[base + AT.tablespace] === tag.tablespace
  );
}

/** `buffersOf`: of a relation that the backend has opened. */
export function makeWrites(
  { aio, scope, parts, smgr }: BuffersParts,
  buffers: BufferManager,
  buffersOf: (relation: SmgrRelation) => BufferManager,
): BackendWrites {
  const { syncRequests: requests, memory, slot } = parts;
  const extensionLocks = new ExtensionLocks(memory.slots, slot, memory.plan.extensionLocks, aio.waits);
  return new BackendWrites({ aio, scope, buffers, requests, extensionLocks, smgr, buffersOf });
}
