/** Names and texts of errno values, as positive numbers. Node knows them as negative ones. */
import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

const byErrno = getSystemErrorMap();
/** Those that libuv has no text for, ESTALE for example. */
const names = new Map(Object.entries(constants.errno).map(([name, errno]) => [errno, name]));

export function getSystemErrorName(errno: number): string {
  return byErrno.get(-errno)?.[0] ?? names.get(errno) ?? `E${errno}`;
}

export function getSystemErrorMessage(errno: number): string {
  const known = byErrno.get(-errno);
  if (known !== undefined) return `${known[0]}: ${known[1]}`;
  const name = names.get(errno);
  return name === undefined ? `errno ${errno}` : `${name} (errno ${errno})`;
}

/** The positive errno of something that a `node:fs` call threw; `fallback` when it carries none. */
export function errnoOf(error: unknown, fallback: number): number {
  const errno = (error as { errno?: unknown } | null)?.errno;
  return typeof errno === 'number' && errno !== 0 ? Math.abs(errno) : fallback;
}

const { ECANCELED, EMFILE, ENFILE, ENOENT, EACCES, EPERM, EINTR } = constants.errno;
const NOT_CARRIED_OUT: ReadonlySet<number> = new Set([ECANCELED, EINTR]);
/** The file could not be opened for it. */
const NOT_OPENED: ReadonlySet<number> = new Set([EMFILE, ENFILE, ENOENT, EACCES, EPERM]);

/** The I/O of a thread that ended, or was interrupted: nothing has happened, and it may be tried again at once. */
export function isNotCarriedOut(errno: number): boolean {
  return NOT_CARRIED_OUT.has(errno);
}

/** Whether fsync(2) itself said so: then what was written may be lost, and another fsync would not tell. */
export function isFromFsync(errno: number): boolean {
  return !NOT_CARRIED_OUT.has(errno) && !NOT_OPENED.has(errno);
}
