/**
 * A file or directory of a simulated disk: what programs see, and what would be left after a loss of power.
 *
 *   write, cut ─▶ bytes, and a pending write or cut ─▶ sync ─▶ durable
 *   create, link, rename, unlink ─▶ entries, and a pending change ─▶ sync of the directory ─▶ durable entries
 */
import type { Random } from './random.js';

/** What a disk writes whole or not at all, in bytes. */
export const SECTOR_SIZE = 512;

interface PendingWrite {
  readonly start: number;
  /** Null: the file was cut there. */
  readonly bytes: Uint8Array | null;
  /** When it was made. */
  readonly time: number;
}

interface PendingChange {
  readonly name: string;
  /** Null: the name is removed. */
  readonly inode: Inode | null;
  /** Comes with the change before, or neither does: a rename is two. */
  readonly withPrevious: boolean;
}

/** How much of what was not synced a loss of power leaves: nothing, all, any sectors, or what was written first. */
export type Leftovers = 'none' | 'all' | 'any' | 'first';

class Content {
  bytes: Uint8Array = new Uint8Array(0);
  size = 0;

  write(start: number, bytes: Uint8Array): void {
    const end = start + bytes.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, 2 * this.bytes.length));
      grown.set(this.bytes);
      this.bytes = grown;
    }
    this.bytes.set(bytes, start);
    this.size = Math.max(this.size, end);
  }

  /** Cut off, or grown by zeroes. */
  resize(size: number): void {
    if (size < this.size) this.bytes.fill(0, size);
    else this.write(size, new Uint8Array(0));
    this.size = size;
  }

  clear(): void {
    this.bytes = new Uint8Array(0);
    this.size = 0;
  }

  copyFrom(other: Content): void {
    this.bytes = other.bytes.slice();
    this.size = other.size;
  }
}

export class Inode {
  readonly number: number;
  readonly isDirectory: boolean;
  readonly content: Content = new Content();
  readonly entries: Map<string, Inode> = new Map();
  readonly #durable = new Content();
  readonly #durableEntries = new Map<string, Inode>();
  #writes: PendingWrite[] = [];
  #changes: PendingChange[] = [];
  /** What was seen and what is durable differ, and no write says so any more: a sync has failed. */
  #isForgotten = false;

  constructor(number: number, isDirectory: boolean) {
    this.number = number;
    this.isDirectory = isDirectory;
  }

  // --- files -------------------------------------------------------------------------------------

  write(start: number, bytes: Uint8Array, time: number): void {
    const copy = bytes.slice();
    this.content.write(start, copy);
    this.#writes.push({ start, bytes: copy, time });
  }

  resize(size: number, time: number): void {
    this.content.resize(size);
    this.#writes.push({ start: size, bytes: null, time });
  }

  /** Of a file that is written anew. A journal makes it durable at once. */
  truncate(): void {
    this.content.clear();
    this.#durable.clear();
    this.#writes = [];
  }

  // --- directories -------------------------------------------------------------------------------

  change(name: string, inode: Inode | null, withPrevious = false): void {
    if (inode === null) this.entries.delete(name);
    else this.entries.set(name, inode);
    this.#changes.push({ name, inode, withPrevious });
  }

  // --- syncing -----------------------------------------------------------------------------------

  /** Makes durable what was written up to `time`, and lies in a range if there is one. */
  sync(time: number, start = 0, end: number = Infinity): void {
    const left: PendingWrite[] = [];
    for (const write of this.#writes) {
      if (write.time <= time && isWithin(write, start, end)) apply(this.#durable, write);
      else left.push(write);
    }
    this.#writes = left;
    for (const { name, inode } of this.#changes) this.#makeDurable(name, inode);
    this.#changes = [];
  }

  /** A sync has failed: what was written counts as clean, and the disk does not have it. A journal keeps sizes. */
  forget(): void {
    if (this.#writes.length > 0) this.#isForgotten = true;
    this.#writes = this.#writes.filter(({ bytes }) => bytes === null);
  }

  #makeDurable(name: string, inode: Inode | null): void {
    if (inode === null) this.#durableEntries.delete(name);
    else this.#durableEntries.set(name, inode);
  }

  /** Whether a loss of power would change what is seen. */
  get isUnsettled(): boolean {
    return this.#isForgotten || this.#writes.length > 0 || this.#changes.length > 0;
  }

  // --- a loss of power ---------------------------------------------------------------------------

  losePower(random: Random, leftovers: Leftovers): void {
    if (this.isDirectory) {
      this.#loseChanges(random, leftovers);
      this.entries.clear();
      for (const [name, inode] of this.#durableEntries) this.entries.set(name, inode);
    } else {
      this.#loseSectors(random, leftovers);
      this.content.copyFrom(this.#durable);
    }
    this.#writes = [];
    this.#changes = [];
    this.#isForgotten = false;
  }

  #loseChanges(random: Random, leftovers: Leftovers): void {
    const first = leftovers === 'first' ? random.below(this.#changes.length + 1) : Infinity;
    let isKept = false;
    this.#changes.forEach(({ name, inode, withPrevious }, at) => {
      if (!withPrevious)
        isKept = leftovers === 'any' ? random.chance(0.5) : leftovers !== 'none' && at < first;
      if (isKept) this.#makeDurable(name, inode);
    });
  }

  /** A sector is left as it was after any of its writes, or before all; but not as before a cut that is left. */
  #loseSectors(random: Random, leftovers: Leftovers): void {
    if (leftovers === 'none') return;
    const first = leftovers === 'first' ? random.below(this.#writes.length + 1) : this.#writes.length;
    let kept: PendingWrite[] = [];
    this.#writes.slice(0, first).forEach((write, at) => {
      const { start, bytes, time } = write;
      if (bytes === null) {
        if (leftovers === 'any' && random.chance(0.5)) return;
        this.#keepSectors(kept, random, leftovers);
        kept = [];
        apply(this.#durable, write);
      } else if (leftovers === 'first' && at === first - 1) {
        const end = start + random.below(bytes.length + 1);
        const whole = Math.ceil(end / SECTOR_SIZE) * SECTOR_SIZE;
        kept.push({ start, bytes: bytes.subarray(0, end === start ? 0 : whole - start), time });
      } else kept.push(write);
    });
    this.#keepSectors(kept, random, leftovers);
  }

  #keepSectors(writes: readonly PendingWrite[], random: Random, leftovers: Leftovers): void {
    const pieces = new Map<number, { from: number; bytes: Uint8Array }[]>();
    for (const { start, bytes } of writes) {
      if (bytes === null) continue;
      const end = start + bytes.length;
      for (let sector = Math.floor(start / SECTOR_SIZE); sector * SECTOR_SIZE < end; sector++) {
        const from = Math.max(start, sector * SECTOR_SIZE);
        const to = Math.min(end, (sector + 1) * SECTOR_SIZE);
        const versions = pieces.get(sector) ?? [];
        pieces.set(sector, versions);
        versions.push({ from, bytes: bytes.subarray(from - start, to - start) });
      }
    }
    for (const versions of pieces.values()) {
      const kept = leftovers === 'any' ? random.below(versions.length + 1) : versions.length;
      for (const version of versions.slice(0, kept)) this.#durable.write(version.from, version.bytes);
    }
  }
}

function isWithin({ start, bytes }: PendingWrite, from: number, to: number): boolean {
  return bytes === null ? to === Infinity : start < to && start + bytes.length > from;
}

function apply(content: Content, { start, bytes }: PendingWrite): void {
  if (bytes === null) content.resize(start);
  else content.write(start, bytes);
}
