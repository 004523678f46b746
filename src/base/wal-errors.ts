/** What can go wrong with the WAL's files. */
import { constants as osConstants } from 'node:os';
import { IoError, PgaioError, type PgaioErrorOptions } from './errors.js';
import { errnoOf, getSystemErrorMessage, getSystemErrorName } from './system-errors.js';

export type WalFileOperation = 'open' | 'write' | 'sync';

/**
 * The kernel refused to open, write or sync a segment of the WAL: `code` is `ERR_PGAIO_WAL_WRITE_ENOSPC` and the like.
 * What was committed is not acknowledged, and may be found by recovery, or not. After a failed open or write the next
 * commit tries again; after a failed sync none is accepted any more.
 */
export class WalFileError extends IoError {
  override readonly name = 'WalFileError';
  readonly operation: WalFileOperation;

  constructor(operation: WalFileOperation, path: string, errno: number, cause?: unknown) {
    super(
      `ERR_PGAIO_WAL_${operation.toUpperCase()}_${getSystemErrorName(errno)}`,
      `could not ${operation} WAL ${operation === 'open' ? 'file' : 'to'} "${path}": ${getSystemErrorMessage(errno)}`,
      { path, errno, ...hintFor(operation, errno), ...(cause === undefined ? {} : { cause }) },
    );
    this.operation = operation;
  }

  /** Of what a call threw. What carries no errno is returned as it is. */
  static of(operation: WalFileOperation, cause: unknown, path: string): Error {
    if (cause instanceof WalFileError) return cause;
    const errno = errnoOf(cause, 0);
    if (errno !== 0) return new WalFileError(operation, path, errno, cause);
    return cause instanceof Error ? cause : new Error(String(cause));
  }
}

/** The WAL ends before the place up to which it was to be read: damaged, or a checkpoint has let go of it meanwhile. */
export class WalReadError extends PgaioError {
  override readonly name = 'WalReadError';
  /** Of the segments. */
  readonly path: string;
  /** Where it ends, as PostgreSQL writes it. */
  readonly lsn: string;

  constructor(path: string, lsn: string, why: string) {
    super('ERR_PGAIO_WAL_READ', `WAL in "${path}" ends at ${lsn}: ${why}`, {
      hint: 'If a checkpoint has let go of it, create the instance with a larger wal.keepSize.',
    });
    this.path = path;
    this.lsn = lsn;
  }
}

/** A page claims to have been changed by a record that the WAL does not have yet: it is not written. */
export class WalPositionError extends PgaioError {
  override readonly name = 'WalPositionError';
  /** Of the page, as PostgreSQL writes it. */
  readonly lsn: string;

  constructor(lsn: string, end: string) {
    super('ERR_PGAIO_WAL_POSITION', `a page has the LSN ${lsn}, and the WAL ends at ${end}`, {
      hint: 'The page is of another cluster, or an older copy of the WAL was brought back: restore both from one backup.',
    });
    this.lsn = lsn;
  }
}

function hintFor(operation: WalFileOperation, errno: number): PgaioErrorOptions {
  const { ENOSPC, EDQUOT, EFBIG, EACCES, EPERM, EROFS, ENOENT, ESTALE } = osConstants.errno;
  if (operation === 'sync')
    return {
      hint: 'Restart, so that the WAL is recovered from what the disk really has; nothing is accepted until then.',
    };
  switch (errno) {
    case ENOSPC:
    case EDQUOT:
      return { hint: 'Free disk space; the next commit tries again.' };
    case EACCES:
    case EPERM:
      return { hint: 'Run as the user that owns the files.' };
    case EROFS:
      return { hint: 'The file system is mounted read-only.' };
    case ENOENT:
      return { hint: 'The WAL directory has gone; bring it back, and the next commit tries again.' };
    case ESTALE:
      return {
        hint: 'Another file has taken its place: restart, so that the WAL is recovered from what is there.',
      };
    case EFBIG:
      return { hint: 'Raise the limit of file sizes (ulimit -f); the next commit tries again.' };
    default:
      return { hint: 'Check the storage, and the kernel’s log.' };
  }
}
