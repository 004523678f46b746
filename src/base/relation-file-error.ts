/** What can go wrong with a relation's files but for reading their blocks. */
import { constants as osConstants } from 'node:os';
import { IoError, type IoErrorFields, type PgaioErrorOptions } from './errors.js';
import { errnoOf, getSystemErrorMessage, getSystemErrorName } from './system-errors.js';

export type RelationFileOperation = 'create' | 'extend' | 'truncate' | 'remove' | 'stat' | 'sync' | 'write';

/**
 * The kernel refused to create, extend, truncate, remove, stat, sync or write a relation's file. `code` is
 * `ERR_PGAIO_EXTEND_ENOSPC` and the like; `path` is the segment file, relative to the data directory;
 * `firstBlock` and `lastBlock` are the blocks that were to be written or cut, where there are any.
 */
export class RelationFileError extends IoError {
  override readonly name = 'RelationFileError';
  readonly operation: RelationFileOperation;

  constructor(operation: RelationFileOperation, fields: IoErrorFields & { errno: number }) {
    super(
      `ERR_PGAIO_${operation.toUpperCase()}_${getSystemErrorName(fields.errno)}`,
      `could not ${operation} file "${fields.path}"${blocksOf(fields)}: ${getSystemErrorMessage(fields.errno)}`,
      { ...hintFor(operation, fields.errno), ...fields },
    );
    this.operation = operation;
  }

  /** Of what a call threw: one of `node:fs`, or an IoError. What carries no errno is returned as it is. */
  static of(
    operation: RelationFileOperation,
    cause: unknown,
    fields: Omit<IoErrorFields, 'errno' | 'cause'>,
  ): Error {
    const errno = errnoOf(cause, 0);
    if (errno !== 0) return new RelationFileError(operation, { ...fields, errno, cause });
    return cause instanceof Error ? cause : new Error(String(cause));
  }
}

function blocksOf({ firstBlock, lastBlock }: IoErrorFields): string {
  if (firstBlock === undefined) return '';
  return lastBlock === undefined || lastBlock === firstBlock
    ? ` at block ${firstBlock}`
    : ` at blocks ${firstBlock}..${lastBlock}`;
}

function hintFor(operation: RelationFileOperation, errno: number): PgaioErrorOptions {
  const { ENOSPC, EDQUOT, EACCES, EPERM, EROFS, EEXIST, ENOENT, EMFILE, ENFILE, EIO } = osConstants.errno;
  switch (errno) {
    case ENOSPC:
    case EDQUOT:
      return { hint: 'Check free disk space.' };
    case EACCES:
    case EPERM:
      return { hint: 'Run as the user that owns the files.' };
    case EROFS:
      return { hint: 'The file system is mounted read-only.' };
    case EEXIST:
      return { hint: 'Another relation has this number; remove its files first, or choose another.' };
    case ENOENT:
      return { hint: operation === 'create' ? 'Create its directory first.' : 'Create the fork first.' };
    case EMFILE:
    case ENFILE:
      return { hint: 'Lower maxFilesPerProcess, or raise the limit on open files (ulimit -n).' };
    case EIO:
      return { hint: 'Check the storage, and the kernel’s log.' };
    default:
      return {};
  }
}
