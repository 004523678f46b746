/**
 * Changes of relations, WAL, buffers and files together. The order is PostgreSQL's: what is cut off or removed leaves
 * the pool first, dirty pages unwritten, so that no page is found, or written, whose block is gone; what is added enters
 * the pool by being read, or with the file's growth (buffered-extend.ts).
 */
import { BLOCK_SIZE } from '../base/settings.js';
import { checkBlockNumber, checkKind } from '../base/units.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { DropRelationBuffers, type BlockRange } from '../buffer/drop-buffers.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import { Fork } from '../smgr/relation.js';
import { requestingSyncs, type RequestSync } from '../smgr/requesting-syncs.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import type { SyncRequests } from '../smgr/sync-requests.js';
import type { LogTruncation } from './log-truncation.js';

/** Step: drops the ranges, then does the rest without waiting. */
function droppingFirst<T>(
  buffers: BufferManager,
  relation: SmgrRelation,
  fork: Fork,
  ranges: readonly BlockRange[],
  then: (dropped: number) => T,
): Step<T> {
  const drop = new DropRelationBuffers(buffers, ranges, relation.path(fork));
  return () => (drop.step() === PENDING ? PENDING : then(drop.dropped));
}

/** The WAL, for what is cut off or removed. */
export interface CutsInWal {
  readonly log: LogTruncation;
  /** Step: from then on, until `release`, no checkpoint comes to its end, and nobody else cuts. */
  take(): true | Pending;
  release(): void;
  enterCritical(): void;
  leaveCritical(): void;
  crash(reason: string): void;
}

/** Who is to know of a change of files. */
export interface ChangeHearers {
  /** Null: the change is not in the WAL. */
  readonly wal: CutsInWal | null;
  /** Null: nothing is synchronized. */
  readonly requestSync: RequestSync | null;
}

/** Makes the step of a change, for a pool that has the relation's buffers. */
export type RelationChange<T> = (buffers: BufferManager, hearers: ChangeHearers) => Step<T>;

/** Step: returns how many buffers were discarded. */
export function discarding(relation: SmgrRelation, fork: Fork, from: number): RelationChange<number> {
  return (buffers) => {
    checkBlockNumber(from);
    return droppingFirst(
      buffers,
      relation,
      fork,
      [{ tag: buffers.reader(relation, fork).tag, from }],
      (dropped) => dropped,
    );
  };
}

/**
 * Step: drops buffers, then does to the files what cannot be taken back, then what is to come after: the request for an fsync.
 * `log`, unless null, makes it durable in the WAL before: when nothing is in the way any more, and nothing is lost yet.
 *
 * Where it is in the WAL, no checkpoint may lie between record and files: redo would begin behind the record, and what was
 * cut off could come back. So that is done under a lock, which a checkpoint takes once, between writing pages and
 * synchronizing files: what it counts as done, because dirty pages were dropped, is in the WAL behind its redo position, or in
 * files that it synchronizes. And from the first dropped buffer to the end there is no way back, as dirty pages are gone which
 * recovery brings back only to cut them off: so that is a critical section, and what fails there crashes the
 * instance. PostgreSQL's RelationTruncate.
 */
function cutting<T>(
  drop: DropRelationBuffers,
  wal: CutsInWal | null,
  log: Step<unknown> | null,
  cut: () => T,
  makeAfter: () => Step<unknown>,
): Step<T> {
  const last = cuttingAll(drop, cut, makeAfter());
  // Elsewhere a thread may end behind the cut, and nothing crashes: so it is also done before.
  if (wal === null || log === null) return inTurn([makeAfter()], last);
  return guarding(wal, inTurn([() => drop.ready(), log], critically(wal, last)));
}

function cuttingAll<T>(drop: DropRelationBuffers, cut: () => T, after: Step<unknown>): Step<T> {
  let result: { readonly of: T } | null = null;
  return () => {
    if (result === null && drop.step() === PENDING) return PENDING;
    result ??= { of: cut() };
    return after() === PENDING ? PENDING : result.of;
  };
}

/** Step: under the lock. */
function guarding<T>(wal: CutsInWal, step: Step<T>): Step<T> {
  let isHeld = false;
  return () => {
    try {
      if (!isHeld && wal.take() === PENDING) return PENDING;
      isHeld = true;
      const result = step();
      if (result !== PENDING) wal.release();
      return result;
    } catch (error) {
      if (isHeld) wal.release();
      throw error;
    }
  };
}

function critically<T>(wal: CutsInWal, step: Step<T>): Step<T> {
  let isCritical = false;
  return () => {
    if (!isCritical) wal.enterCritical();
    isCritical = true;
    try {
      const result = step();
      if (result !== PENDING) wal.leaveCritical();
      return result;
    } catch (error) {
      wal.crash(`what is in the WAL could not be done to the files: ${String(error)}`);
      throw error;
    }
  };
}

/** The fsync is asked for behind the cut, in the same critical section: a checkpoint must not pass over it. */
export function truncating(relation: SmgrRelation, fork: Fork, blocks: number): RelationChange<void> {
  return (buffers, { wal, requestSync }) => {
    const end = relation.blockCount(fork);
    // Nothing is dropped for a truncation that will be refused.
    const from = Number.isInteger(blocks) && blocks >= 0 ? Math.min(blocks, end) : end;
    const range = { tag: buffers.reader(relation, fork).tag, from, to: end };
    const drop = new DropRelationBuffers(buffers, [range], relation.path(fork));
    const log = from < end ? (wal?.log(relation, fork, from) ?? null) : null;
    const cut = (): void => relation.truncate(fork, blocks);
    return cutting(drop, wal, log, cut, () => requestingSyncs(requestSync, fork, from, end));
  };
}

/** Step: some, one after the other, and then the last. */
function inTurn<T>(first: readonly Step<unknown>[], last: Step<T>): Step<T> {
  let next = 0;
  return () => {
    for (let step = first[next]; step !== undefined; step = first[++next])
      if (step() === PENDING) return PENDING;
    return last();
  };
}

/**
 * Step: returns how many files were removed. Nobody need synchronize them any more, and nobody tries to when they are gone: the
 * requests go first. Should the files stay, because this fails or the thread ends, they lack the buffers already.
 */
export function removing(relation: SmgrRelation, requests: SyncRequests): RelationChange<number> {
  return (buffers, { wal }) => {
    const forks = Object.values(Fork);
    const ranges = forks.map((fork) => ({ tag: buffers.reader(relation, fork).tag, from: 0 }));
    const drop = new DropRelationBuffers(buffers, ranges, relation.path(Fork.MAIN));
    const unlink = (): number => {
      for (const fork of forks) requests.forget(relation.directoryNumber, relation.locator, fork);
      return relation.unlink();
    };
    return cutting(drop, wal, wal?.log(relation, 'all', 0) ?? null, unlink, () => () => true);
  };
}

/**
 * Step: returns the first new block. Somebody may have tried to read beyond the end, or have read these blocks
 * before they were cut off: what the pool has of them is dropped first.
 */
export function extending(
  relation: SmgrRelation,
  fork: Fork,
  pages: Uint8Array | number,
): RelationChange<number> {
  return (buffers, { requestSync }) => {
    if (typeof pages !== 'number') checkKind('a number of pages, or a Uint8Array', pages, Uint8Array);
    const count = typeof pages === 'number' ? pages : pages.byteLength / BLOCK_SIZE;
    if (!Number.isInteger(count) || count < 1)
      throw new RangeError(`${count} is not a number of pages to add`);
    const { tag } = buffers.reader(relation, fork);
    let end = -1;
    let drop: Step<unknown> = () => true;
    let requesting: Step<true> | null = null;
    return () => {
      if (requesting !== null) return requesting() === PENDING ? PENDING : end;
      const now = relation.blockCount(fork); // another one if somebody has extended it while we waited
      if (now !== end) {
        end = now;
        drop = droppingFirst(buffers, relation, fork, [{ tag, from: end, to: end + count }], () => true);
      }
      if (drop() === PENDING) return PENDING;
      if (typeof pages === 'number') relation.zeroExtend(fork, end, pages);
      else relation.extend(fork, end, pages);
      requesting = requestingSyncs(requestSync, fork, end, end + count);
      return requesting() === PENDING ? PENDING : end;
    };
  };
}
