/**
 * Changes of relations, buffers and files together. The order is PostgreSQL's: what is cut off or removed leaves
 * the pool first, dirty pages unwritten, so that no page is found, or written, whose block is gone; what is added enters
 * the pool by being read, or with the file's growth (buffered-extend.ts).
 */
import { BLOCK_SIZE } from '../base/settings.js';
import { checkBlockNumber, checkKind } from '../base/units.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { DropRelationBuffers, type BlockRange } from '../buffer/drop-buffers.js';
import { PENDING, type Step } from '../shmem/wait.js';
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

/** Who is to know of a change of files. */
export interface ChangeHearers {
  /** Null: the change is not in the WAL. */
  readonly log: LogTruncation | null;
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
 * Step: logged behind the drop, which may be refused, and before the file is cut. What cannot be logged is cut off
 * all the same: its changed pages are gone. Then a crash may bring it back.
 */
function loggingFirst<T>(log: Step<unknown> | null, then: () => T): Step<T> {
  return () => {
    try {
      if (log?.() === PENDING) return PENDING;
    } catch (error) {
      then();
      throw error;
    }
    return then();
  };
}

/**
 * The fsync is asked for twice: before the cut, as the thread may end behind it; and behind it, as the first request may have
 * been met by then. A checkpoint must not pass over a cut whose record recovery will not read: the blocks could come back.
 */
export function truncating(relation: SmgrRelation, fork: Fork, blocks: number): RelationChange<true> {
  return (buffers, { log, requestSync }) => {
    const end = relation.blockCount(fork);
    // Nothing is dropped for a truncation that will be refused.
    const from = Number.isInteger(blocks) && blocks >= 0 ? Math.min(blocks, end) : end;
    const range = { tag: buffers.reader(relation, fork).tag, from, to: end };
    const logging = from < end && log !== null ? log(relation, fork, from) : null;
    return inTurn(
      [
        requestingSyncs(requestSync, fork, from, end),
        droppingFirst(buffers, relation, fork, [range], () => true),
        loggingFirst(logging, () => {
          relation.truncate(fork, blocks);
        }),
      ],
      requestingSyncs(requestSync, fork, from, end),
    );
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

/** Step: returns how many files were removed. Nobody need synchronize them any more. */
export function removing(relation: SmgrRelation, requests: SyncRequests): RelationChange<number> {
  return (buffers, { log }) => {
    const forks = Object.values(Fork);
    const ranges = forks.map((fork) => ({ tag: buffers.reader(relation, fork).tag, from: 0 }));
    return inTurn(
      [droppingFirst(buffers, relation, Fork.MAIN, ranges, () => true)],
      loggingFirst(log?.(relation, 'all', 0) ?? null, () => {
        const removed = relation.unlink();
        for (const fork of forks) requests.forget(relation.directoryNumber, relation.locator, fork);
        return removed;
      }),
    );
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
