/**
 * Checksum failures by database, as PostgreSQL's pg_stat_database has them: how many pages, and when the last was met.
 * Counted by the issuer of a read when it reclaims the handle, so once for each page of each read, whoever completed
 * it; not at all, if the issuer's thread ends before.
 *
 * Who writes: the holder of `lock`. Failures are few; readers take the lock, too.
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
    words.set(entry + Entry.at.used, 1);
    words.set(entry + Entry.at.directory, directory);
    words.set(entry + Entry.at.database, database);
    return entry;
  }

  /** In the order in which each was first met. */
  list(): ChecksumFailures[] {
    return this.#locked(() => {
      const { words } = this.#slots;
      const { at } = Entry;
      const rows: ChecksumFailures[] = [];
      for (let number = 0; number < ENTRIES; number++) {
        const entry = this.#region.entries + number * Entry.words;
        if (words.get(entry + at.used) === 0) continue;
        rows.push({
          directory: words.get(entry + at.directory),
          database: words.get(entry + at.directory) === -1 ? -1 : words.get(entry + at.database) >>> 0,
          failures: words.getWide(entry + at.failures),
          lastFailure: new Date(words.getWide(entry + at.lastFailure)),
        });
      }
      return rows;
    });
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
