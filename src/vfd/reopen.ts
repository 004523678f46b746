/**
 * Descriptors for I/O of other threads: what an I/O worker uses. A small cache by file table entry, with
 * the entry's generation and epoch, so that neither a recycled entry nor an unlinked file is served from it.
 */
import { constants } from 'node:os';
import type { IoHandle } from '../aio/handle.js';
import { NO_ENTRY } from './file-table.js';
import type { VfdCache } from './vfd.js';

const { ENOENT } = constants.errno;
/** Kept open per thread; beyond that, the one that was opened first is closed. */
const CACHE_MAX = 256;

interface Reopened {
  generation: number;
  epoch: number;
  fd: number;
}

export class ReopenCache {
  readonly #vfds: VfdCache;
  readonly #onOpen: () => void;
  /** In the order in which they were opened, which is how a Map iterates: a hit costs no more than the look. */
  readonly #byEntry = new Map<number, Reopened>();

  constructor(vfds: VfdCache, onOpen: () => void) {
    this.#vfds = vfds;
    this.#onOpen = onOpen;
  }

  /** A descriptor of this thread for the file of an I/O in flight, or -errno. */
  reopen(io: IoHandle, entry: number, generation: number): number {
    const { table } = this.#vfds;
    if (entry === NO_ENTRY) return -ENOENT; // only its issuer could, and that has ended
    if (table.generation(entry) !== generation) return -ENOENT; // cannot happen while the I/O holds a reference
    const epoch = table.epoch(entry);
    const cached = this.#byEntry.get(entry);
    if (cached !== undefined) {
      if (cached.generation === generation && cached.epoch === epoch) return cached.fd;
      this.#drop(entry, cached);
    }
    const fd = this.#open(io, entry);
    if (fd >= 0) this.#remember(entry, { generation, epoch, fd });
    return fd;
  }

  /**
   * By path; if that is another file by now or none, through the issuer's own descriptor, which names the
   * right file as long as it is open (checked again: the number may have been used for another).
   */
  #open(io: IoHandle, entry: number): number {
    const { path, openFlags, device, inode } = this.#vfds.table.identity(entry);
    this.#onOpen();
    const fd = this.#openWithRoom(path, openFlags, device, inode);
    if (fd !== -ENOENT) return fd;
    return this.#openWithRoom(`/proc/self/fd/${io.fd}`, openFlags, device, inode);
  }

  #openWithRoom(path: string, flags: number, device: bigint, inode: bigint): number {
    for (;;) {
      const fd = this.#vfds.openVerified(path, flags, device, inode);
      const full = fd === -constants.errno.EMFILE || fd === -constants.errno.ENFILE;
      if (!full || !this.#dropOldest()) return fd;
    }
  }

  #remember(entry: number, reopened: Reopened): void {
    if (this.#byEntry.size >= CACHE_MAX) this.#dropOldest();
    const other = this.#byEntry.get(entry); // making room for this descriptor may have opened it, too
    if (other !== undefined) this.#drop(entry, other);
    this.#byEntry.set(entry, reopened);
  }

  #dropOldest(): boolean {
    for (const [entry, reopened] of this.#byEntry) {
      this.#drop(entry, reopened);
      return true;
    }
    return false;
  }

  #drop(entry: number, reopened: Reopened): void {
    this.#byEntry.delete(entry);
    this.#vfds.closeReopened(reopened.fd);
  }

  close(): void {
    while (this.#dropOldest());
  }
}
