/** Files are opened, and opened again behind the scenes, with the errors that Node's `open` has. */
import { IoError } from '../base/errors.js';
import { FileError } from '../base/file-error.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';

/** Throws a FileError, or an IoError for what is no regular file. `flags`: of open(2). */
export function openVfd(vfds: VfdCache, path: string, flags: number, mode: number): Vfd {
  try {
    return vfds.openWith(path, flags, mode);
  } catch (error) {
    throw asFileError(error, path);
  }
}

/** The kernel's descriptor, for one system call. Throws a FileError when it was closed and cannot be opened again. */
export function descriptorOf(vfds: VfdCache, vfd: Vfd): number {
  try {
    return vfds.useOrThrow(vfd);
  } catch (error) {
    throw asFileError(error, vfd.path);
  }
}

function asFileError(error: unknown, path: string): unknown {
  if (!(error instanceof IoError) || error.errno === 0) return error;
  const { errno, hint } = error;
  return new FileError('open', { path, errno, ...(hint !== undefined && { hint }) });
}
