/**
 * The storage manager: relations and forks as runs of blocks, kept in segment files of 1 GiB. PostgreSQL's
 * smgr.c and md.c. A relation's files are opened on first use, through virtual file descriptors.
 *
 * What changes files here knows nothing of buffers: see instance/relation-changes.ts for both together.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Aio } from '../aio/aio.js';
import type { IoHandle } from '../aio/handle.js';
import { CallbackId, TargetId } from '../aio/ids.js';
import { IoError, ReadFailedError, SettingError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { FileAdvice, loadAddon } from '../native/addon.js';
import { identifyFile } from '../vfd/file-target.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';
import type { DataDirectories } from './data-directories.js';
import { ForkSegments } from './fork-segments.js';
import {
  Fork,
  PG_DEFAULT_TABLESPACE,
  SEGMENT_BLOCKS,
  checkFork,
  checkLocator,
  relationPath,
  type RelationLocator,
} from './relation.js';
import type { ReadableRelation } from './readable-relation.js';
import { createFork, extendFork, syncFork, truncateFork, unlinkFork } from './segment-changes.js';
import { SmgrWord } from './smgr-target.js';

/** Relations that stay open because their pages were written, or their files synced. */
const BY_TAG_MAX = 64;

export class StorageManager {
  readonly aio: Aio;
  readonly vfds: VfdCache;
  readonly direct: boolean;
  readonly #directories: DataDirectories;
  readonly #relations = new Set<SmgrRelation>();
  /** Those that were opened by `ofTag`. */
  readonly #byTag = new Map<string, SmgrRelation>();

  constructor(aio: Aio, vfds: VfdCache, directories: DataDirectories, direct: boolean) {
    this.aio = aio;
    this.vfds = vfds;
    this.direct = direct;
    this.#directories = directories;
  }

  /** Opens a relation of a cluster. Files are opened later; a locator or a data directory that is none is refused now. */
  open(dataDirectory: string, locator: Partial<RelationLocator> & { relation: number }): SmgrRelation {
    const directory = resolve(dataDirectory);
    const whole = { tablespace: PG_DEFAULT_TABLESPACE, database: 0, ...locator };
    checkLocator(whole);
    const version = versionDirectory(directory, whole.tablespace); // throws before the directory gets a number
    const number = this.#directories.numberOf(directory);
    const relation = new SmgrRelation(this, directory, number, whole, version);
    this.#relations.add(relation);
    return relation;
  }

  close(relation: SmgrRelation): void {
    relation.closeFiles();
    this.#relations.delete(relation);
  }

  /** The relation of a buffer's tag or of a request, for who was given no SmgrRelation: PostgreSQL's smgropen. */
  ofTag(directory: number, locator: RelationLocator): SmgrRelation {
    const { tablespace, database, relation, backend } = locator;
    const key = [directory, tablespace, database, relation, backend ?? ''].join('/');
    const known = this.#byTag.get(key);
    const found = known ?? this.open(this.#directories.pathOf(directory), locator);
    this.#byTag.delete(key); // the last used last
    this.#byTag.set(key, found);
    for (const [oldest, relation] of this.#byTag) {
      if (this.#byTag.size <= BY_TAG_MAX) break;
      this.#byTag.delete(oldest);
      this.close(relation);
    }
    return found;
  }

  closeAll(): void {
    for (const relation of this.#relations) relation.closeFiles();
    this.#relations.clear();
    this.#byTag.clear();
  }
}

export class SmgrRelation implements ReadableRelation {
  readonly locator: RelationLocator;
  readonly directoryNumber: number;
  readonly #smgr: StorageManager;
  readonly #directory: string;
  readonly #versionDirectory: string;
  /** By fork; made on first use. */
  readonly #forks: (ForkSegments | undefined)[] = [];

  /** @internal */
  constructor(
    smgr: StorageManager,
    directory: string,
    number: number,
    locator: RelationLocator,
    versionDir: string,
  ) {
    this.#smgr = smgr;
    this.#directory = directory;
    this.directoryNumber = number;
    this.locator = locator;
    this.#versionDirectory = versionDir;
  }

  /**
   * Its files are those of one backend, and so is the number of its data directory: another backend would read with
   * descriptors, or find pages, that have nothing to do with it.
   */
  assertOpenedBy(smgr: StorageManager): void {
    if (this.#smgr === smgr) return;
    throw new SettingError(`relation "${this.path(Fork.MAIN)}" was opened by another backend`, {
      hint: 'Open it with openRelation of the backend that is to read or change it.',
    });
  }

  /** Relative to the data directory: what messages name. */
  path(fork: Fork): string {
    return relationPath(this.locator, fork, this.#versionDirectory);
  }

  #segments(fork: Fork): ForkSegments {
    return (this.#forks[fork] ??= this.#makeSegments(fork));
  }

  #makeSegments(fork: Fork): ForkSegments {
    checkFork(fork);
    return new ForkSegments(this.#smgr.vfds, this.#directory, this.path(fork), this.#smgr.direct);
  }

  /** Blocks of a fork, found by the sizes of its files; 0 when the fork does not exist. */
  blockCount(fork: Fork): number {
    return this.#segments(fork).blockCount();
  }

  /** How many blocks from `block` on lie in one file. */
  maxCombine(block: number): number {
    return SEGMENT_BLOCKS - (block % SEGMENT_BLOCKS);
  }

  /** Starts reading `count` blocks into the vector of a handed-out handle, which must not be touched afterwards. */
  startReadv(io: IoHandle, fork: Fork, block: number, count: number): void {
    const segments = this.#segments(fork);
    const segment = Math.floor(block / SEGMENT_BLOCKS);
    const vfd = segments.opened(segment) ?? (segments.open(segment, true) as Vfd);
    const fd = this.#smgr.vfds.useOrThrow(vfd);
    this.#identify(io, vfd, CallbackId.SMGR_READV, fork, block, count);
    this.#smgr.aio.startReadv(io, fd, (block % SEGMENT_BLOCKS) * BLOCK_SIZE);
  }

  /** Opens the file that a write of this block needs. Throws a RelationFileError. */
  prepareWrite(fork: Fork, block: number): void {
    this.#segments(fork).writer(Math.floor(block / SEGMENT_BLOCKS), 'write');
  }

  /**
   * Starts writing `count` blocks, all of one file and there already, from the vector of a handed-out handle, which must
   * not be touched afterwards. Through the page cache.
   */
  startWritev(io: IoHandle, fork: Fork, block: number, count: number): void {
    const segments = this.#segments(fork);
    const vfd = segments.openWriter(Math.floor(block / SEGMENT_BLOCKS), 'write');
    const fd = this.#smgr.vfds.useOrThrow(vfd);
    this.#identify(io, vfd, CallbackId.SMGR_WRITEV, fork, block, count);
    this.#smgr.aio.startWritev(io, fd, (block % SEGMENT_BLOCKS) * BLOCK_SIZE);
  }

  /** Opens a segment's file for `startSync`. Throws a RelationFileError. */
  prepareSync(fork: Fork, segment: number): void {
    this.#segments(fork).writer(segment, 'sync');
  }

  /** Starts fsync(2) of a segment's file with a handed-out handle. */
  startSync(io: IoHandle, fork: Fork, segment: number): void {
    const vfd = this.#segments(fork).openWriter(segment, 'sync');
    const fd = this.#smgr.vfds.useOrThrow(vfd);
    this.#identify(io, vfd, CallbackId.SMGR_SYNC, fork, segment * SEGMENT_BLOCKS, 0);
    this.#smgr.aio.startFsync(io, fd);
  }

  #identify(io: IoHandle, vfd: Vfd, callback: number, fork: Fork, block: number, count: number): void {
    io.setTarget(TargetId.SMGR, callback);
    identifyFile(io, vfd);
    io.setTargetWord(SmgrWord.DIRECTORY, this.directoryNumber);
    io.setTargetWord(SmgrWord.TABLESPACE, this.locator.tablespace);
    io.setTargetWord(SmgrWord.DATABASE, this.locator.database);
    io.setTargetWord(SmgrWord.RELATION, this.locator.relation);
    io.setTargetWord(SmgrWord.FORK, fork);
    io.setTargetWord(SmgrWord.BLOCK, block);
    io.setTargetWord(SmgrWord.COUNT, count);
    const { backend } = this.locator;
    io.setTargetWord(SmgrWord.BACKEND, backend === undefined ? 0 : backend + 1);
  }

  /** How many segment files the fork has, those that a truncation left empty included. */
  segmentCount(fork: Fork): number {
    let count = 0;
    while (this.#segments(fork).stat(count) !== null) count++;
    return count;
  }

  /**
   * Advises the kernel that `count` blocks of one file will be read soon, which it then does by itself. False when
   * it cannot be told: without the addon, past the page cache, or where there is no such file, which is for the read to
   * say. PostgreSQL's smgrprefetch.
   */
  prefetch(fork: Fork, block: number, count: number): boolean {
    const addon = loadAddon();
    if (addon === null || this.#smgr.direct) return false;
    const vfd = this.#segments(fork).open(Math.floor(block / SEGMENT_BLOCKS), false);
    if (vfd === null) return false;
    const position = (block % SEGMENT_BLOCKS) * BLOCK_SIZE;
    return (
      addon.fadvise(this.#smgr.vfds.useOrThrow(vfd), position, count * BLOCK_SIZE, FileAdvice.WILL_NEED) === 0
    );
  }

  /** Opens the file that a read of this block needs, so that a `startReadv` right behind it meets no such error. */
  prepare(fork: Fork, block: number): void {
    try {
      const vfd = this.#segments(fork).open(Math.floor(block / SEGMENT_BLOCKS), true) as Vfd;
      this.#smgr.vfds.useOrThrow(vfd);
    } catch (error) {
      if (!(error instanceof ReadFailedError)) throw error;
      const path = this.path(fork);
      throw new ReadFailedError(`blocks ${block}..${block} in file "${path}"`, {
        path,
        firstBlock: block,
        lastBlock: block,
        errno: error.errno,
        detail: `The file "${error.path}" cannot be opened.`,
      });
    }
  }

  closeFiles(): void {
    for (const segments of this.#forks) segments?.forget(0);
  }

  // --- changes of files: at once, and without a look at buffers -----------------------------------

  /** Whether the fork has a file. */
  exists(fork: Fork): boolean {
    return this.#segments(fork).stat(0) !== null;
  }

  /**
   * Makes the fork's first file, empty; its directory must exist. Throws a RelationFileError: EEXIST when there is
   * one already.
   */
  create(fork: Fork): void {
    createFork(this.#segments(fork));
  }

  /**
   * Writes a page of 8192 bytes, whose checksum the caller has set, as block `block`, which must lie behind the
   * end: blocks between become zeroes. Several pages in a row are written as the blocks that follow. PostgreSQL's smgrextend. Through the page cache, and not synchronized.
   *
   * Throws a RelationFileError (ENOSPC, EIO, EACCES, EROFS, ENOENT). The fork is then as it was: what was written of
   * the page is cut off again. Where the kernel refuses that, too, `detail` says so; a torn block at the end does
   * not count as a block, and the next extension writes over it.
   */
  extend(fork: Fork, block: number, pages: Uint8Array): void {
    const count = pages.byteLength / BLOCK_SIZE;
    if (!Number.isInteger(count)) {
      throw new RangeError(
        `a page has ${BLOCK_SIZE} bytes, and ${pages.byteLength} bytes are not whole pages`,
      );
    }
    extendFork(this.#segments(fork), block, pages, count);
    this.#countExtended(count);
  }

  /** Adds `count` blocks of zeroes from `block` on, with space for them. Otherwise as `extend`. */
  zeroExtend(fork: Fork, block: number, count: number): void {
    extendFork(this.#segments(fork), block, null, count);
    this.#countExtended(count);
  }

  #countExtended(blocks: number): void {
    const object = this.locator.backend === undefined ? 'relation' : 'temp relation';
    this.#smgr.aio.thread.stats.extended(object, blocks * BLOCK_SIZE);
  }

  /**
   * Cuts the fork to its first `blocks` blocks; later segment files stay, empty. Buffers of what is cut off must have
   * been dropped before. Throws a RelationFileError, or a RangeError when the fork has fewer blocks.
   */
  truncate(fork: Fork, blocks: number): void {
    truncateFork(this.#segments(fork), blocks);
  }

  /**
   * Removes all files of the fork, or of all forks; forks that do not exist are passed over. Returns how many files
   * that were. Their buffers must have been dropped before. Throws a RelationFileError; calling again goes on where
   * it failed.
   */
  unlink(fork?: Fork): number {
    if (fork !== undefined) return unlinkFork(this.#segments(fork));
    // The main fork last: while it is there, the relation's number is taken.
    const forks = [Fork.INIT, Fork.VM, Fork.FSM, Fork.MAIN];
    return forks.reduce<number>((removed, one) => removed + unlinkFork(this.#segments(one)), 0);
  }

  /** Waits until the disk has everything that was written to the fork's files: PostgreSQL's smgrimmedsync. */
  immediateSync(fork: Fork): void {
    syncFork(this.#segments(fork));
  }
}

/** `PG_18_202506291`: which of a tablespace's directories belongs to this cluster. */
function versionDirectory(directory: string, tablespace: number): string {
  let major: string;
  try {
    major = readFileSync(join(directory, 'PG_VERSION'), 'utf8').trim();
  } catch (cause) {
    throw new IoError(
      'ERR_PGAIO_NOT_A_CLUSTER',
      `"${directory}" is not a PostgreSQL data directory: it has no readable PG_VERSION`,
      {
        path: directory,
        cause,
      },
    );
  }
  if (tablespace <= PG_DEFAULT_TABLESPACE + 1 && tablespace >= PG_DEFAULT_TABLESPACE) return '';
  const path = join(directory, 'pg_tblspc', String(tablespace));
  const found = existsSync(path)
    ? readdirSync(path).find((name) => name.startsWith(`PG_${major}_`))
    : undefined;
  if (found !== undefined) return found;
  throw new IoError(
    'ERR_PGAIO_NO_TABLESPACE',
    `tablespace ${tablespace} of "${directory}" has no directory PG_${major}_…`,
    { path },
  );
}
