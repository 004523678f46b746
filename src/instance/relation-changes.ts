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
import type { SmgrRelation } from '../smgr/smgr.js';
import type { SyncRequests } from '../smgr/sync-requests.js';
import type { TruncationLog } from './log-truncation.js';

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

/** Step: returns how many buffers were discarded. */
export function discarding(
  buffers: BufferManager,
  relation: SmgrRelation,
  fork: Fork,
  from: number,
): Step<number> {
  checkBlockNumber(from);
  return droppingFirst(
    buffers,
    relation,
    fork,
    [{ tag: buffers.reader(relation, fork).tag, from }],
    (dropped) => dropped,
  );
}

/**
 * Step: logged behind the drop, which may be refused, and before the file is cut. What cannot be logged is cut off
 * all the same: its changed pages are gone. Then a crash may bring it back.
 */
function loggingFirst<T>(log: Step<unknown>, then: () => T): Step<T> {
  return () => {
    try {
      if (log() === PENDING) return PENDING;
    } catch (error) {
      then();
      throw error;
    }
    return then();
  };
}

export function truncating(
  buffers: BufferManager,
  relation: SmgrRelation,
  fork: Fork,
  blocks: number,
  log: TruncationLog | null,
): Step<void> {
  const end = relation.blockCount(fork);
  // Nothing is dropped for a truncation that will be refused.
  const from = Number.isInteger(blocks) && blocks >= 0 ? Math.min(blocks, end) : end;
  const range = { tag: buffers.reader(relation, fork).tag, from, to: end };
  const cut = (): void => {
    relation.truncate(fork, blocks);
  };
  if (log === null || from === end) return droppingFirst(buffers, relation, fork, [range], cut);
  const drop = droppingFirst(buffers, relation, fork, [range], () => true);
  const logAndCut = loggingFirst(log.logging(relation, fork, from), cut);
  const cutting: Step<void> = inTurn(logAndCut, log.requestingSync(relation, fork, from, end));
  return log.guarding(inTurn(drop, cutting));
}

/** Step: one, and then the other. */
function inTurn<T>(first: Step<unknown>, second: Step<T>): Step<T> {
  let isFirst = true;
  return () => {
    if (isFirst && first() === PENDING) return PENDING;
    isFirst = false;
    return second();
  };
}

/**
 * Step: returns how many files were removed. Nobody need synchronize them any more, and nobody tries to when they are gone: the
 * requests go first. Should the files stay, because this fails or the thread ends, they lack the buffers already.
 */
export function removing(
  buffers: BufferManager,
  relation: SmgrRelation,
  requests: SyncRequests,
  log: TruncationLog | null,
): Step<number> {
  const forks = Object.values(Fork);
  const ranges = forks.map((fork) => ({ tag: buffers.reader(relation, fork).tag, from: 0 }));
  const unlink = (): number => {
    for (const fork of forks) requests.forget(relation.directoryNumber, relation.locator, fork);
    return relation.unlink();
  };
  if (log === null) return droppingFirst(buffers, relation, Fork.MAIN, ranges, unlink);
  const drop = droppingFirst(buffers, relation, Fork.MAIN, ranges, () => true);
  return log.guarding(inTurn(drop, loggingFirst(log.logging(relation, 'all', 0), unlink)));
}

/**
 * Step: returns the first new block. Somebody may have tried to read beyond the end, or have read these blocks
 * before they were cut off: what the pool has of them is dropped first.
 */
export function extending(
  buffers: BufferManager,
  relation: SmgrRelation,
  fork: Fork,
  pages: Uint8Array | number,
): Step<number> {
  if (typeof pages !== 'number') checkKind('a number of pages, or a Uint8Array', pages, Uint8Array);
  const count = typeof pages === 'number' ? pages : pages.byteLength / BLOCK_SIZE;
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`${count} is not a number of pages to add`);
  const { tag } = buffers.reader(relation, fork);
  let end = -1;
  let drop: Step<unknown> = () => true;
  return () => {
    const now = relation.blockCount(fork); // another one if somebody has extended it while we waited
    if (now !== end) {
      end = now;
      drop = droppingFirst(buffers, relation, fork, [{ tag, from: end, to: end + count }], () => true);
    }
    if (drop() === PENDING) return PENDING;
    if (typeof pages === 'number') relation.zeroExtend(fork, end, pages);
    else relation.extend(fork, end, pages);
    return end;
  };
}
