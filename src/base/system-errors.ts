/** Names and texts of errno values, as positive numbers. Node knows them as negative ones. */
import { getSystemErrorMap } from 'node:util';

const byErrno = getSystemErrorMap();

export function getSystemErrorName(errno: number): string {
  return byErrno.get(-errno)?.[0] ?? `E${errno}`;
}

export function getSystemErrorMessage(errno: number): string {
  const known = byErrno.get(-errno);
  return known === undefined ? `errno ${errno}` : `${known[0]}: ${known[1]}`;
}

/** The positive errno of something that a `node:fs` call threw; `fallback` when it carries none. */
export function errnoOf(error: unknown, fallback: number): number {
  const errno = (error as { errno?: unknown } | null)?.errno;
  return typeof errno === 'number' && errno !== 0 ? Math.abs(errno) : fallback;
}
