/**
 * The directory of an instance with a WAL, laid out as PostgreSQL 18's: `PG_VERSION`, `global/pg_control`, `pg_wal`,
 * `base`. One that is missing or empty is made, with the checkpoint that a WAL begins with, as `initdb` does; `pg_wal`
 * may be there already, as a link to another disk.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { PgaioError } from '../base/errors.js';
import { errnoOf, getSystemErrorMessage } from '../base/system-errors.js';
import { sealRecord } from '../wal/encode-record.js';
import { INVALID_LSN, type Lsn } from '../wal/lsn.js';
import { encodePageHeader, LONG_PAGE_HEADER_SIZE, WAL_PAGE_SIZE } from '../wal/page-header.js';
import { segmentFileName } from '../wal/segments.js';
import { makeSegmentFile, syncDirectory } from '../wal/wal-files.js';
import { Checkpoint } from './checkpoint-record.js';
import { ControlData } from './control-data.js';
import { controlFilePath } from './control-file.js';
import { isLockFile, lockDataDirectory, unlockDataDirectory } from './lock-file.js';

/** The path cannot become, or is not, a data directory that a WAL can be written in. */
export class DataDirectoryError extends PgaioError {
  override readonly name = 'DataDirectoryError';
  readonly path: string;

  constructor(path: string, why: string, hint?: string, cause?: unknown) {
    super('ERR_PGAIO_DATA_DIRECTORY', `data directory "${path}" ${why}`, {
      ...(hint !== undefined && { hint }),
      ...(cause !== undefined && { cause }),
    });
    this.path = path;
  }
}

const TIMELINE = 1;
/** A new cluster's WAL begins with its second segment, as initdb's does: LSN 0 is none. */
const FIRST_SEGMENT = 1;
/** What there may be before there is a control file: the making of the directory was cut short. */
const OURS: ReadonlySet<string> = new Set(['PG_VERSION', 'global', 'base', 'pg_wal', 'pg_tblspc']);

/** Opens the directory for this process, until `unlockDataDirectory`. Makes it first if it is missing or empty. */
export function openDataDirectory(path: string, segmentSize: number | null): ControlData {
  const directory = resolve(path);
  try {
    makeDirectory(directory);
    const isNew = !existsSync(controlFilePath(directory));
    if (isNew) checkUnused(directory);
    lockDataDirectory(directory);
    try {
      return isNew && !existsSync(controlFilePath(directory))
        ? initialize(directory, segmentSize ?? DEFAULT_SEGMENT_SIZE)
        : openExisting(directory, segmentSize);
    } catch (error) {
      unlockDataDirectory(directory);
      throw error;
    }
  } catch (error) {
    if (error instanceof PgaioError) throw error;
    const errno = errnoOf(error, 0);
    if (errno === 0) throw error;
    const { path: at = directory } = error as NodeJS.ErrnoException;
    const why = `cannot be used: ${getSystemErrorMessage(errno)}, "${at}"`;
    throw new DataDirectoryError(directory, why, hintFor(errno), error);
  }
}

/** With those above it. Node's own `recursive` tries for ever where the kernel says ENOENT of a directory that is there. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return;
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error;
    makeDirectory(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}

function hintFor(errno: number): string | undefined {
  const { EACCES, EPERM, EROFS, ENOSPC, ENOTDIR } = osConstants.errno;
  if (errno === EACCES || errno === EPERM) return 'Run as the user that owns it.';
  if (errno === EROFS) return 'The file system is mounted read-only.';
  if (errno === ENOSPC) return 'Free disk space.';
  return errno === ENOTDIR ? 'There is a file of that name.' : undefined;
}

/** In bytes. */
export const DEFAULT_SEGMENT_SIZE: number = 16 * 2 ** 20;

function checkUnused(directory: string): void {
  const others = readdirSync(directory).filter((name) => !OURS.has(name) && !isLockFile(name));
  if (others.length === 0) return;
  throw new DataDirectoryError(
    directory,
    `is not empty, and has no control file (there is ${others.slice(0, 3).join(', ')})`,
    'Give the path of a directory that is empty, or does not exist.',
  );
}

function openExisting(directory: string, segmentSize: number | null): ControlData {
  const control = ControlData.read(controlFilePath(directory));
  if (segmentSize !== null && segmentSize !== control.walSegmentSize)
    throw new DataDirectoryError(
      directory,
      `has WAL segments of ${control.walSegmentSize} bytes, not of ${segmentSize}`,
      'Leave the setting wal.segmentSize out: it is for new directories.',
    );
  syncDirectory(join(directory, 'global')); // whoever made it may have been killed before this
  return control;
}

/** The control file comes last, when all else is durable: with it, the directory is one. */
function initialize(directory: string, segmentSize: number): ControlData {
  const wal = join(directory, 'pg_wal');
  for (const name of ['global', 'base', 'base/1', 'pg_wal', 'pg_tblspc'])
    makeDirectory(join(directory, name));
  for (const name of readdirSync(wal)) rmSync(join(wal, name)); // of a making that was cut short
  const systemIdentifier = newSystemIdentifier();
  const lsn = FIRST_SEGMENT * segmentSize + LONG_PAGE_HEADER_SIZE;
  const checkpoint = Checkpoint.first(TIMELINE, lsn, Math.floor(Date.now() / 1000));
  const name = segmentFileName(TIMELINE, FIRST_SEGMENT, segmentSize);
  makeSegmentFile(wal, name, segmentSize, 'first');
  writeFirstPage(join(wal, name), segmentSize, systemIdentifier, checkpoint);
  writeFileSync(join(directory, 'PG_VERSION'), '18\n', { mode: 0o600, flush: true });
  const path = controlFilePath(directory);
  const control = ControlData.create(`${path}.new`, {
    systemIdentifier,
    walSegmentSize: segmentSize,
    checkpointLsn: lsn,
    checkpoint,
  });
  control.write();
  syncNames(directory);
  renameSync(control.path, path);
  syncDirectory(join(directory, 'global'));
  return ControlData.read(path);
}

function syncNames(directory: string): void {
  for (const made of ['global', 'base', '.', '..']) syncDirectory(join(directory, made));
}

/**
 * Makes the names of relations' files durable. Who made one may have ended before it came to that; what is written to the
 * file counts on it. Throws what `node:fs` throws.
 */
export function syncRelationNames(directory: string): void {
  const below = (path: string): string[] =>
    existsSync(path) ? readdirSync(path).map((name) => join(path, name)) : [];
  const databases = below(join(directory, 'pg_tblspc')).flatMap(below).flatMap(below);
  for (const path of [...below(join(directory, 'base')), ...databases]) syncDirectory(path);
}

/** As initdb's: the time, and some chance. */
function newSystemIdentifier(): bigint {
  return (BigInt(Math.floor(Date.now() / 1000)) << 32n) | BigInt(randomBytes(4).readUInt32LE());
}

function writeFirstPage(
  path: string,
  segmentSize: number,
  systemIdentifier: bigint,
  checkpoint: Checkpoint,
): void {
  const page = new Uint8Array(WAL_PAGE_SIZE);
  const address: Lsn = FIRST_SEGMENT * segmentSize;
  const identity = { timeline: TIMELINE, address, segmentSize, systemIdentifier };
  const offset = encodePageHeader(new DataView(page.buffer), 0, identity);
  const record = checkpoint.record(true);
  sealRecord(record, INVALID_LSN);
  page.set(record, offset);
  const fd = openSync(path, 'r+');
  try {
    writeSync(fd, page, 0, page.length, 0);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
