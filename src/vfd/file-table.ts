/**
 * The file table: which file an I/O is on, for threads that have no descriptor of it. Bounded, in shared
 * memory. An entry names a path, how it was opened, and which file that was (device and inode): so a file
 * that was renamed or replaced meanwhile is never read in its stead.
 *
 * Entries are counted: a slot that uses an entry has one shared reference to it. How many users those are,
 * each open virtual descriptor and each I/O in flight (the file may be closed meanwhile), is the thread's own
 * business: staging and reclaiming both run in the issuer, so that an I/O costs no atomic operation here. An
 * entry without references may be made into another file's; its generation rises.
 *
 * Who writes: `references` any thread (atomic; from 0 to 1 only under `lock`); everything else the holder
 * of `lock` while the entry has no references, published by storing the reference. `epoch` any thread
 * (atomic): raised when the file is unlinked or truncated, so that descriptor caches look again. `syncFailures`
 * likewise, by whoever completes an fsync that failed, before anybody syncs by the same descriptor again. A slot's
 * bit for an entry says that the slot has a reference: its own thread, and the supervisor once that has
 * ended. The bit is plain, and stands directly behind the operation that takes or drops the reference, or
 * with it in the critical section: a thread ends between calls' entries only (see shmem/slots.ts).
 */
import { fail } from '../base/assert.js';
import { CACHE_LINE_WORDS, declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';
import type { SharedWords } from '../shmem/words.js';

/** Length word and UTF-8 bytes; a file with a longer path is read by its issuer only. */
const PATH_WORDS = 257;
const PATH_BYTES_MAX = (PATH_WORDS - 1) * 4;

/**
 * Entries that are looked at for the same file before a free one is taken. A file may therefore have two
 * entries when the table is crowded; each is right.
 */
const PROBES = 32;

const EntryLayout = declareLayout(
  'FileTableEntry',
  {
    references: 1,
    generation: 1,
    epoch: 1,
    syncFailures: 1,
    openFlags: 1,
    hash: 1,
    device: 2,
    inode: 2,
    path: PATH_WORDS,
  },
  CACHE_LINE_WORDS,
);
const AT = EntryLayout.at;

/** Stands for no entry: I/O on such a file runs in its issuer. */
export const NO_ENTRY = -1;

export interface FileIdentity {
  readonly path: string;
  /** Flags of open(2). */
  readonly openFlags: number;
  readonly device: bigint;
  readonly inode: bigint;
}

export interface FileTableRegion {
  readonly lock: number;
  readonly entries: number;
  /** A bit for each entry, for each slot. */
  readonly holders: number;
  readonly count: number;
}

export class FileTable {
  readonly #slots: Slots;
  readonly #words: SharedWords;
  readonly #slot: number;
  readonly #region: FileTableRegion;
  /** First word of this slot's bits. */
  readonly #held: number;
  /** Users in this thread, by entry. */
  readonly #users: Int32Array;

  static plan(plan: SegmentPlan, slotCount: number, count: number): FileTableRegion {
    const lock = plan.reserve('file table lock', 1);
    const entries = plan.reserve('file table', count * EntryLayout.words);
    const holders = plan.reserve('file table holders', slotCount * bitWords(count));
    return { lock, entries, holders, count };
  }

  constructor(slots: Slots, slot: number, region: FileTableRegion) {
    this.#slots = slots;
    this.#words = slots.words;
    this.#slot = slot;
    this.#region = region;
    this.#held = region.holders + slot * bitWords(region.count);
    this.#users = new Int32Array(region.count);
  }

  #base(entry: number): number {
    return this.#region.entries + entry * EntryLayout.words;
  }

  /** Finds or makes an entry, with this thread as a user. -1: the table is full, or the path too long for it. */
  acquire(file: FileIdentity): number {
    if (Buffer.byteLength(file.path) > PATH_BYTES_MAX) return -1;
    const hash = hashOf(file);
    lockSpin(this.#slots, this.#region.lock, this.#slot);
    try {
      const { count } = this.#region;
      let free = -1;
      for (let probe = 0; probe < count && (free < 0 || probe < PROBES); probe++) {
        const entry = ((hash >>> 0) + probe) % count;
        const base = this.#base(entry);
        if (this.#words.load(base + AT.references) === 0) {
          if (free < 0) free = entry;
        } else if (
          this.#words.get(base + AT.hash) === hash &&
          this.#holds(entry, file) &&
          this.tryHold(entry)
        ) {
          return entry;
        }
      }
      if (free >= 0) {
        this.#fill(free, file, hash);
        this.#words.array[this.#held + (free >>> 5)]! |= 1 << (free & 31);
        this.#users[free] = 1;
      }
      return free;
    } finally {
      unlockSpin(this.#slots, this.#region.lock, this.#slot);
    }
  }

  #holds(entry: number, file: FileIdentity): boolean {
    const found = this.identity(entry);
    return (
      found.inode === file.inode &&
      found.device === file.device &&
      found.openFlags === file.openFlags &&
      found.path === file.path
    );
  }

  #fill(entry: number, file: FileIdentity, hash: number): void {
    const words = this.#words;
    const base = this.#base(entry);
    words.store(base + AT.generation, (words.get(base + AT.generation) + 1) | 0);
    words.set(base + AT.openFlags, file.openFlags);
    words.set(base + AT.hash, hash);
    setBig(words, base + AT.device, file.device);
    setBig(words, base + AT.inode, file.inode);
    words.setText(base + AT.path, PATH_WORDS, file.path);
    words.store(base + AT.references, 1); // publishes the entry
  }

  /** One more use of an entry that has users, in whichever thread. */
  tryHold(entry: number): boolean {
    const users = this.#users[entry] as number;
    if (users === 0 && !this.#tryReference(entry)) return false;
    this.#users[entry] = users + 1;
    return true;
  }

  #tryReference(entry: number): boolean {
    const { array } = this.#words;
    const word = this.#base(entry) + AT.references;
    const bits = this.#held + (entry >>> 5);
    let count = this.#words.load(word);
    while (count > 0) {
      const seen = this.#words.compareExchange(word, count, count + 1);
      if (seen === count) {
        array[bits]! |= 1 << (entry & 31);
        return true;
      }
      count = seen;
    }
    return false;
  }

  /** One more use of an entry that this thread uses. */
  hold(entry: number): void {
    if (entry !== NO_ENTRY) this.#users[entry] = (this.#users[entry] as number) + 1;
  }

  /** One use less; with the last one this slot's reference goes back. */
  release(entry: number): void {
    if (entry === NO_ENTRY) return;
    const left = (this.#users[entry] as number) - 1;
    if (left < 0) fail(`entry ${entry} of the file table is not in use`);
    this.#users[entry] = left;
    if (left === 0) this.#dropReference(this.#held, entry);
  }

  #dropReference(held: number, entry: number): void {
    const { array } = this.#words;
    const bits = held + (entry >>> 5);
    this.#words.sub(this.#base(entry) + AT.references, 1);
    array[bits]! &= ~(1 << (entry & 31));
  }

  /** For the supervisor: gives back the references of a backend whose thread has ended, once its I/O is over. */
  releaseOf(dead: number): void {
    const held = this.#region.holders + dead * bitWords(this.#region.count);
    for (let entry = 0; entry < this.#region.count; entry++) {
      if (((this.#words.get(held + (entry >>> 5)) >>> (entry & 31)) & 1) !== 0)
        this.#dropReference(held, entry);
    }
  }

  generation(entry: number): number {
    return this.#words.load(this.#base(entry) + AT.generation);
  }

  epoch(entry: number): number {
    return this.#words.load(this.#base(entry) + AT.epoch);
  }

  /** How often an fsync has failed, of whatever was this entry's file: to be compared. */
  syncFailures(entry: number): number {
    return entry === NO_ENTRY ? 0 : this.#words.load(this.#base(entry) + AT.syncFailures);
  }

  /** An fsync of the entry's file has failed: everybody who has that open is to know, however they opened it. */
  raiseSyncFailures(entry: number): void {
    if (entry === NO_ENTRY) return;
    const { device, inode } = this.identity(entry);
    this.#ofFile(device, inode, (base) => this.#words.add(base + AT.syncFailures, 1));
  }

  /** The file was unlinked or truncated: cached descriptors must not be trusted. */
  raiseEpoch(entry: number): void {
    this.#words.add(this.#base(entry) + AT.epoch, 1);
  }

  /**
   * The same for every entry of a file, however it was opened. Call it after the deed: who looks before opens
   * again afterwards. Takes no lock: the epoch of an entry that is being made another file's may be raised
   * too, which costs its users one more look.
   */
  raiseEpochsOf(device: bigint, inode: bigint): void {
    this.#ofFile(device, inode, (base) => this.#words.add(base + AT.epoch, 1));
  }

  #ofFile(device: bigint, inode: bigint, raise: (base: number) => void): void {
    for (let entry = 0; entry < this.#region.count; entry++) {
      const base = this.#base(entry);
      if (getBig(this.#words, base + AT.inode) === inode && getBig(this.#words, base + AT.device) === device)
        raise(base);
    }
  }

  /** Stable while the caller uses the entry, or an I/O in flight does. */
  identity(entry: number): FileIdentity {
    const base = this.#base(entry);
    return {
      path: this.#words.getText(base + AT.path),
      openFlags: this.#words.get(base + AT.openFlags),
      device: getBig(this.#words, base + AT.device),
      inode: getBig(this.#words, base + AT.inode),
    };
  }

  /** Entries in use, for tests. */
  get entriesInUse(): number {
    let used = 0;
    for (let entry = 0; entry < this.#region.count; entry++) {
      if (this.#words.load(this.#base(entry) + AT.references) > 0) used++;
    }
    return used;
  }
}

/** A bit for each entry. */
function bitWords(entries: number): number {
  return Math.ceil(entries / 32);
}

function hashOf(file: FileIdentity): number {
  let hash = Number(BigInt.asIntN(32, file.inode));
  for (let index = 0; index < file.path.length; index++)
    hash = Math.imul(hash ^ file.path.charCodeAt(index), 0x0100_0193);
  return hash;
}

/** Inode numbers use all 64 bits on some file systems. Files are opened seldom, so BigInt is no burden here. */
function setBig(words: SharedWords, index: number, value: bigint): void {
  words.set(index, Number(BigInt.asIntN(32, value)));
  words.set(index + 1, Number(BigInt.asIntN(32, value >> 32n)));
}

function getBig(words: SharedWords, index: number): bigint {
  return (
    BigInt.asUintN(32, BigInt(words.get(index))) | (BigInt.asUintN(32, BigInt(words.get(index + 1))) << 32n)
  );
}
