/** Truncations in the WAL: what recovery must cut off again, as it may have brought it back before. */
import { PENDING, type Step } from '../shmem/wait.js';
import { Fork } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import { HEAP_BLOCKS_PER_MAP_BLOCK, TruncateFlag, truncateRecord } from '../wal/truncate-record.js';
import type { Wal } from '../wal/wal.js';

/** Step: makes it durable in the WAL that a fork ends after so many blocks, or that the whole relation is empty. */
export type LogTruncation = (relation: SmgrRelation, fork: Fork | 'all', blocks: number) => Step<unknown>;

export function truncationLogger(wal: Wal): LogTruncation {
  return ({ locator: { tablespace, database, relation } }, fork, blocks) => {
    const truncation = { tablespace, database, relation, ...cutOf(fork, blocks) };
    // Free space maps are not logged, and neither are forks of unlogged relations.
    if (truncation.flags === 0) return () => true;
    const inserting = wal.inserting(truncateRecord(truncation));
    let flushing: Step<void> | null = null;
    return () => {
      if (flushing === null) {
        const end = inserting();
        if (end === PENDING) return PENDING;
        flushing = wal.flushing(end);
      }
      return flushing();
    };
  };
}

function cutOf(fork: Fork | 'all', blocks: number): { blocks: number; flags: number } {
  if (fork === 'all') return { blocks, flags: TruncateFlag.ALL };
  if (fork === Fork.MAIN) return { blocks, flags: TruncateFlag.HEAP };
  if (fork === Fork.VM)
    return { blocks: blocks * HEAP_BLOCKS_PER_MAP_BLOCK, flags: TruncateFlag.VISIBILITY_MAP };
  return { blocks, flags: 0 };
}
