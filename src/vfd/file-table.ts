/**
 * The file table: which file an I/O is on, for threads that have no descriptor of it. Bounded, in shared
 * memory. An entry names a path, how it was opened, and which file that was (device and inode): so a file
 * that was renamed or replaced meanwhile is never read in its stead.
 *
 * Entries are counted: each open virtual descriptor holds one reference, each I/O in flight another. An
 * entry without references may be made into another file's; its generation rises.
 *
 * Who writes: `references` any thread (atomic; from 0 to 1 only under `lock`); everything else the holder
 * of `lock` while the entry has no references, published by storing the reference. `epoch` any thread
 * (atomic): raised when the file is unlinked or truncated, so that descriptor caches look again.
 */
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
  { references: 1, generation: 1, epoch: 1, openFlags: 1, hash: 1, device: 2, inode: 2, path: PATH_WORDS },
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
  readonly count: number;
}

export class FileTable {
  readonly #slots: Slots;
  readonly #words: SharedWords;
  readonly #slot: number;
  readonly #region: FileTableRegion;

  static plan(plan: SegmentPlan, count: number): FileTableRegion {
    const lock = plan.reserve('file table lock', 1);
    return { lock, entries: plan.reserve('file table', count * EntryLayout.words), count };
  }

  constructor(slots: Slots, slot: number, region: FileTableRegion) {
    this.#slots = slots;
    this.#words = slots.words;
    this.#slot = slot;
    this.#region = region;
  }

  /** How many entries there are. */
  get size(): number {
    return this.#region.count;
  }

  #base(entry: number): number {
    return this.#region.entries + entry * EntryLayout.words;
  }

  /** Finds or makes an entry and takes a reference. -1: the table is full, or the path too long for it. */
  acquire(file: FileIdentity): number {
    if (Buffer.byteLength(file.path) > PATH_BYTES_MAX) return -1;
    const hash = hashOf(file);
    this.#slots.enterCritical(this.#slot);
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
          this.tryReference(entry)
        ) {
          return entry;
        }
      }
      if (free >= 0) this.#fill(free, file, hash);
      return free;
    } finally {
      unlockSpin(this.#slots, this.#region.lock);
      this.#slots.leaveCritical(this.#slot);
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

  /** One more reference to an entry that has some. */
  tryReference(entry: number): boolean {
    const word = this.#base(entry) + AT.references;
    let count = this.#words.load(word);
    while (count > 0) {
      const seen = this.#words.compareExchange(word, count, count + 1);
      if (seen === count) return true;
      count = seen;
    }
    return false;
  }

  release(entry: number): void {
    this.#words.sub(this.#base(entry) + AT.references, 1);
  }

  generation(entry: number): number {
    return this.#words.load(this.#base(entry) + AT.generation);
  }

  epoch(entry: number): number {
    return this.#words.load(this.#base(entry) + AT.epoch);
  }

  /** The file was unlinked or truncated: cached descriptors must not be trusted. */
  raiseEpoch(entry: number): void {
    this.#words.add(this.#base(entry) + AT.epoch, 1);
  }

  /** Stable while the caller holds a reference, or an I/O in flight does. */
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
