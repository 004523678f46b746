/**
 * Virtual file descriptors: files stay open for their users while kernel descriptors are kept in a cache
 * of limited size, the least recently used closed first. PostgreSQL's fd.c.
 *
 * A kernel descriptor is opened, used and closed by one thread (Node closes what `fs.open` gave a thread
 * when that thread ends). What other threads need to read the same file is in the file table.
 */
import {
  closeSync,
  constants as fsConstants,
  fstatSync,
  openSync,
  statSync,
  type BigIntStats,
} from 'node:fs';
import { constants } from 'node:os';
import { errnoOf } from '../base/system-errors.js';
import { IoError, ReadFailedError } from '../base/errors.js';
import type { DescriptorBudget } from './budget.js';
import { NO_ENTRY, type FileTable } from './file-table.js';
import { reopenFlagsOf } from './open-flags.js';

const { EBADF, ENOENT, EMFILE, ENFILE, EINVAL } = constants.errno;
const CLOSED = -1;

export interface VfdHooks {
  /** Runs before a kernel descriptor is closed: submits what is staged on it, waits where that is needed. */
  beforeClose: (fd: number) => void;
}

export interface OpenOptions {
  /** Past the page cache. Position, length and memory must then be aligned. */
  direct?: boolean;
  /** For writing too; the file must exist. */
  write?: boolean;
  /** A write is over when its data is durable: O_DSYNC. */
  dataSync?: boolean;
}

/** A file that is open for this thread, whether or not a kernel descriptor is. */
export class Vfd {
  readonly path: string;
  readonly openFlags: number;
  readonly device: bigint;
  readonly inode: bigint;
  /** Index in the file table, of which this is a user, or NO_ENTRY. */
  readonly entry: number;
  readonly entryGeneration: number;
  /** Of the entry, when this file was opened. */
  readonly entryEpoch: number;
  fd: number;
  /** Position in the cache's order of use. */
  lastUse = 0;

  constructor(
    path: string,
    openFlags: number,
    fd: number,
    identity: { dev: bigint; ino: bigint },
    table: FileTable,
  ) {
    this.path = path;
    this.openFlags = openFlags;
    this.fd = fd;
    this.device = identity.dev;
    this.inode = identity.ino;
    this.entry = table.acquire({ path, openFlags, device: this.device, inode: this.inode });
    this.entryGeneration = this.entry === NO_ENTRY ? 0 : table.generation(this.entry);
    this.entryEpoch = this.entry === NO_ENTRY ? 0 : table.epoch(this.entry);
  }

  get direct(): boolean {
    return (this.openFlags & fsConstants.O_DIRECT) !== 0;
  }

  /** Writes go to the end of the file, wherever they were meant to go. */
  get appends(): boolean {
    return (this.openFlags & fsConstants.O_APPEND) !== 0;
  }
}

export class VfdCache {
  readonly hooks: VfdHooks = { beforeClose: () => undefined };
  readonly table: FileTable;
  readonly #budget: DescriptorBudget;
  /** Every virtual descriptor; those that have a kernel descriptor now. */
  readonly #all = new Set<Vfd>();
  readonly #open = new Set<Vfd>();
  #clock = 0;

  constructor(table: FileTable, budget: DescriptorBudget) {
    this.table = table;
    this.#budget = budget;
  }

  /** Opens a regular file for reading. Throws an IoError with the errno. */
  open(path: string, options: OpenOptions = {}): Vfd {
    const access = options.write === true ? fsConstants.O_RDWR : fsConstants.O_RDONLY;
    const flags =
      access |
      (options.direct === true ? fsConstants.O_DIRECT : 0) |
      (options.dataSync === true ? fsConstants.O_DSYNC : 0);
    return this.openWith(path, flags);
  }

  /** As `open`, with any flags of open(2), and the mode of a file that is made. */
  openWith(path: string, openFlags: number, mode?: number): Vfd {
    if (isPipe(path)) throw notAFile(path);
    const fd = this.openKernel(path, openFlags, mode);
    const flags = reopenFlagsOf(openFlags);
    if (fd < 0) throw openError(path, -fd, (flags & fsConstants.O_DIRECT) !== 0);
    let stat: BigIntStats;
    try {
      stat = fstatSync(fd, { bigint: true });
      if (!stat.isFile()) throw notAFile(path);
    } catch (error) {
      this.#closeKernel(fd);
      throw error;
    }
    const vfd = new Vfd(path, flags, fd, stat, this.table);
    vfd.lastUse = ++this.#clock;
    this.#all.add(vfd);
    this.#open.add(vfd);
    return vfd;
  }

  /** The kernel descriptor, opened again if the cache had closed it; -errno when that fails. */
  use(vfd: Vfd): number {
    vfd.lastUse = ++this.#clock;
    if (vfd.fd !== CLOSED) return vfd.fd;
    if (!this.#all.has(vfd)) return -EBADF; // closed for good
    vfd.fd = this.openVerified(vfd.path, vfd.openFlags, vfd.device, vfd.inode);
    if (vfd.fd >= 0) {
      this.#open.add(vfd);
      return vfd.fd;
    }
    const failure = vfd.fd;
    vfd.fd = CLOSED;
    return failure;
  }

  /** False: the file was unlinked or truncated since it was opened here. Not known of files without an entry. */
  isCurrent(vfd: Vfd): boolean {
    return vfd.entry === NO_ENTRY || this.table.epoch(vfd.entry) === vfd.entryEpoch;
  }

  /** As `use`, throwing. */
  useOrThrow(vfd: Vfd): number {
    const fd = this.use(vfd);
    if (fd < 0) throw openError(vfd.path, -fd, vfd.direct);
    return fd;
  }

  /** Closing again does nothing. */
  close(vfd: Vfd): void {
    if (!this.#all.delete(vfd)) return;
    this.#closeDescriptor(vfd);
    this.table.release(vfd.entry);
  }

  #closeDescriptor(vfd: Vfd): void {
    if (vfd.fd === CLOSED) return;
    this.hooks.beforeClose(vfd.fd);
    this.#open.delete(vfd);
    const { fd } = vfd;
    vfd.fd = CLOSED;
    this.#closeKernel(fd);
  }

  /** Closes every kernel descriptor; files stay open virtually. */
  closeDescriptors(): void {
    for (const vfd of this.#open) this.#closeDescriptor(vfd);
  }

  /** Closes every file, for a thread that leaves. */
  closeAll(): void {
    for (const vfd of this.#all) this.close(vfd);
  }

  /**
   * For a thread that leaves a crashed instance, where nobody can be waited for: what I/O may be in flight on
   * stays open until the thread ends.
   */
  closeIdle(isInFlight: (fd: number) => boolean): void {
    for (const vfd of this.#open) {
      const { fd } = vfd;
      if (isInFlight(fd)) continue;
      this.#open.delete(vfd);
      vfd.fd = CLOSED;
      this.#closeKernel(fd);
    }
  }

  #closeLeastRecentlyUsed(): boolean {
    let oldest: Vfd | undefined;
    for (const vfd of this.#open) if (oldest === undefined || vfd.lastUse < oldest.lastUse) oldest = vfd;
    if (oldest === undefined) return false;
    this.#closeDescriptor(oldest);
    return true;
  }

  /** open(2) under the budget; -errno when the kernel refuses. `mode` is that of a file that is created. */
  openKernel(path: string, flags: number, mode = 0o600): number {
    while (!this.#budget.tryTake()) {
      if (!this.#closeLeastRecentlyUsed()) return -EMFILE;
    }
    for (;;) {
      try {
        return openSync(path, flags, mode);
      } catch (error) {
        const errno = errnoOf(error, ENOENT);
        if ((errno === EMFILE || errno === ENFILE) && this.#closeLeastRecentlyUsed()) continue;
        this.#budget.giveBack();
        return -errno;
      }
    }
  }

  /** Opens `path` if it still is the same file; -ENOENT when it is another. */
  openVerified(path: string, flags: number, device: bigint, inode: bigint): number {
    if (isPipe(path)) return -ENOENT;
    const fd = this.openKernel(path, flags);
    if (fd < 0) return fd;
    let isSame = false;
    try {
      const stat = fstatSync(fd, { bigint: true });
      isSame = stat.dev === device && stat.ino === inode;
    } finally {
      if (!isSame) this.#closeKernel(fd);
    }
    return isSame ? fd : -ENOENT;
  }

  #closeKernel(fd: number): void {
    closeSync(fd);
    this.#budget.giveBack();
  }

  closeReopened(fd: number): void {
    this.#closeKernel(fd);
  }
}

/** Opening one would wait for somebody at its other end. What stat(2) cannot say of a path, open(2) does. */
function isPipe(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFIFO() === true;
  } catch {
    return false;
  }
}

function notAFile(path: string): IoError {
  return new IoError('ERR_PGAIO_NOT_A_FILE', `"${path}" is not a regular file`, { path });
}

function openError(path: string, errno: number, direct: boolean): IoError {
  if (errno === EINVAL && direct) {
    return new IoError('ERR_PGAIO_NO_DIRECT_IO', `the file system of "${path}" does not support O_DIRECT`, {
      path,
      errno,
      hint: 'Read it through the page cache.',
    });
  }
  return new ReadFailedError(`"${path}"`, { path, errno });
}
