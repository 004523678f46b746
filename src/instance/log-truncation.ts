/**
 * Truncations in the WAL: what recovery must cut off again, as it may have brought it back before.
 *
 *   lock, critical section ▶ drop buffers ▶ record, durable ▶ cut the files ▶ ask for their fsync ▶ give both back
 *
 * A checkpoint takes the lock once, between writing pages and synchronizing files (PostgreSQL's delayChkptFlags). So what it
 * counts as done, because dirty pages were dropped, is in the WAL behind its redo position or in files that it synchronizes.
 * A thread that ends in between crashes the instance: it has dropped pages, and nobody else knows what it was about to log.
 */
import type { CheckpointLock } from '../recovery/checkpoint-lock.js';
import type { Slots } from '../shmem/slots.js';
import { PENDING, type Step, type Waits } from '../shmem/wait.js';
import { Fork, SEGMENT_BLOCKS } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import { HEAP_BLOCKS_PER_MAP_BLOCK, TruncateFlag, truncateRecord } from '../wal/truncate-record.js';
import type { Wal } from '../wal/wal.js';

export interface TruncationLogParts {
  readonly wal: Wal;
  readonly slots: Slots;
  readonly slot: number;
  readonly waits: Waits;
  readonly lock: CheckpointLock;
  /** What this backend is in the middle of. */
  readonly running: Set<TruncationLog>;
  /** Step: the next checkpoint is to synchronize a segment file. */
  requestingSync(relation: SmgrRelation, fork: Fork, segment: number): Step<true>;
}

/** Of one truncation, or removal. */
export class TruncationLog {
  readonly #parts: TruncationLogParts;
  #isHeld = false;

  constructor(parts: TruncationLogParts) {
    this.#parts = parts;
  }

  /** Step: one truncation at a time, and none past a checkpoint. */
  guarding<T>(step: Step<T>): Step<T> {
    const { lock, waits, slots, slot, running } = this.#parts;
    return () => {
      if (!this.#isHeld) {
        if (lock.take(waits, slot) === PENDING) return PENDING;
        this.#isHeld = true;
        running.add(this);
        slots.enterCritical(slot);
      }
      let isOver = true;
      try {
        const result = step();
        isOver = result !== PENDING;
        return result;
      } finally {
        if (isOver) this.release();
      }
    };
  }

  /** For a truncation that is not carried on. Does nothing if it is over. */
  release(): void {
    if (!this.#isHeld) return;
    const { lock, slots, slot, running } = this.#parts;
    this.#isHeld = false;
    running.delete(this);
    slots.leaveCritical(slot);
    lock.release(slot);
  }

  /** Step: makes it durable in the WAL that a fork ends after so many blocks, or that the whole relation is empty. */
  logging(relation: SmgrRelation, fork: Fork | 'all', blocks: number): Step<unknown> {
    const { wal } = this.#parts;
    const { tablespace, database, relation: number } = relation.locator;
    const truncation = { tablespace, database, relation: number, ...cutOf(fork, blocks) };
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
  }

  /** Step: the next checkpoint makes it durable that blocks from `from` up to but without `to` are gone. */
  requestingSync(relation: SmgrRelation, fork: Fork, from: number, to: number): Step<void> {
    const last = Math.floor((to - 1) / SEGMENT_BLOCKS);
    let segment = Math.floor(from / SEGMENT_BLOCKS);
    let requesting: Step<true> | null = null;
    return () => {
      for (; segment <= last; segment++) {
        requesting ??= this.#parts.requestingSync(relation, fork, segment);
        if (requesting() === PENDING) return PENDING;
        requesting = null;
      }
      return undefined;
    };
  }
}

function cutOf(fork: Fork | 'all', blocks: number): { blocks: number; flags: number } {
  if (fork === 'all') return { blocks, flags: TruncateFlag.ALL };
  if (fork === Fork.MAIN) return { blocks, flags: TruncateFlag.HEAP };
  if (fork === Fork.VM)
    return { blocks: blocks * HEAP_BLOCKS_PER_MAP_BLOCK, flags: TruncateFlag.VISIBILITY_MAP };
  return { blocks, flags: 0 };
}
