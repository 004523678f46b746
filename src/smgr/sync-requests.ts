/**
 * Files that were written and not synchronized to disk yet, in shared memory: PostgreSQL's sync.c, with the queue by
 * which it hands requests to its checkpointer. A bounded table: an entry is one segment file of a relation.
 *
 *   requested ≠ synced   something was written since the last fsync began
 *   failed               errno of an fsync; it stays: the kernel drops what it could not write, and says so once
 *
 * A write reserves its file's entry before it starts and raises `requested` when it is over, before its buffers are clean
 * (in whichever thread completes it): so whoever finds them clean finds the request. An fsync takes note of `requested`
 * before it starts; what is raised meanwhile asks for another. One fsync runs on an entry at a time, or its failure
 * could be told to one and hidden from the other.
 *
 * Who writes: `requested`, `synced` and `failed` completers (`requested` by adding; the others only the completer of
 * the entry's one fsync); all else the holder of `lock`. An entry is used by others if a reservation names it, or an
 * fsync: both name an I/O with its generation, so they end with it, also when its owner has died. A failed file keeps
 * its entry until it is removed.
 */
import { isFromFsync } from '../base/system-errors.js';
import type { HandleTable, IoHandle } from '../aio/handle.js';
import { CACHE_LINE_WORDS, declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';
import type { RelationLocator } from './relation.js';
import { SmgrWord } from './smgr-target.js';

const EntryLayout = declareLayout(
  'SyncRequest',
  {
    /** FREE ends a search, REMOVED does not. */
    status: 1,
    generation: 1,
    directory: 1,
    tablespace: 1,
    database: 1,
    relation: 1,
    fork: 1,
    segment: 1,
    requested: 1,
    synced: 1,
    failed: 1,
    /** The fsync that runs, or ran last; the handle's number plus one. */
    ioHandle: 1,
    ioGeneration: 1,
  },
  CACHE_LINE_WORDS,
);
const AT = EntryLayout.at;
const Status = { FREE: 0, USED: 1, REMOVED: 2 } as const;
const RESERVATION_WORDS = 2;
const NONE = -1;

export interface SyncRequestRegion {
  readonly lock: number;
  readonly entries: number;
  readonly count: number;
  /** By handle: an entry plus one, and the generation of the I/O that reserved it. */
  readonly reservations: number;
}

/** A segment file. */
export interface SyncedFile {
  /** Number of its data directory. */
  readonly directory: number;
  readonly locator: RelationLocator;
  readonly fork: number;
  readonly segment: number;
}

/** A file to be synchronized: an entry that may be another's when it is looked at again. */
export interface SyncRequest extends SyncedFile {
  readonly entry: number;
  readonly generation: number;
}

/** What stands in the way of an fsync, if anything. */
export type SyncState =
  | { readonly is: 'begun' | 'done' | 'idle' }
  | { readonly is: 'failed'; readonly errno: number }
  | { readonly is: 'running'; readonly index: number; readonly generation: number };

export class SyncRequests {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: SyncRequestRegion;
  readonly #handles: HandleTable;

  static plan(plan: SegmentPlan, count: number, handles: number): SyncRequestRegion {
    return {
      lock: plan.reserve('sync request lock', CACHE_LINE_WORDS),
      entries: plan.reserve('sync requests', count * EntryLayout.words),
      count,
      reservations: plan.reserve('sync request reservations', handles * RESERVATION_WORDS),
    };
  }

  constructor(slots: Slots, slot: number, region: SyncRequestRegion, handles: HandleTable) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
    this.#handles = handles;
  }

  #base(entry: number): number {
    return this.#region.entries + entry * EntryLayout.words;
  }

  #locked<T>(body: () => T): T {
    lockSpin(this.#slots, this.#region.lock, this.#slot);
    try {
      return body();
    } finally {
      unlockSpin(this.#slots, this.#region.lock, this.#slot);
    }
  }

  // --- writers -----------------------------------------------------------------------------------

  /** For a handed-out handle that will write to the file. False: there is no room; see `requests`. */
  reserve(io: IoHandle, file: SyncedFile): boolean {
    return this.#locked(() => {
      const entry = this.#findOrMake(file);
      if (entry === NONE) return false;
      this.#reserveFor(io, entry);
      return true;
    });
  }

  #reserveFor(io: IoHandle, entry: number): void {
    const { words } = this.#slots;
    const place = this.#region.reservations + io.index * RESERVATION_WORDS;
    words.set(place, entry + 1);
    words.set(place + 1, io.generation);
  }

  /** The entry that an I/O has reserved, or -1: its issuer ended before that. */
  #entryOf(io: IoHandle): number {
    const { words } = this.#slots;
    const place = this.#region.reservations + io.index * RESERVATION_WORDS;
    return words.get(place + 1) === io.generation ? words.get(place) - 1 : NONE;
  }

  /** In the completer of a write, before its buffers are clean. */
  written(io: IoHandle): void {
    const entry = this.#entryOf(io);
    if (entry !== NONE) this.#slots.words.add(this.#base(entry) + AT.requested, 1);
  }

  /** Asks for an fsync of a file that was written otherwise. False: there is no room. */
  request(file: SyncedFile): boolean {
    return this.#locked(() => {
      const entry = this.#findOrMake(file);
      if (entry === NONE) return false;
      this.#slots.words.add(this.#base(entry) + AT.requested, 1);
      return true;
    });
  }

  #findOrMake(file: SyncedFile): number {
    const { words } = this.#slots;
    const { count } = this.#region;
    let room = NONE;
    for (let probe = 0; probe < count; probe++) {
      const entry = (hashOf(file) + probe) % count;
      const status = words.get(this.#base(entry) + AT.status);
      if (status === Status.USED) {
        if (this.#isFor(entry, file)) return entry;
        continue;
      }
      if (room === NONE) room = entry;
      if (status === Status.FREE) break;
    }
    if (room === NONE) room = this.#reclaim();
    if (room !== NONE) this.#fill(room, file);
    return room;
  }

  #isFor(entry: number, { directory, locator, fork, segment }: SyncedFile): boolean {
    const { words } = this.#slots;
    const base = this.#base(entry);
    return (
      words.get(base + AT.relation) === (locator.relation | 0) &&
      words.get(base + AT.segment) === segment &&
      words.get(base + AT.fork) === fork &&
      words.get(base + AT.database) === (locator.database | 0) &&
      words.get(base + AT.tablespace) === (locator.tablespace | 0) &&
      words.get(base + AT.directory) === directory
    );
  }

  #fill(entry: number, { directory, locator, fork, segment }: SyncedFile): void {
    const { words } = this.#slots;
    const base = this.#base(entry);
    words.set(base + AT.generation, (words.get(base + AT.generation) + 1) | 0);
    words.set(base + AT.directory, directory);
    words.set(base + AT.tablespace, locator.tablespace);
    words.set(base + AT.database, locator.database);
    words.set(base + AT.relation, locator.relation);
    words.set(base + AT.fork, fork);
    words.set(base + AT.segment, segment);
    words.set(base + AT.failed, 0);
    words.set(base + AT.ioHandle, 0);
    words.store(base + AT.synced, words.get(base + AT.requested));
    words.store(base + AT.status, Status.USED);
  }

  /** An entry that nobody needs any more; the others like it are free, too, from now on. */
  #reclaim(): number {
    const { words } = this.#slots;
    const reserved = this.#reserved();
    let found = NONE;
    for (let entry = 0; entry < this.#region.count; entry++) {
      const base = this.#base(entry);
      const needed = this.#isPending(entry) || words.get(base + AT.failed) !== 0 || this.#isRunning(entry);
      if (needed || reserved.has(entry)) continue;
      words.store(base + AT.status, Status.REMOVED);
      found = entry;
    }
    return found;
  }

  /** Entries of writes that are not over. What such a write did is in `requested` before it counts as over. */
  #reserved(): Set<number> {
    const { words } = this.#slots;
    const found = new Set<number>();
    for (let index = 0; index < this.#handles.region.count; index++) {
      const place = this.#region.reservations + index * RESERVATION_WORDS;
      const entry = words.get(place) - 1;
      if (entry >= 0 && !this.#handles.isDone(index, words.get(place + 1))) found.add(entry);
    }
    return found;
  }

  // --- whoever synchronizes ----------------------------------------------------------------------

  #isPending(entry: number): boolean {
    const { words } = this.#slots;
    const base = this.#base(entry);
    return words.load(base + AT.requested) !== words.load(base + AT.synced);
  }

  #isRunning(entry: number): boolean {
    const { words } = this.#slots;
    const base = this.#base(entry);
    const handle = words.get(base + AT.ioHandle) - 1;
    return handle >= 0 && !this.#handles.isDone(handle, words.get(base + AT.ioGeneration));
  }

  /** What is to be synchronized, files that have failed included. */
  requests(): SyncRequest[] {
    return this.#locked(() => {
      const { words } = this.#slots;
      const found: SyncRequest[] = [];
      for (let entry = 0; entry < this.#region.count; entry++) {
        const base = this.#base(entry);
        if (words.get(base + AT.status) !== Status.USED) continue;
        if (!this.#isPending(entry) && words.load(base + AT.failed) === 0) continue;
        found.push({ entry, generation: words.get(base + AT.generation), ...this.#fileOf(base) });
      }
      return found;
    });
  }

  #fileOf(base: number): SyncedFile {
    const { words } = this.#slots;
    return {
      directory: words.get(base + AT.directory),
      locator: {
        tablespace: words.get(base + AT.tablespace) >>> 0,
        database: words.get(base + AT.database) >>> 0,
        relation: words.get(base + AT.relation) >>> 0,
      },
      fork: words.get(base + AT.fork),
      segment: words.get(base + AT.segment),
    };
  }

  /** How a request stands. */
  state(request: SyncRequest): SyncState {
    return this.#locked(() => this.#stateOf(request));
  }

  /** Makes a handed-out handle the one that synchronizes the file, unless something stands in the way. */
  begin(request: SyncRequest, io: IoHandle): SyncState {
    return this.#locked(() => {
      const state = this.#stateOf(request);
      if (state.is !== 'idle') return state;
      const { words } = this.#slots;
      const base = this.#base(request.entry);
      words.set(base + AT.ioHandle, io.index + 1);
      words.set(base + AT.ioGeneration, io.generation);
      this.#reserveFor(io, request.entry);
      io.setTargetWord(SmgrWord.SYNC_GENERATION, request.generation);
      io.setTargetWord(SmgrWord.SYNC_REQUESTED, words.load(base + AT.requested));
      return { is: 'begun' };
    });
  }

  #stateOf({ entry, generation }: SyncRequest): SyncState {
    const { words } = this.#slots;
    const base = this.#base(entry);
    if (words.get(base + AT.status) !== Status.USED || words.get(base + AT.generation) !== generation)
      return { is: 'done' }; // its file was removed
    if (this.#isRunning(entry))
      return {
        is: 'running',
        index: words.get(base + AT.ioHandle) - 1,
        generation: words.get(base + AT.ioGeneration),
      };
    const errno = words.load(base + AT.failed);
    if (errno !== 0) return { is: 'failed', errno };
    return { is: this.#isPending(entry) ? 'idle' : 'done' };
  }

  /** In the completer of an fsync. */
  syncEnded(io: IoHandle, errno: number): void {
    const { words } = this.#slots;
    const entry = this.#entryOf(io);
    if (entry === NONE) return;
    const base = this.#base(entry);
    if (words.get(base + AT.generation) !== io.targetWord(SmgrWord.SYNC_GENERATION)) return;
    if (errno === 0) words.store(base + AT.synced, io.targetWord(SmgrWord.SYNC_REQUESTED));
    else if (isFromFsync(errno)) words.store(base + AT.failed, errno);
  }

  /** The files of a fork are gone. */
  forget(directory: number, locator: RelationLocator, fork: number): void {
    this.#locked(() => {
      const { words } = this.#slots;
      for (let entry = 0; entry < this.#region.count; entry++) {
        const base = this.#base(entry);
        if (words.get(base + AT.status) !== Status.USED) continue;
        const segment = words.get(base + AT.segment);
        if (!this.#isFor(entry, { directory, locator, fork, segment })) continue;
        words.store(base + AT.status, Status.REMOVED);
      }
    });
  }
}

function hashOf({ directory, locator, fork, segment }: SyncedFile): number {
  let hash = Math.imul(locator.relation, 0x9e37_79b1) ^ Math.imul(locator.database, 0x85eb_ca6b);
  hash ^= Math.imul(segment ^ (fork << 24) ^ (directory << 16), 0xc2b2_ae35);
  return (hash ^ (hash >>> 15)) >>> 0;
}
