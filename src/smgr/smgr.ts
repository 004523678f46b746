/**
 * The storage manager: relations and forks as runs of blocks, kept in segment files of 1 GiB. PostgreSQL's
 * smgr.c and md.c. A relation's files are opened on first use, through virtual file descriptors.
 */
import { existsSync, fstatSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Aio } from '../aio/aio.js';
import type { IoHandle } from '../aio/handle.js';
import { CallbackId, TargetId } from '../aio/ids.js';
import { IoError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { identifyFile } from '../vfd/file-target.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';
import type { DataDirectories } from './data-directories.js';
import {
  PG_DEFAULT_TABLESPACE,
  PG_GLOBAL_TABLESPACE,
  SEGMENT_BLOCKS,
  relationPath,
  segmentPath,
  type Fork,
  type RelationLocator,
} from './relation.js';
import { SmgrWord } from './smgr-target.js';

export class StorageManager {
  readonly aio: Aio;
  readonly vfds: VfdCache;
  readonly direct: boolean;
  readonly #directories: DataDirectories;
  readonly #relations = new Set<SmgrRelation>();

  constructor(aio: Aio, vfds: VfdCache, directories: DataDirectories, direct: boolean) {
    this.aio = aio;
    this.vfds = vfds;
    this.direct = direct;
    this.#directories = directories;
  }

  /** Opens a relation of a cluster. Files are opened later; a data directory that is none is refused now. */
  open(dataDirectory: string, locator: Partial<RelationLocator> & { relation: number }): SmgrRelation {
    const directory = resolve(dataDirectory);
    const whole = { tablespace: PG_DEFAULT_TABLESPACE, database: 0, ...locator };
    checkOwner(whole);
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

  closeAll(): void {
    for (const relation of this.#relations) relation.closeFiles();
    this.#relations.clear();
  }
}

export class SmgrRelation {
  readonly locator: RelationLocator;
  readonly directoryNumber: number;
  readonly #smgr: StorageManager;
  readonly #directory: string;
  readonly #versionDirectory: string;
  /** Open segments by fork. */
  readonly #segments: Vfd[][] = [[], [], [], []];

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

  /** Relative to the data directory: what messages name. */
  path(fork: Fork): string {
    return relationPath(this.locator, fork, this.#versionDirectory);
  }

  /** Blocks of a fork, found by the sizes of its files; 0 when the fork does not exist. */
  blockCount(fork: Fork): number {
    for (let segment = this.#knownFullSegments(fork); ; segment++) {
      const vfd = this.#openSegment(fork, segment, false);
      if (vfd === null) return segment * SEGMENT_BLOCKS;
      const size = fstatSync(this.#smgr.vfds.useOrThrow(vfd)).size;
      const blocks = Math.floor(size / BLOCK_SIZE);
      if (blocks < SEGMENT_BLOCKS) return segment * SEGMENT_BLOCKS + blocks;
    }
  }

  /** Segments before the last open one are full: they do not shrink while the relation is open. */
  #knownFullSegments(fork: Fork): number {
    return Math.max(0, (this.#segments[fork] as Vfd[]).length - 1);
  }

  /** How many blocks from `block` on lie in one file. */
  maxCombine(block: number): number {
    return SEGMENT_BLOCKS - (block % SEGMENT_BLOCKS);
  }

  /** Starts reading `count` blocks into the vector of a handed-out handle, which must not be touched afterwards. */
  startReadv(io: IoHandle, fork: Fork, block: number, count: number): void {
    const segment = Math.floor(block / SEGMENT_BLOCKS);
    const vfd = this.#openSegment(fork, segment, true) as Vfd;
    const fd = this.#smgr.vfds.useOrThrow(vfd);
    io.setTarget(TargetId.SMGR, CallbackId.SMGR_READV);
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
    this.#smgr.aio.startReadv(io, fd, (block % SEGMENT_BLOCKS) * BLOCK_SIZE);
  }

  /** Opens the file that a read of this block needs, so that a `startReadv` right behind it meets no such error. */
  prepare(fork: Fork, block: number): void {
    this.#smgr.vfds.useOrThrow(this.#openSegment(fork, Math.floor(block / SEGMENT_BLOCKS), true) as Vfd);
  }

  #openSegment(fork: Fork, segment: number, mustExist: boolean): Vfd | null {
    const open = this.#segments[fork] as Vfd[];
    const known = open[segment];
    if (known !== undefined) return known;
    // Segments are opened in order: a later file without the earlier ones is not part of the relation.
    for (let next = open.length; next <= segment; next++) {
      const path = join(this.#directory, segmentPath(this.path(fork), next));
      if (!mustExist && !existsSync(path)) return null;
      open.push(this.#smgr.vfds.open(path, { direct: this.#smgr.direct }));
    }
    return open[segment] as Vfd;
  }

  closeFiles(): void {
    for (const fork of this.#segments) {
      for (const vfd of fork) this.#smgr.vfds.close(vfd);
      fork.length = 0;
    }
  }
}

/** The shared tablespace has no private relations. */
function checkOwner({ tablespace, backend }: RelationLocator): void {
  if (backend === undefined) return;
  const possible = Number.isInteger(backend) && backend >= 0 && tablespace !== PG_GLOBAL_TABLESPACE;
  if (!possible)
    throw new RangeError(`no relation of tablespace ${tablespace} is private to backend ${backend}`);
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
