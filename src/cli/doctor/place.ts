/** What the given path is, and what the file system there is like. */
import { accessSync, constants as fsConstants, statfsSync, statSync, type StatsFs } from 'node:fs';
import { join } from 'node:path';
import { PgaioError } from '../../base/errors.js';
import { problemFrom } from '../verify/cluster/scan-roots.js';
import { readControlFile } from '../../recovery/control-file.js';
import { formatBytes } from '../output/format.js';
import { ok, problem, warning, type Check } from './check.js';
import { fileSystemKind, type FileSystemKind } from './file-systems.js';

export interface Place {
  /** As given. */
  readonly path: string;
  readonly isDirectory: boolean;
  readonly size: number;
  readonly owner: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly readOnly: boolean;
}

/** Null when it is there but may not be looked at. Throws for a path that is none. */
export function findPlace(path: string): Place | null {
  let stats;
  try {
    stats = statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EACCES') return null;
    throw new PgaioError('ERR_PGAIO_PATH', problemFrom(path, error).message, {
      hint: 'Give a file or a directory that exists.',
      cause: error,
    });
  }
  const isDirectory = stats.isDirectory();
  if (!isDirectory && !stats.isFile()) {
    throw new PgaioError('ERR_PGAIO_PATH', `"${path}" is neither a file nor a directory`, {
      hint: 'Give a file or a directory that exists.',
    });
  }
  const { R_OK, W_OK, X_OK } = fsConstants;
  const search = isDirectory ? X_OK : 0;
  const writing = whyNot(path, W_OK | search);
  return {
    path,
    isDirectory,
    size: stats.size,
    owner: stats.uid,
    readable: whyNot(path, R_OK | search) === null,
    writable: writing === null,
    readOnly: writing === 'EROFS',
  };
}

/** The code of what access(2) says, or null. */
function whyNot(path: string, mode: number): string | null {
  try {
    accessSync(path, mode);
    return null;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EACCES';
  }
}

export function checkPath(path: string, place: Place | null): Check {
  if (place === null) {
    const advice = 'Run as the user that owns the directories above it.';
    return problem('path', `"${path}" cannot be looked at: permission denied`, advice);
  }
  const what = place.isDirectory ? 'a directory' : `a file of ${formatBytes(place.size)}`;
  if (!place.readable) {
    const advice = `Run as the user that owns it (user id ${place.owner}).`;
    return problem('path', `"${path}", ${what}, cannot be read: permission denied`, advice);
  }
  if (place.readOnly) {
    return warning(
      'path',
      `"${path}" is ${what} on a read-only file system`,
      'Mount it for writing before anything is to be written there.',
      'reading and verify work',
    );
  }
  return ok('path', `"${path}" is ${what}, readable${place.writable ? ' and writable' : ', not writable'}`);
}

export function checkFileSystem({ path, readOnly }: Place): { checks: Check[]; kind: FileSystemKind } {
  const facts = statfsSync(path);
  const kind = fileSystemKind(facts.type);
  const { name, caveat } = kind;
  const type =
    caveat === undefined
      ? ok('file-system', name)
      : warning('file-system', name, caveat.advice, caveat.means);
  return { checks: [type, ...(readOnly ? [] : checkFreeSpace(facts))], kind };
}

const SEGMENT = 2 ** 30;

function checkFreeSpace({ bavail, bsize, blocks }: StatsFs): Check[] {
  if (blocks === 0) return []; // it has no size: /proc and its like
  const free = bavail * bsize;
  const summary = `${formatBytes(free)} free of ${formatBytes(blocks * bsize)}`;
  if (free >= SEGMENT) return [ok('free-space', summary)];
  const advice = 'Make room: relations grow by segments of up to 1 GB. Reading needs none.';
  return [warning('free-space', summary, advice)];
}

const DIRECTORIES = ['global', 'base'];

/** Whether this is a PostgreSQL data directory, and all of it may be read. */
export async function checkDataDirectory(place: Place): Promise<Check[]> {
  const { path } = place;
  if (!place.isDirectory || !place.readable) return [];
  if (!isDataDirectory(path)) return [ok('data-directory', 'this is not a PostgreSQL data directory')];
  const closed = DIRECTORIES.find((name) => {
    const why = whyNot(join(path, name), fsConstants.R_OK | fsConstants.X_OK);
    return why !== null && why !== 'ENOENT';
  });
  const advice = `Run as the user that owns the data directory (user id ${place.owner}).`;
  if (closed !== undefined) {
    return [problem('data-directory', `"${join(path, closed)}" cannot be read: permission denied`, advice)];
  }
  try {
    const { majorVersion, checksumsEnabled, state } = await readControlFile(path);
    const summary = `PostgreSQL ${majorVersion}, ${state}, data checksums ${checksumsEnabled ? 'on' : 'off'}`;
    if (checksumsEnabled) return [ok('data-directory', summary)];
    const enable = 'Enable them while the server is stopped: `pg_checksums --enable`; verify needs them.';
    return [warning('data-directory', summary, enable)];
  } catch (error) {
    if (!(error instanceof PgaioError)) throw error;
    return [problem('data-directory', error.message, error.hint ?? advice)];
  }
}

export function isDataDirectory(path: string): boolean {
  // Databases have a PG_VERSION, too. What may not be looked at is there.
  return ['PG_VERSION', 'global'].every((name) => whyNot(join(path, name), fsConstants.F_OK) !== 'ENOENT');
}
