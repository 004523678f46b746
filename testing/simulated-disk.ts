/**
 * A disk in memory, in place of `node:fs` for the paths under its root: it loses what was not synced, tears writes between
 * sectors, fails, fills up, and loses its power at a drawn call. Everything else goes to the real file system.
 *
 * Stricter than the file systems that there are: names are durable only when their directory was synced, in any order;
 * a sync covers what was written before it began, and no byte more; after one that failed, pages count as clean.
 */
import { constants as fsConstants } from 'node:fs';
import { dirname, basename, resolve } from 'node:path';
import { fsError, type FsCalls, type RealFs } from './fake-fs.js';
import type { Random } from './random.js';
import { Inode, SECTOR_SIZE, type Leftovers } from './simulated-inode.js';

export const DISK_ROOT = '/simulated-disk';
/** Far from any real descriptor. */
const FD_BASE = 1 << 20;
const { O_CREAT, O_TRUNC, O_EXCL, O_DSYNC } = fsConstants;
const O_ACCMODE = fsConstants.O_WRONLY | fsConstants.O_RDWR;

/** Thrown by each call once the power is gone. */
export class PowerLoss extends Error {
  constructor() {
    super('the power is gone');
  }
}

/** Probabilities at each call, and bytes until the disk is full. */
export interface DiskFaults {
  readError: number;
  shortWrite: number;
  writeError: number;
  syncError: number;
  /** Of syncs of relations, in its place. */
  relationSyncError: number;
  fullAfter: number;
}

export const NO_FAULTS: Readonly<DiskFaults> = {
  readError: 0,
  shortWrite: 0,
  writeError: 0,
  syncError: 0,
  relationSyncError: 0,
  fullAfter: Infinity,
};

interface OpenFile {
  readonly inode: Inode;
  readonly flags: number;
  readonly isOfRelation: boolean;
}

type DiskPath = string | URL | Buffer | number;

export class SimulatedDisk {
  faults: DiskFaults = { ...NO_FAULTS };
  /** Calls until the power is lost. */
  callsLeft: number = Infinity;
  isDown: boolean = false;
  /** Of data syncs: those of the WAL. */
  failedDataSyncs = 0;
  /** All that it refused, or did by half. */
  faultsGiven = 0;
  /** Before and after each call: where another thread may come in between. */
  onCall: () => void = () => undefined;
  /** The sync that is run now began then: what was written later is not covered. */
  syncBegan: number | null = null;
  /** Of the write that is run now, from this memory: what it has there was taken earlier. */
  taken: { readonly from: Uint8Array; readonly pieces: ReadonlyMap<number, Uint8Array> } | null = null;
  readonly #random: Random;
  readonly #root = new Inode(1, true);
  readonly #inodes: Inode[] = [this.#root];
  readonly #open = new Map<number, OpenFile>();
  #nextFd = FD_BASE;
  #time = 0;
  /** How often the disk says that it is full before somebody makes room. */
  #fullFor = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Counts writes. */
  get time(): number {
    return this.#time;
  }

  // --- power -------------------------------------------------------------------------------------

  /** A write that was in flight may have reached the disk in part: says so before `restart`. */
  scribble(path: string, start: number, bytes: Uint8Array): void {
    this.#find(path)?.write(start, bytes, ++this.#time);
  }

  /** After the end of all processes; `machine`: of everything that was not durable, too. */
  restart(end: 'machine' | 'process'): void {
    const leftovers = this.#random.pick<Leftovers>(['none', 'all', 'any', 'any', 'first']);
    if (end === 'machine')
      for (const inode of this.#inodes) if (inode.isUnsettled) inode.losePower(this.#random, leftovers);
    this.#open.clear();
    this.isDown = false;
    this.callsLeft = Infinity;
    this.syncBegan = null;
    this.taken = null;
    this.#fullFor = 0;
  }

  /** True: the power goes with this call. */
  #enter(): boolean {
    this.#checkPower();
    this.onCall();
    this.#checkPower();
    return --this.callsLeft <= 0;
  }

  #checkPower(): void {
    if (this.isDown) throw new PowerLoss();
  }

  #leave(dies: boolean): void {
    if (dies) this.losePower();
    this.onCall();
    this.#checkPower();
  }

  losePower(): void {
    this.isDown = true;
  }

  // --- paths -------------------------------------------------------------------------------------

  #find(path: string): Inode | null {
    const own = /^\/proc\/self\/fd\/(\d+)$/.exec(path);
    if (own !== null) return this.#open.get(Number(own[1]))?.inode ?? null;
    const found = this.#root;
    if (path.length <= DISK_ROOT.length) return found;
    let inode: Inode | undefined = found;
    for (const name of path.slice(DISK_ROOT.length + 1).split('/')) inode = inode?.entries.get(name);
    return inode ?? null;
  }

  #need(path: string): Inode {
    const inode = this.#find(path);
    if (inode === null) throw fsError('ENOENT');
    return inode;
  }

  #make(parent: Inode, name: string, isDirectory: boolean): Inode {
    const inode = new Inode(this.#inodes.length + 1, isDirectory);
    this.#inodes.push(inode);
    parent.change(name, inode);
    return inode;
  }

  #file(fd: number): OpenFile {
    const file = this.#open.get(fd);
    if (file === undefined) throw fsError('EBADF');
    return file;
  }

  // --- calls -------------------------------------------------------------------------------------

  open(path: string, flags: string | number = 'r'): number {
    const dies = this.#enter();
    const bits =
      typeof flags === 'number' ? flags : flags === 'r+' ? fsConstants.O_RDWR : fsConstants.O_RDONLY;
    let inode = this.#find(path);
    if (inode !== null && (bits & O_EXCL) !== 0) throw fsError('EEXIST');
    if (inode === null) {
      if ((bits & O_CREAT) === 0) throw fsError('ENOENT');
      inode = this.#make(this.#need(dirname(path)), basename(path), false);
    } else if ((bits & O_TRUNC) !== 0) inode.truncate();
    const fd = this.#nextFd++;
    this.#open.set(fd, { inode, flags: bits, isOfRelation: path.includes('/base/') });
    this.#leave(dies);
    return fd;
  }

  close(fd: number): void {
    this.#checkPower();
    this.#file(fd);
    this.#open.delete(fd);
  }

  read(fd: number, into: Uint8Array, offset: number, length: number, position: number): number {
    const dies = this.#enter();
    const { content } = this.#file(fd).inode;
    if (this.#random.chance(this.faults.readError)) {
      this.faultsGiven++;
      throw fsError('EIO');
    }
    const bytes = content.bytes.subarray(position, Math.min(position + length, content.size));
    into.set(bytes, offset);
    this.#leave(dies);
    return bytes.length;
  }

  write(fd: number, from: Uint8Array, offset: number, length: number, position: number): number {
    const dies = this.#enter();
    const { inode, flags } = this.#file(fd);
    if ((flags & O_ACCMODE) === 0) throw fsError('EBADF');
    const taken = this.taken?.from === from ? this.taken.pieces.get(offset) : undefined;
    const bytes = taken ?? from.subarray(offset, offset + length);
    const done = this.#accepted(inode, bytes, position);
    inode.write(position, bytes.subarray(0, done), ++this.#time);
    if (dies) this.losePower();
    else if ((flags & O_DSYNC) !== 0) inode.sync(this.#time, position, position + done);
    this.#leave(false);
    return done;
  }

  /** How many of the bytes are written, or what becomes of those that are not. */
  #accepted(inode: Inode, bytes: Uint8Array, position: number): number {
    const { faults } = this;
    const random = this.#random;
    if (this.#fullFor === 0 && faults.fullAfter !== Infinity && (faults.fullAfter -= bytes.length) <= 0) {
      this.#fullFor = 1 + random.below(6);
      faults.fullAfter = 10_000 + random.below(200_000);
      const done = this.#part(bytes, position);
      if (done > 0) {
        this.faultsGiven++;
        return done;
      }
    }
    if (this.#fullFor > 0) {
      this.#fullFor--;
      this.faultsGiven++;
      throw fsError('ENOSPC');
    }
    if (random.chance(faults.writeError)) {
      inode.write(position, bytes.subarray(0, this.#part(bytes, position)), ++this.#time);
      this.faultsGiven++;
      throw fsError('EIO');
    }
    if (!random.chance(faults.shortWrite)) return bytes.length;
    const done = this.#part(bytes, position);
    if (done === 0) return bytes.length;
    this.faultsGiven++;
    return done;
  }

  /** Kernels stop between sectors. */
  #part({ length }: Uint8Array, position: number): number {
    const end = position + this.#random.below(length + 1);
    return Math.max(0, end - (end % SECTOR_SIZE) - position);
  }

  resize(inode: Inode, size: number): void {
    const dies = this.#enter();
    inode.resize(size, ++this.#time);
    this.#leave(dies);
  }

  sync(fd: number, isData: boolean): void {
    const dies = this.#enter();
    const { inode, isOfRelation } = this.#file(fd);
    const began = this.syncBegan ?? this.#time;
    this.syncBegan = null;
    if (dies) this.#leave(true);
    if (this.#random.chance(isOfRelation ? this.faults.relationSyncError : this.faults.syncError)) {
      inode.forget();
      this.faultsGiven++;
      if (isData) this.failedDataSyncs++;
      throw fsError('EIO');
    }
    inode.sync(began);
    this.#leave(false);
  }

  link(from: string, to: string): void {
    const dies = this.#enter();
    const inode = this.#need(from);
    const parent = this.#need(dirname(to));
    if (parent.entries.has(basename(to))) throw fsError('EEXIST');
    parent.change(basename(to), inode);
    this.#leave(dies);
  }

  rename(from: string, to: string): void {
    const dies = this.#enter();
    const inode = this.#need(from);
    this.#need(dirname(to)).change(basename(to), inode);
    this.#need(dirname(from)).change(basename(from), null, dirname(from) === dirname(to));
    this.#leave(dies);
  }

  unlink(path: string): void {
    const dies = this.#enter();
    this.#need(path);
    this.#need(dirname(path)).change(basename(path), null);
    this.#leave(dies);
  }

  makeDirectory(path: string): void {
    const dies = this.#enter();
    if (resolve(path) !== DISK_ROOT && this.#find(path) === null)
      this.#make(this.#need(dirname(path)), basename(path), true);
    this.#leave(dies);
  }

  list(path: string): string[] {
    const dies = this.#enter();
    const names = [...this.#need(path).entries.keys()];
    this.#leave(dies);
    return names;
  }

  /** What a program would see, without anything that could happen. Null: there is no such file. */
  peek(path: string): Uint8Array | null {
    const inode = this.#find(path);
    return inode === null ? null : inode.content.bytes.subarray(0, inode.content.size);
  }

  exists(path: string): boolean {
    this.#checkPower();
    return this.#find(path) !== null;
  }

  stat(path: string): { dev: number; ino: number; nlink: number } {
    const dies = this.#enter();
    const inode = this.#need(path);
    const nlink = this.#links(inode);
    this.#leave(dies);
    return { dev: 1, ino: inode.number, nlink };
  }

  readFile(path: string): Buffer {
    const dies = this.#enter();
    const { content } = this.#need(path);
    this.#leave(dies);
    return Buffer.from(content.bytes.slice(0, content.size));
  }

  #links(inode: Inode): number {
    let count = 0;
    for (const { entries } of this.#inodes)
      for (const named of entries.values()) if (named === inode) count++;
    return count;
  }

  writeFile(path: string, bytes: Uint8Array): void {
    const fd = this.open(path, fsConstants.O_WRONLY | O_CREAT | O_TRUNC);
    for (let done = 0; done < bytes.length;) done += this.write(fd, bytes, done, bytes.length - done, done);
    this.sync(fd, false);
    this.close(fd);
  }

  // --- in place of node:fs -----------------------------------------------------------------------

  #owns(what: unknown): boolean {
    if (typeof what === 'number') return what >= FD_BASE;
    if (typeof what !== 'string') return false;
    return what.startsWith(DISK_ROOT) || what.startsWith(`/proc/self/fd/${String(FD_BASE).slice(0, 3)}`);
  }

  /** For `replaceFs`. */
  calls(real: RealFs): FsCalls {
    const ours = this.#calls();
    return Object.fromEntries(
      Object.entries(ours).map(([name, call]) => {
        const original = real[name as keyof RealFs] as (...args: unknown[]) => unknown;
        const route = (...args: unknown[]): unknown =>
          this.#owns(args[0]) ? (call as (...args: unknown[]) => unknown)(...args) : original(...args);
        return [name, route];
      }),
    );
  }

  #calls(): FsCalls {
    const stat = (fd: number, options?: { bigint?: boolean }): object => {
      const { number, isDirectory, content } = this.#file(fd).inode;
      const size = options?.bigint === true ? BigInt(content.size) : content.size;
      return { dev: 1n, ino: BigInt(number), size, nlink: 1, isFile: () => !isDirectory };
    };
    return {
      openSync: (path: string, flags?: string | number) => this.open(path, flags),
      closeSync: (fd: number) => this.close(fd),
      readSync: (fd: number, into: Uint8Array, offset: number, length: number, position: number) =>
        this.read(fd, into, offset, length, position),
      writeSync: (fd: number, from: Uint8Array, offset: number, length: number, position: number) =>
        this.write(fd, from, offset, length, position),
      fsyncSync: (fd: number) => this.sync(fd, false),
      fdatasyncSync: (fd: number) => this.sync(fd, true),
      fstatSync: stat,
      statSync: (path: string) => this.stat(path),
      ftruncateSync: (fd: number, size: number) => this.resize(this.#file(fd).inode, size),
      truncateSync: (path: string, size: number) => this.resize(this.#need(path), size),
      linkSync: (from: string, to: string) => this.link(from, to),
      renameSync: (from: string, to: string) => this.rename(from, to),
      unlinkSync: (path: string) => this.unlink(path),
      rmSync: (path: string) => {
        if (this.exists(path)) this.unlink(path);
      },
      mkdirSync: (path: string) => this.makeDirectory(path),
      readdirSync: (path: string) => this.list(path),
      existsSync: (path: string) => this.exists(path),
      readFileSync: (path: DiskPath, encoding?: BufferEncoding) => {
        const bytes = this.readFile(path as string);
        return encoding === undefined ? bytes : bytes.toString(encoding);
      },
      writeFileSync: (path: string, text: string) => this.writeFile(path, Buffer.from(text)),
    };
  }
}
