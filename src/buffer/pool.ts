/**
 * The shared buffer pool as one backend sees it: finding a block's buffer, pinning it, and choosing a
 * victim when it has none. PostgreSQL's buf_table.c, freelist.c and the pinning half of bufmgr.c.
 *
 *   bucket[hash(block)] → buffer → buffer → 0        chains run through the descriptors
 *
 * A lookup takes no lock: it walks the chain with plain loads and pins with a compare-and-swap that fails
 * unless the tag is valid; then, with the pin held, it looks at the tag again. Any doubt counts as a miss,
 * and the miss path looks again under the partition's lock before it inserts.
 *
 * Buffers are taken from a clock hand that moves a run at a time: backends do not interleave, and a
 * backend's victims are neighbours in memory, so that a combined read is one piece.
 *
 * A backend's thread may end anywhere outside the partition locks, which are critical sections. Which shared
 * pins it has stands in its holdings: written directly behind the compare-and-swap that adds the pin, victims'
 * included, and directly behind the subtraction that drops it. A victim that is in nobody's
 * table any more is an unpinned buffer like those that never had a block, once its pin is dropped; one that
 * is in the table already is a block that nobody has read.
 */
import type { Scope } from '../aio/scope.js';
import { fail } from '../base/assert.js';
import { CACHE_LINE_WORDS } from '../shmem/layout.js';
import { SlotStatus, type Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';
import type { SharedWords } from '../shmem/words.js';
import type { WordAtomics } from '../native/atomics.js';
import {
  DESCRIPTOR_SHIFT,
  DIRTY,
  DescriptorLayout,
  IO_IN_PROGRESS,
  PIN_MASK,
  PIN_ONE,
  TAG_VALID,
  USAGE_MASK,
  USAGE_MAX,
  USAGE_ONE,
  VALID,
  type ForkTag,
} from './descriptor.js';
import { Holding, holdingsOf } from './holdings.js';
import { PrivatePins } from './private-pins.js';
import type { BufferCounts } from '../stats/io-stats.js';
import { failAllPinned, otherHolders } from './pool-holders.js';
import { PARTITIONS, type BufferRegion } from './region.js';
import type { BufferStrategy } from './strategy.js';

const { state: STATE, next: NEXT, block: BLOCK, relation: RELATION } = DescriptorLayout.at;
const {
  database: DATABASE,
  tablespace: TABLESPACE,
  forkDirectory: FORK_DIRECTORY,
  bucket: BUCKET,
} = DescriptorLayout.at;

/** Blocks that share a partition in a row: a combined read meets one or two locks. */
const PARTITION_RUN_SHIFT = 4;
/** A lookup without a lock gives up behind so many links: the chain may have changed under it. */
const LOOKUP_STEPS_MAX = 64;
const CLOCK_RUN_MAX = 64;
const CLOCK_ROUNDS_MAX = 8;
const NOT_FOUND = -1;
/** Stands for no buffer: those that could be taken are dirty. */
export const DIRTY_VICTIMS = -2;
/** Dirty buffers that the clock hand passes over in search of a clean one, and that are then written together. */
const DIRTY_VICTIMS_MAX = 32;

export class BufferPool {
  readonly words: SharedWords;
  readonly region: BufferRegion;
  readonly pins: PrivatePins;
  /** Whether the buffer that the last `pinBlock` returned holds its page. */
  foundValid = false;
  evictions = 0;
  /** For all to see; null until the pool has a manager. */
  counts: BufferCounts | null = null;
  /** Unpinned, used by nobody, and dirty: what stood in the way of the last victim that was wanted. */
  dirtyVictims: number[] = [];
  /** Buffers that were written to be taken; looked at before the clock hand moves. */
  readonly cleaned: number[] = [];
  /** Buffers that streams of this backend have pinned ahead of their consumers: kept by those, see `pinLimit`. */
  lookAheadPins = 0;

  // Plain private fields: `#` ones cost a brand check in each of the hottest functions of the library.
  private readonly array: Int32Array;
  private readonly entries: Int32Array;
  private readonly slots: Slots;
  private readonly slot: number;
  private readonly compareExchange: WordAtomics['compareExchange'];
  private readonly subtract: WordAtomics['sub'];
  private readonly descriptors: number;
  private readonly buckets: number;
  private readonly bucketMask: number;
  private readonly clockRun: number;
  /** What this slot has of each buffer. */
  private readonly holdings: Uint8Array;
  private sharePins = 1;
  private handPosition = 0;
  private handLeft = 0;
  /** Whether the last victim of a strategy was its ring's own. */
  private reusedRing = false;

  constructor(slots: Slots, slot: number, region: BufferRegion) {
    this.slots = slots;
    this.words = slots.words;
    this.array = slots.words.array;
    this.slot = slot;
    this.region = region;
    this.compareExchange = slots.words.compareExchange;
    this.subtract = slots.words.sub;
    this.descriptors = region.descriptors;
    this.buckets = region.buckets;
    this.bucketMask = (region.bucketCount - 1) | 0; // else a double, which is converted for every hit
    this.clockRun = Math.max(1, Math.min(CLOCK_RUN_MAX, region.count >>> 4));
    this.holdings = holdingsOf(slots.words, region.holdings, slots.region.maxBackends, slot);
    this.pins = new PrivatePins(region.count);
    this.entries = this.pins.entries;
    this.refreshPinLimit();
  }

  /**
   * How many buffers all streams of this backend together may have pinned ahead of their consumers: the pool's
   * fair share, one more than there are backends sharing it. PostgreSQL's GetPinLimit, which divides by the
   * backends that there may be. As of when it was last looked at.
   */
  get pinLimit(): number {
    return this.sharePins;
  }

  /** Looks how many backends there are. Reads one word of each possible one: not for every block. */
  refreshPinLimit(): void {
    let backends = 0;
    for (let slot = 0; slot < this.slots.region.maxBackends; slot++) {
      if (this.slots.status(slot) !== SlotStatus.FREE) backends++;
    }
    this.sharePins = Math.max(1, Math.floor(this.region.count / (Math.max(1, backends) + 1)));
  }

  /** The block that a pinned buffer holds. */
  blockOf(buffer: number): number {
    return (this.array[this.base(buffer) + BLOCK] as number) >>> 0;
  }

  /** First word of a buffer's descriptor. */
  base(buffer: number): number {
    return this.descriptors + (buffer << DESCRIPTOR_SHIFT);
  }

  /**
   * Pins the buffer of a block for the scope, giving the block one if it has none; `foundValid` says
   * whether the page is there. DIRTY_VICTIMS: the pages of `dirtyVictims` must be written first. Throws when every
   * buffer is pinned. `block` is the block number's 32 bits,
   * signed, as shared memory holds them.
   */
  pinBlock(tag: ForkTag, block: number, scope: Scope, strategy: BufferStrategy | null = null): number {
    const buffer = this.lookup(tag, block, scope, strategy === null ? USAGE_MAX : USAGE_ONE);
    return buffer === NOT_FOUND ? this.allocate(tag, block, scope, strategy) : buffer;
  }

  /**
   * Pins the buffer of a block if it is in the pool; -1 when not, or when in doubt. The usage count rises up
   * to `usageLimit`: by a strategy's use, from 0 to 1 only.
   *
   * What nearly every hit does stands here in one piece, because V8 does not inline all of it otherwise (a
   * third of a hit): no pin of ours yet, the swap succeeds, the tag is the block's.
   */
  lookup(tag: ForkTag, block: number, scope: Scope, usageLimit: number = USAGE_MAX): number {
    const { array, entries, holdings } = this;
    const { relation } = tag;
    let link = array[this.buckets + ((block + tag.hashBase) & this.bucketMask)] as number;
    for (let steps = 0; link !== 0 && steps < LOOKUP_STEPS_MAX; steps++) {
      const buffer = link - 1;
      const base = this.descriptors + (buffer << DESCRIPTOR_SHIFT);
      // Two words tell nearly all blocks apart; the whole tag is compared once it cannot change.
      if (array[base + BLOCK] === block && array[base + RELATION] === relation) {
        const state = array[base + STATE] as number; // validated by the swap
        const pinned = (state & USAGE_MASK) < usageLimit ? state + (USAGE_ONE + PIN_ONE) : state + PIN_ONE;
        const unpinned = entries[buffer * 2] === 0 && (state & TAG_VALID) !== 0;
        if (unpinned && this.compareExchange(base + STATE, state, pinned) === state) {
          holdings[buffer] = Holding.PINNED;
          if (this.isTagged(base, tag, block)) {
            entries[buffer * 2] = 1;
            entries[buffer * 2 + 1] = scope.id;
            scope.pinCount++;
            this.foundValid = (pinned & VALID) !== 0;
            return buffer;
          }
          this.dropShared(buffer, base);
        }
        if (this.pinIf(buffer, base, tag, block, scope, usageLimit)) return buffer;
      }
      link = array[base + NEXT] as number;
    }
    return NOT_FOUND;
  }

  /** Pins a buffer that seems to be the block's, if it is. */
  private pinIf(
    buffer: number,
    base: number,
    tag: ForkTag,
    block: number,
    scope: Scope,
    usageLimit: number,
  ): boolean {
    const { array, pins } = this;
    const own = pins.count(buffer) !== 0; // then our own pin keeps the tag as it is
    const state = own ? (array[base + STATE] as number) : this.tryPinShared(buffer, base, usageLimit);
    if (state === 0) return false;
    if (!this.isTagged(base, tag, block)) {
      if (!own) this.dropShared(buffer, base);
      return false;
    }
    this.foundValid = (state & VALID) !== 0;
    pins.add(buffer, scope);
    return true;
  }

  private isTagged(base: number, tag: ForkTag, block: number): boolean {
    const { array } = this;
    return (
      array[base + BLOCK] === block &&
      array[base + RELATION] === tag.relation &&
      array[base + DATABASE] === tag.database &&
      array[base + TABLESPACE] === tag.tablespace &&
      array[base + FORK_DIRECTORY] === tag.forkDirectory
    );
  }

  /** Adds a shared pin if the tag is valid, and raises the usage count; the new state, or 0. */
  private tryPinShared(buffer: number, base: number, usageLimit: number): number {
    const { array, holdings } = this;
    let state = array[base + STATE] as number; // validated by the swap
    for (;;) {
      if ((state & TAG_VALID) === 0) return 0;
      const pinned = (state & USAGE_MASK) < usageLimit ? state + (USAGE_ONE + PIN_ONE) : state + PIN_ONE;
      const seen = this.compareExchange(base + STATE, state, pinned);
      if (seen === state) {
        holdings[buffer] = Holding.PINNED;
        return pinned;
      }
      state = seen;
    }
  }

  /** Drops this slot's shared pin. */
  private dropShared(buffer: number, base: number): void {
    const { holdings } = this;
    this.subtract(base + STATE, PIN_ONE);
    holdings[buffer] = Holding.NONE;
  }

  unpin(buffer: number, scope: Scope): void {
    const { entries, holdings } = this;
    if (entries[buffer * 2] === 1 && entries[buffer * 2 + 1] === scope.id) {
      entries[buffer * 2] = 0;
      scope.pinCount--;
    } else if (this.pins.remove(buffer, scope) !== 0) {
      return;
    }
    this.subtract(this.descriptors + (buffer << DESCRIPTOR_SHIFT) + STATE, PIN_ONE);
    holdings[buffer] = Holding.NONE;
  }

  // --- giving a block a buffer -------------------------------------------------------------------

  private allocate(tag: ForkTag, block: number, scope: Scope, strategy: BufferStrategy | null): number {
    const { evictions } = this;
    const victim = strategy === null ? this.takeVictim() : this.takeFromRing(strategy);
    if (this.evictions !== evictions)
      this.counts?.evicted(strategy?.context ?? 0, strategy !== null && this.reusedRing);
    if (victim < 0) return victim;
    const base = this.base(victim);
    const { array } = this;
    array[base + BLOCK] = block;
    array[base + RELATION] = tag.relation;
    array[base + DATABASE] = tag.database;
    array[base + TABLESPACE] = tag.tablespace;
    array[base + FORK_DIRECTORY] = tag.forkDirectory;
    const bucket = this.buckets + ((block + tag.hashBase) & this.bucketMask);
    array[base + BUCKET] = bucket;
    const lock = this.lockPartition(bucket);
    const usageLimit = strategy === null ? USAGE_MAX : USAGE_ONE;
    const present = this.findLocked(bucket, tag, block, scope, usageLimit);
    if (present !== NOT_FOUND) {
      this.unlockPartition(lock);
      this.dropShared(victim, base); // the victim goes back untagged
      return present;
    }
    array[base + NEXT] = array[bucket] as number;
    this.words.store(base + STATE, TAG_VALID | USAGE_ONE | PIN_ONE);
    array[bucket] = victim + 1; // readers without the lock see it at the latest with the unlocking store
    this.unlockPartition(lock);
    this.pins.add(victim, scope);
    this.foundValid = false;
    return victim;
  }

  private findLocked(bucket: number, tag: ForkTag, block: number, scope: Scope, usageLimit: number): number {
    const { array } = this;
    for (let link = array[bucket] as number; link !== 0;) {
      const base = this.base(link - 1);
      if (this.isTagged(base, tag, block)) {
        // The tags of a chain's buffers do not change under this lock, so the pin cannot fail.
        if (!this.pinIf(link - 1, base, tag, block, scope, usageLimit))
          fail(`buffer ${link - 1} is in a chain without a valid tag`);
        return link - 1;
      }
      link = array[base + NEXT] as number;
    }
    return NOT_FOUND;
  }

  /**
   * An unpinned buffer, taken out of the mapping table, with one pin that is ours and in no scope yet. Dirty ones are
   * passed over; when there are many, or nothing else, they are to be written first: DIRTY_VICTIMS.
   */
  private takeVictim(): number {
    for (let buffer = this.cleaned.pop(); buffer !== undefined; buffer = this.cleaned.pop())
      if (this.tryTake(buffer)) return buffer;
    const { dirtyVictims } = this;
    dirtyVictims.length = 0;
    for (let ticks = this.region.count * CLOCK_ROUNDS_MAX; ticks > 0; ticks--) {
      const buffer = this.tick();
      if (this.tryTake(buffer)) return buffer;
      if (dirtyVictims.length >= DIRTY_VICTIMS_MAX) return DIRTY_VICTIMS;
    }
    // Other backends move the hand too, so ours may have missed the same buffers every time.
    for (let visits = this.region.count * CLOCK_ROUNDS_MAX; visits > 0; visits--) {
      if (this.tryTake(visits % this.region.count)) return visits % this.region.count;
    }
    if (dirtyVictims.length > 0) return DIRTY_VICTIMS;
    if (this.noteWrites()) return DIRTY_VICTIMS;
    return failAllPinned(this.words, this.region, this.pins.buffersPinned);
  }

  /** The ring's next buffer if only the ring has used it since, or else a victim that takes its place there. */
  private takeFromRing(strategy: BufferStrategy): number {
    const buffer = strategy.advance();
    this.reusedRing = buffer >= 0 && this.tryReuse(buffer);
    if (this.reusedRing) return buffer;
    // A scan leaves dirty pages to others; who makes pages dirty writes them in the end, its own first.
    const own = strategy.kind === 'bulkread' ? [] : this.dirtyAmong(strategy, buffer);
    const victim = own.length > 0 ? DIRTY_VICTIMS : this.takeVictim();
    if (own.length > 0) this.dirtyVictims = own;
    if (victim < 0) strategy.retreat();
    else strategy.replace(victim);
    return victim;
  }

  /** The ring's next buffers that could be taken if they were clean, if the first is one. */
  private dirtyAmong(strategy: BufferStrategy, first: number): number[] {
    if (first < 0 || !this.isDirtyVictim(first, USAGE_ONE)) return [];
    return strategy.following(DIRTY_VICTIMS_MAX).filter((buffer) => this.isDirtyVictim(buffer, USAGE_ONE));
  }

  /** Whether it could be taken if it were clean. */
  isDirtyVictim(buffer: number, usageLimit: number): boolean {
    const state = this.words.load(this.base(buffer) + STATE);
    return (
      (state & (DIRTY | TAG_VALID)) === (DIRTY | TAG_VALID) &&
      (state & PIN_MASK) === 0 &&
      (state & USAGE_MASK) <= usageLimit
    );
  }

  /** Nothing else is left: buffers that only a write of theirs has pinned. */
  private noteWrites(): boolean {
    const writing = VALID | IO_IN_PROGRESS;
    const { dirtyVictims } = this;
    for (let buffer = 0; buffer < this.region.count && dirtyVictims.length < DIRTY_VICTIMS_MAX; buffer++) {
      const state = this.words.load(this.base(buffer) + STATE);
      if ((state & writing) === writing && (state & PIN_MASK) === PIN_ONE) dirtyVictims.push(buffer);
    }
    return dirtyVictims.length > 0;
  }

  private tryReuse(buffer: number): boolean {
    const base = this.base(buffer);
    const state = this.array[base + STATE] as number; // validated by the swaps
    if ((state & PIN_MASK) !== 0 || (state & USAGE_MASK) > USAGE_ONE) return false;
    return (state & TAG_VALID) === 0
      ? this.tryTakeUntagged(buffer, base, state)
      : this.tryEvict(buffer, base, USAGE_ONE);
  }

  private tick(): number {
    if (this.handLeft === 0) {
      this.handPosition = (this.words.add(this.region.hand, this.clockRun) >>> 0) % this.region.count;
      this.handLeft = this.clockRun;
    }
    this.handLeft--;
    const buffer = this.handPosition;
    this.handPosition = buffer + 1 === this.region.count ? 0 : buffer + 1;
    return buffer;
  }

  /** One visit of the clock hand. */
  private tryTake(buffer: number): boolean {
    const base = this.base(buffer);
    let state = this.array[base + STATE] as number; // validated by the swaps
    for (;;) {
      if ((state & PIN_MASK) !== 0) return false;
      if ((state & USAGE_MASK) === 0) break;
      const seen = this.compareExchange(base + STATE, state, state - USAGE_ONE);
      if (seen === state) return false;
      state = seen;
    }
    if ((state & TAG_VALID) === 0) return this.tryTakeUntagged(buffer, base, state);
    if ((state & DIRTY) === 0) return this.tryEvict(buffer, base, 0);
    if (!this.dirtyVictims.includes(buffer)) this.dirtyVictims.push(buffer);
    return false;
  }

  private tryTakeUntagged(buffer: number, base: number, state: number): boolean {
    const { holdings } = this;
    if (this.compareExchange(base + STATE, state, PIN_ONE) !== state) return false;
    holdings[buffer] = Holding.PINNED;
    return true;
  }

  /** Takes the buffer out of its chain if nobody has pinned it. The tag is read again under the lock. */
  private tryEvict(buffer: number, base: number, usageLimit: number): boolean {
    const { array } = this;
    const bucket = array[base + BUCKET] as number; // checked again under the lock
    const lock = this.lockPartition(bucket);
    const state = this.words.load(base + STATE);
    const evictable =
      (state & (TAG_VALID | DIRTY)) === TAG_VALID &&
      (state & PIN_MASK) === 0 &&
      (state & USAGE_MASK) <= usageLimit &&
      array[base + BUCKET] === bucket;
    const taken = evictable && this.takeOut(bucket, buffer, base, state);
    this.unlockPartition(lock);
    if (taken) this.evictions++;
    return taken;
  }

  /** Takes an unpinned buffer out of its chain, under the lock, unless its state changes; then it has one pin, ours. */
  private takeOut(bucket: number, buffer: number, base: number, state: number): boolean {
    const { array, holdings } = this;
    if (this.compareExchange(base + STATE, state, PIN_ONE) !== state) return false;
    holdings[buffer] = Holding.PINNED;
    this.unlink(bucket, buffer);
    array[base + NEXT] = 0;
    return true;
  }

  private unlink(bucket: number, buffer: number): void {
    const { array } = this;
    const next = array[this.base(buffer) + NEXT] as number;
    if (array[bucket] === buffer + 1) {
      array[bucket] = next;
      return;
    }
    for (let link = array[bucket] as number; link !== 0;) {
      const base = this.base(link - 1);
      link = array[base + NEXT] as number;
      if (link === buffer + 1) {
        array[base + NEXT] = next;
        return;
      }
    }
    fail(`buffer ${buffer} is not in its chain`);
  }

  private lockPartition(bucket: number): number {
    const partition = ((bucket - this.buckets) >>> PARTITION_RUN_SHIFT) & (PARTITIONS - 1);
    const lock = this.region.locks + partition * CACHE_LINE_WORDS;
    lockSpin(this.slots, lock, this.slot);
    return lock;
  }

  private unlockPartition(lock: number): void {
    unlockSpin(this.slots, lock, this.slot);
  }

  // --- taking a block's buffer away --------------------------------------------------------------

  /** The buffer that a block has, not pinned; -1 when it has none. */
  find(tag: ForkTag, block: number): number {
    const { array } = this;
    const bucket = this.bucketOf(tag, block);
    const lock = this.lockPartition(bucket);
    let link = array[bucket] as number;
    while (link !== 0 && !this.isTagged(this.base(link - 1), tag, block))
      link = array[this.base(link - 1) + NEXT] as number;
    this.unlockPartition(lock);
    return link - 1;
  }

  /**
   * Takes the block's page out of the pool: PostgreSQL's InvalidateBuffer. True if the buffer does not hold it
   * any more, whoever did it; false if it may be pinned. While a page is read in, it is pinned.
   */
  tryInvalidate(buffer: number, tag: ForkTag, block: number): boolean {
    const base = this.base(buffer);
    const bucket = this.bucketOf(tag, block);
    const lock = this.lockPartition(bucket);
    const state = this.words.load(base + STATE);
    // A buffer gets this tag, and loses it, under this lock only.
    const holdsIt = (state & TAG_VALID) !== 0 && this.isTagged(base, tag, block);
    const taken = holdsIt && (state & PIN_MASK) === 0 && this.takeOut(bucket, buffer, base, state);
    this.unlockPartition(lock);
    if (taken) this.dropShared(buffer, base);
    return taken || !holdsIt;
  }

  private bucketOf(tag: ForkTag, block: number): number {
    return this.buckets + ((block + tag.hashBase) & this.bucketMask);
  }
  /** Other slots that have the buffer pinned, as far as that can be seen while they live: for messages. */
  otherHolders(buffer: number): number[] {
    return otherHolders(this.slots, this.region, this.slot, buffer);
  }
}
