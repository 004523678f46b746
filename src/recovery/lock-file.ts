/**
 * `postmaster.pid`: one server at a time has a data directory, be it PostgreSQL's or an instance of this library.
 *
 * Its first line is the process, the third when that began, in seconds since 1970. A file whose process is gone is
 * left over from a crash, and taken over; so is one of a process with our own number that began at another time: in
 * a container, every start may get the same number.
 */
import { linkSync, readFileSync, renameSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import { PgaioError } from '../base/errors.js';

/** Another server, or another instance, has the data directory. */
export class DataDirectoryInUseError extends PgaioError {
  override readonly name = 'DataDirectoryInUseError';
  readonly path: string;
  /** 0: not known. */
  readonly pid: number;

  constructor(path: string, pid: number) {
    const [who, hint] =
      pid === 0
        ? ['a server that is starting', `If there is none, remove the file "${join(path, FILE_NAME)}".`]
        : pid === process.pid
          ? ['another instance of this process', 'Close that instance first, or attach to it.']
          : [`process ${pid}`, 'Stop that process first.'];
    super('ERR_PGAIO_DATA_DIRECTORY_IN_USE', `data directory "${path}" is in use by ${who}`, { hint });
    this.path = path;
    this.pid = pid;
  }
}

const FILE_NAME = 'postmaster.pid';
/** Whether a file of this name is a lock, or was to become one. */
export function isLockFile(name: string): boolean {
  return name === FILE_NAME || name.startsWith(`${FILE_NAME}.`);
}

/** When this process began. */
const BEGAN = Math.floor(Date.now() / 1000 - process.uptime());
/** Clocks are set. */
const TOLERANCE_SECONDS = 2;

/** Takes the directory for this process. Throws a DataDirectoryInUseError, or what `node:fs` throws. */
export function lockDataDirectory(directory: string): void {
  const path = join(directory, FILE_NAME);
  // Under another name first: nobody finds it half written.
  const draft = `${path}.${process.pid}.${threadId}`;
  rmSync(draft, { force: true }); // left over, it may be the lock itself, which must keep what it says
  writeFileSync(draft, `${process.pid}\n${directory}\n${BEGAN}\n`, { mode: 0o600, flush: true });
  try {
    while (!linkExclusively(draft, path)) {
      const judged = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (judged === undefined) continue; // its holder has just given it back
      const pid = holderOf(path);
      if (pid !== null) throw new DataDirectoryInUseError(directory, pid);
      removeStale(path, judged.ino);
    }
  } finally {
    unlinkSync(draft);
  }
}

export function unlockDataDirectory(directory: string): void {
  rmSync(join(directory, FILE_NAME), { force: true });
}

/**
 * Removes the file that was judged, and no other: between the judgement and this somebody else may have removed it, and put
 * a lock of its own in its place.
 */
function removeStale(path: string, inode: bigint): void {
  const aside = `${path}.${process.pid}.${threadId}.stale`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (statSync(aside, { bigint: true }).ino !== inode) linkExclusively(aside, path);
  unlinkSync(aside);
}

/** False: there is a file of this name. */
function linkExclusively(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** The process that has the directory; null: nobody any more. */
function holderOf(path: string): number | null {
  const content = contentOf(path);
  if (content === null) return null;
  const [first = '', , third = ''] = content.split('\n');
  const pid = Math.abs(Number.parseInt(first, 10)); // a stand-alone server's is negative
  if (!(pid > 0)) return 0; // of a server that is just starting, or crashed when it was
  if (pid === process.pid)
    return Math.abs(Number.parseInt(third, 10) - BEGAN) <= TOLERANCE_SECONDS ? pid : null;
  try {
    process.kill(pid, 0);
    return pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? pid : null;
  }
}

/** Null: there is no such file any more. */
function contentOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
