/**
 * Takes a relation's blocks out of a pool, because their file is about to be truncated or removed: PostgreSQL's
 * DropRelationBuffers. Pages are not written; there is nothing to save.
 *
 *   find the buffers ▶ refuse if a user has one pinned ▶ wait for I/O on them ▶ find again, until there is none
 *   ▶ take them out, one by one
 *
 * Between the last look and taking out nothing waits. A read in flight has a pin of its own, whoever issued it
 * and whatever became of its issuer, so no page is ever read into memory that was given to another block. Who is
 * about to read, and has claimed a buffer without having started an I/O, is waited for as well.
 *
 * Nothing here is held between two steps, and each buffer is taken out under its partition's lock: a thread that
 * ends in between has dropped some buffers, and others not.
 */
import type { Aio } from '../aio/aio.js';
import { BuffersPinnedError } from '../base/buffers-pinned-error.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import type { BufferIo } from './buffer-io.js';
import {
  DescriptorLayout,
  IO_IN_PROGRESS,
  IO_REFERENCE,
  PIN_MASK,
  TAG_VALID,
  type ForkTag,
} from './descriptor.js';
import type { BufferPool } from './pool.js';

const {
  state: STATE,
  block: BLOCK,
  relation: RELATION,
  database: DATABASE,
  tablespace: TABLESPACE,
  forkDirectory: FORK_DIRECTORY,
} = DescriptorLayout.at;

/** PostgreSQL's BUF_DROP_FULL_SCAN_THRESHOLD: a larger part of the pool is scanned for, not looked up. */
export const FULL_SCAN_DIVISOR = 32;

/** The pool that has the buffers, and whoever can wait for I/O on them. */
export interface DroppingPool {
  readonly aio: Aio;
  readonly pool: BufferPool;
  readonly bufferIo: BufferIo;
}

/** Blocks of a fork, from `from` up to but without `to`; without `to`, all that are in the pool. */
export interface BlockRange {
  readonly tag: ForkTag;
  readonly from: number;
  readonly to?: number;
}

interface Candidate {
  readonly buffer: number;
  readonly range: BlockRange;
  /** As in the descriptor: the number's 32 bits, signed. */
  readonly block: number;
}

export class DropRelationBuffers {
  /** Buffers that were taken out, or have lost their block meanwhile by themselves. */
  dropped = 0;
  readonly #owner: DroppingPool;
  readonly #ranges: readonly BlockRange[];
  readonly #path: string;
  #candidates: Candidate[] | null = null;
  #next = 0;
  #waited = false;

  /** All ranges are of forks of one relation, whose path is for messages. */
  constructor(owner: DroppingPool, ranges: readonly BlockRange[], path: string) {
    this.#owner = owner;
    this.#ranges = ranges;
    this.#path = path;
  }

  /**
   * Step: until none of the blocks is in the pool. Throws a BuffersPinnedError when a user has one pinned: at once,
   * unless it is another backend's and being read; then when that read is over.
   */
  step(): true | Pending {
    for (;;) {
      const candidates = this.#settled();
      if (candidates === PENDING) return PENDING;
      if (this.#takeOut(candidates)) return true;
    }
  }

  /** Step: until nothing is in the way, for who has something to do before. Throws as `step` does. */
  ready(): true | Pending {
    return this.#settled() === PENDING ? PENDING : true;
  }

  /** What is to be taken out, with nobody's pins and no I/O on it as of now. */
  #settled(): readonly Candidate[] | Pending {
    for (;;) {
      if (this.#candidates === null) {
        this.#candidates = this.#find();
        this.#next = 0;
        this.#waited = false;
        this.#refusePinned(this.#candidates);
      }
      if (this.#waitForIo(this.#candidates) === PENDING) return PENDING;
      const candidates = this.#candidates;
      this.#candidates = null; // what was waited for may have brought others
      if (!this.#waited) return candidates;
    }
  }

  // --- finding -----------------------------------------------------------------------------------

  #find(): Candidate[] {
    const blocks = this.#ranges.reduce((sum, { from, to }) => sum + ((to ?? Infinity) - from), 0);
    const few = blocks < this.#owner.pool.region.count / FULL_SCAN_DIVISOR;
    return few ? this.#lookUp() : this.#scan();
  }

  #lookUp(): Candidate[] {
    const found: Candidate[] = [];
    for (const range of this.#ranges) {
      const { tag, from, to = from } = range;
      for (let block = from; block < to; block++) {
        const buffer = this.#owner.pool.find(tag, block | 0);
        if (buffer >= 0) found.push({ buffer, range, block: block | 0 });
      }
    }
    return found;
  }

  /** Looks at every buffer without a lock. A tag that changes under our eyes is a reader's whom there must not be. */
  #scan(): Candidate[] {
    const { pool } = this.#owner;
    const { words } = pool;
    const relation = this.#ranges[0]?.tag.relation;
    const found: Candidate[] = [];
    for (let buffer = 0; buffer < pool.region.count; buffer++) {
      const base = pool.base(buffer);
      if (words.get(base + RELATION) !== relation) continue;
      const range = this.#ranges.find((one) => this.#isIn(base, one));
      if (range !== undefined) found.push({ buffer, range, block: words.get(base + BLOCK) });
    }
    return found;
  }

  #isIn(base: number, { tag, from, to = Infinity }: BlockRange): boolean {
    const { words } = this.#owner.pool;
    const block = words.get(base + BLOCK) >>> 0;
    return (
      (words.get(base + STATE) & TAG_VALID) !== 0 &&
      block >= from &&
      block < to &&
      words.get(base + RELATION) === tag.relation &&
      words.get(base + FORK_DIRECTORY) === tag.forkDirectory &&
      words.get(base + DATABASE) === tag.database &&
      words.get(base + TABLESPACE) === tag.tablespace
    );
  }

  // --- refusing ----------------------------------------------------------------------------------

  /** Our own pins will not go away while we wait for I/O; those of another backend may, with its read. */
  #refusePinned(candidates: readonly Candidate[]): void {
    const { pool, aio } = this.#owner;
    const pinned = candidates.filter((one) => this.#isRefused(one));
    if (pinned.length === 0) return;
    const backends = new Set(pinned.flatMap(({ buffer }) => pool.otherHolders(buffer)));
    const own = pinned.some(({ buffer }) => pool.pins.count(buffer) > 0);
    if (own) backends.add(aio.thread.slot);
    throw new BuffersPinnedError({
      path: this.#path,
      block: pinned.reduce((lowest, { block }) => Math.min(lowest, block >>> 0), Infinity),
      count: pinned.length,
      backends: [...backends].sort((a, b) => a - b),
      own,
      dropped: this.dropped,
    });
  }

  #isRefused({ buffer, range }: Candidate): boolean {
    const { pool } = this.#owner;
    const base = pool.base(buffer);
    const state = pool.words.load(base + STATE);
    const ofIo = (state & IO_REFERENCE) !== 0 ? 1 : 0;
    const pinned = (state & IO_IN_PROGRESS) === 0 && (state & PIN_MASK) > ofIo;
    // The tag comes last: the buffer may have become another block's, and then its pins are none of our business.
    return (pinned || pool.pins.count(buffer) > 0) && this.#isIn(base, range);
  }

  // --- waiting and taking out --------------------------------------------------------------------

  #waitForIo(candidates: readonly Candidate[]): true | Pending {
    const { aio, bufferIo } = this.#owner;
    for (; this.#next < candidates.length; this.#next++) {
      const { buffer } = candidates[this.#next] as Candidate;
      while (bufferIo.isInProgress(buffer)) {
        this.#waited = true;
        const over = bufferIo.hasReference
          ? aio.waitFor(bufferIo.ioHandle, bufferIo.ioGeneration)
          : bufferIo.waitForClaim(aio.waits, buffer);
        if (over === PENDING) return PENDING;
      }
    }
    return true;
  }

  /** False when somebody was quicker, and has pinned one of them. */
  #takeOut(candidates: readonly Candidate[]): boolean {
    let all = true;
    for (const { buffer, range, block } of candidates) {
      if (this.#owner.pool.tryInvalidate(buffer, range.tag, block)) this.dropped++;
      else all = false;
    }
    return all;
  }
}
