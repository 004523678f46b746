/**
 * Checksum failures by database, as PostgreSQL's pg_stat_database has them: how many pages, and when the last was met.
 * Counted by the issuer of a read when it reclaims the handle, so once for each page of each read, whoever completed
 * it; not at all, if the issuer's thread ends before.
 *
 * Who writes: the holder of `lock`. Failures are few; readers take the lock, too, for as long as it takes to copy the
 * table. A full table counts on, in its last entry: how many, but not whose.
 */
import { declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';

const ENTRIES = 256;
const Entry = declareLayout('ChecksumFailures', {
  used: 1,
  directory: 1,
  database: 1,
  failures: 2,
  /** Milliseconds since 1970. */
  lastFailure: 2,
});

export interface ChecksumFailureRegion {
  readonly lock: number;
  readonly entries: number;
}

export interface ChecksumFailures {
  /** Number of the data directory; with `database`, -1 for all that had no room in the table any more. */
  readonly directory: number;
  /** OID; 0: relations that all databases of the cluster share. */
  readonly database: number;
  readonly failures: number;
  readonly lastFailure: Date;
}

export class ChecksumFailureTable {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: ChecksumFailureRegion;

  static plan(plan: SegmentPlan): ChecksumFailureRegion {
    const lock = plan.reserve('checksum failure lock', 1);
    return { lock, entries: plan.reserve('checksum failures', ENTRIES * Entry.words) };
  }

  constructor(slots: Slots, slot: number, region: ChecksumFailureRegion) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
  }

  add(directory: number, database: number, failures: number): void {
    const now = Date.now();
    this.#locked(() => {
      const { words } = this.#slots;
      const entry = this.#find(directory, database) ?? this.#others();
      words.addWide(entry + Entry.at.failures, failures);
      words.setWide(entry + Entry.at.lastFailure, now);
    });
  }

  /** The entry, made if there is room; null if not. */
  #find(directory: number, database: number): number | null {
    const { words } = this.#slots;
    const { at } = Entry;
    for (let entry = this.#region.entries; entry < this.#last; entry += Entry.words) {
      if (words.get(entry + at.used) === 0) return this.#make(entry, directory, database);
      if (words.get(entry + at.directory) === directory && words.get(entry + at.database) === database)
        return entry;
    }
    return null;
  }

  /** The last entry is kept for what has no room. */
  get #last(): number {
    return this.#region.entries + (ENTRIES - 1) * Entry.words;
  }

  #others(): number {
    return this.#make(this.#last, -1, -1);
  }

  #make(entry: number, directory: number, database: number): number {
    const { words } = this.#slots;
    words.set(entry + Entry.at.directory, directory);
    words.set(entry + Entry.at.database, database);
    words.set(entry + Entry.at.used, 1);
    return entry;
  }

  /** In the order in which each was first met. */
  list(): ChecksumFailures[] {
    const { entries } = this.#region;
    // Only this is done in a critical section: who ends while it makes rows has not torn anything.
    const copy = this.#locked(() => this.#slots.words.array.slice(entries, entries + ENTRIES * Entry.words));
    const rows: ChecksumFailures[] = [];
    for (let entry = 0; entry < copy.length; entry += Entry.words) {
      const row = copy.subarray(entry, entry + Entry.words);
      if (row[Entry.at.used] !== 0) rows.push(rowOf(row));
    }
    return rows;
  }

  #locked<T>(work: () => T): T {
    lockSpin(this.#slots, this.#region.lock, this.#slot);
    try {
      return work();
    } finally {
      unlockSpin(this.#slots, this.#region.lock, this.#slot);
    }
  }
}

function rowOf(row: Int32Array): ChecksumFailures {
  const { at } = Entry;
  const [directory, database] = [row[at.directory] as number, row[at.database] as number];
  return {
    directory,
    database: directory === -1 ? -1 : database >>> 0,
    failures: wideOf(row, at.failures),
    lastFailure: new Date(wideOf(row, at.lastFailure)),
  };
}

/** As SharedWords.getWide has it. */
function wideOf(row: Int32Array, at: number): number {
  return ((row[at] as number) >>> 0) + ((row[at + 1] as number) >>> 0) * 0x1_0000_0000;
}
