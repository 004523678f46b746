/** Errors of files that are used as Node's `FileHandle` is: with the properties that Node's own errors have. */
import { PgaioError } from './errors.js';
import { getSystemErrorMessage, getSystemErrorName } from './system-errors.js';

/** The system calls, as Node names them in its errors. */
export type FileSyscall =
  'open' | 'read' | 'write' | 'fsync' | 'fdatasync' | 'ftruncate' | 'fstat' | 'close' | 'scandir';

export interface FileErrorFields {
  readonly path: string;
  /** Positive. */
  readonly errno: number;
  /** Of the bytes that could not be read or written. */
  readonly position?: number;
  readonly length?: number;
  readonly hint?: string;
}

/** The kernel refused something that was asked of a file. `code`, `errno`, `syscall` and `path` are as in Node's errors. */
export class FileError extends PgaioError {
  override readonly name = 'FileError';
  /** Negative, as Node has it. */
  readonly errno: number;
  readonly syscall: FileSyscall;
  readonly path: string;
  /** Where in the file, in bytes; undefined when it is not about some of its bytes. */
  readonly position: number | undefined;
  readonly length: number | undefined;

  constructor(syscall: FileSyscall, fields: FileErrorFields) {
    const { errno, path, position, length, hint } = fields;
    super(
      getSystemErrorName(errno),
      `${getSystemErrorMessage(errno)}, ${syscall} '${path}'`,
      hint === undefined ? {} : { hint },
    );
    this.errno = -errno;
    this.syscall = syscall;
    this.path = path;
    this.position = position;
    this.length = length;
  }
}

/** What an operation rejects with whose `AbortSignal` was aborted; `cause` is the signal's reason. */
export class AbortError extends Error {
  override readonly name = 'AbortError';
  readonly code = 'ABORT_ERR';

  constructor(signal: AbortSignal) {
    super('The operation was aborted', { cause: signal.reason });
  }
}
