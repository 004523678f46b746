/**
 * Changes of relations, buffers and files together. The order is PostgreSQL's: what is cut off or removed leaves
 * the pool first, so that no page is found whose block is gone; what is added enters the pool only by being read.
 */
import type { BlockRange, DroppingPool } from '../buffer/drop-buffers.js';
import { DropRelationBuffers } from '../buffer/drop-buffers.js';
import { makeForkTag, type ForkTag } from '../buffer/descriptor.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { PENDING, type Step } from '../shmem/wait.js';
import { Fork } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';

function tagOf(relation: SmgrRelation, fork: Fork): ForkTag {
  const { tablespace, database, relation: number } = relation.locator;
  return makeForkTag(relation.directoryNumber, tablespace, database, number, fork);
}

/** Step: drops the ranges, then does the rest without waiting. */
function droppingFirst<T>(
  owner: DroppingPool,
  relation: SmgrRelation,
  fork: Fork,
  ranges: readonly BlockRange[],
  then: (dropped: number) => T,
): Step<T> {
  const drop = new DropRelationBuffers(owner, ranges, relation.path(fork));
  return () => (drop.step() === PENDING ? PENDING : then(drop.dropped));
}

/** Step: returns how many buffers were discarded. */
export function discarding(
  owner: DroppingPool,
  relation: SmgrRelation,
  fork: Fork,
  from: number,
): Step<number> {
  if (from >>> 0 !== from) throw new RangeError(`${from} is not a block number`);
  return droppingFirst(owner, relation, fork, [{ tag: tagOf(relation, fork), from }], (dropped) => dropped);
}

export function truncating(
  owner: DroppingPool,
  relation: SmgrRelation,
  fork: Fork,
  blocks: number,
): Step<void> {
  const end = relation.blockCount(fork);
  // Nothing is dropped for a truncation that will be refused.
  const from = Number.isInteger(blocks) && blocks >= 0 ? Math.min(blocks, end) : end;
  const range = { tag: tagOf(relation, fork), from, to: end };
  return droppingFirst(owner, relation, fork, [range], () => {
    relation.truncate(fork, blocks);
  });
}

/** Step: returns how many files were removed. */
export function removing(owner: DroppingPool, relation: SmgrRelation): Step<number> {
  const ranges = Object.values(Fork).map((fork) => ({ tag: tagOf(relation, fork), from: 0 }));
  return droppingFirst(owner, relation, Fork.MAIN, ranges, () => relation.unlink());
}

/**
 * Step: returns the first new block. Somebody may have tried to read beyond the end, or have read these blocks
 * before they were cut off: what the pool has of them is dropped first.
 */
export function extending(
  owner: DroppingPool,
  relation: SmgrRelation,
  fork: Fork,
  pages: Uint8Array | number,
): Step<number> {
  const count = typeof pages === 'number' ? pages : pages.byteLength / BLOCK_SIZE;
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`${count} is not a number of pages to add`);
  const end = relation.blockCount(fork);
  const range = { tag: tagOf(relation, fork), from: end, to: end + count };
  return droppingFirst(owner, relation, fork, [range], () => {
    if (typeof pages === 'number') relation.zeroExtend(fork, end, pages);
    else relation.extend(fork, end, pages);
    return end;
  });
}
