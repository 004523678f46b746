/**
 * Operating errors: what a correct program may meet. Each class has a stable `code`, says in a sentence
 * what happened and to what, and carries `hint` where the user can do something about it.
 */
import { constants as osConstants } from 'node:os';
import { getSystemErrorMessage, getSystemErrorName } from './system-errors.js';

export interface PgaioErrorOptions extends ErrorOptions {
  hint?: string;
  detail?: string;
}

/** Base of all errors that the library throws for conditions outside the program's control. */
export class PgaioError extends Error {
  override readonly name: string = 'PgaioError';
  readonly code: string;
  /** What the user can do; a sentence. */
  readonly hint: string | undefined;
  /** More about what happened; a sentence. */
  readonly detail: string | undefined;

  constructor(code: string, message: string, options: PgaioErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.hint = options.hint;
    this.detail = options.detail;
  }
}

/** A setting, option or argument that is out of range or not understood. */
export class SettingError extends PgaioError {
  override readonly name = 'SettingError';
  constructor(message: string, options?: PgaioErrorOptions) {
    super('ERR_PGAIO_SETTING', message, options);
  }
}

/** An I/O method that this machine or process cannot provide. */
export class MethodUnavailableError extends PgaioError {
  override readonly name = 'MethodUnavailableError';
  constructor(message: string, options?: PgaioErrorOptions) {
    super('ERR_PGAIO_METHOD_UNAVAILABLE', message, options);
  }
}

/** The instance is gone for everybody: shared state may be torn, as after a crash of a PostgreSQL backend. */
export class InstanceCrashedError extends PgaioError {
  override readonly name = 'InstanceCrashedError';
  constructor(reason: string) {
    super('ERR_PGAIO_INSTANCE_CRASHED', `the pgaio instance crashed: ${reason}`, {
      hint: 'Close this instance and create a new one; nothing in its shared memory can be trusted.',
    });
  }
}

/** The instance or backend was closed while, or before, it was used. */
export class ClosedError extends PgaioError {
  override readonly name = 'ClosedError';
  constructor(what: string) {
    super('ERR_PGAIO_CLOSED', `${what} is closed`);
  }
}

/** A private ("temporary") relation was to be read by a backend that it does not belong to. */
export class PrivateRelationError extends PgaioError {
  override readonly name = 'PrivateRelationError';
  /** Relative to the data directory. */
  readonly path: string;
  /** Number of the backend whose relation it is. */
  readonly owner: number;
  constructor(path: string, owner: number, reader: number) {
    super(
      'ERR_PGAIO_PRIVATE_RELATION',
      `relation "${path}" is private to backend ${owner}; backend ${reader} cannot read it`,
      { hint: 'Its pages are in the memory of its own backend: read it there.' },
    );
    this.path = path;
    this.owner = owner;
  }
}

/** A bounded resource is used up, and waiting would not help. */
export class ResourceExhaustedError extends PgaioError {
  override readonly name = 'ResourceExhaustedError';
  constructor(message: string, options?: PgaioErrorOptions) {
    super('ERR_PGAIO_EXHAUSTED', message, options);
  }
}

export interface IoErrorFields extends PgaioErrorOptions {
  path: string;
  /** First block of the physical I/O; undefined for I/O that has no blocks. */
  firstBlock?: number;
  lastBlock?: number;
  /** Positive errno, or 0 when the kernel reported none (a short read). */
  errno?: number;
}

/** A read or write that failed: the kernel said no, or delivered too little. */
export class IoError extends PgaioError {
  override readonly name: string = 'IoError';
  readonly path: string;
  readonly firstBlock: number | undefined;
  readonly lastBlock: number | undefined;
  readonly errno: number;
  /** Name of the errno (`EIO`), or undefined. */
  readonly syscode: string | undefined;

  constructor(code: string, message: string, fields: IoErrorFields) {
    super(code, message, fields);
    this.path = fields.path;
    this.firstBlock = fields.firstBlock;
    this.lastBlock = fields.lastBlock;
    this.errno = fields.errno ?? 0;
    this.syscode = this.errno === 0 ? undefined : getSystemErrorName(this.errno);
  }
}

/** The kernel refused: message class R1 of the conformance table. */
export class ReadFailedError extends IoError {
  override readonly name = 'ReadFailedError';
  constructor(what: string, fields: IoErrorFields & { errno: number }) {
    super(
      `ERR_PGAIO_READ_${getSystemErrorName(fields.errno)}`,
      `could not read ${what}: ${getSystemErrorMessage(fields.errno)}`,
      {
        ...fields,
        ...hintFor(fields.errno),
      },
    );
  }
}

/** Fewer bytes than asked for, and no more to be had: message class R2. */
export class ShortReadError extends IoError {
  override readonly name = 'ShortReadError';
  readonly got: number;
  readonly wanted: number;
  constructor(what: string, got: number, wanted: number, fields: IoErrorFields) {
    super('ERR_PGAIO_SHORT_READ', `could not read ${what}: read only ${got} of ${wanted} bytes`, fields);
    this.got = got;
    this.wanted = wanted;
  }
}

/** One or more pages failed verification: message classes P1 and P2. */
export class InvalidPageError extends IoError {
  override readonly name = 'InvalidPageError';
  /** How many pages of the I/O are invalid. */
  readonly count: number;
  /** The first invalid block. */
  readonly block: number;
  constructor(path: string, firstBlock: number, lastBlock: number, block: number, count: number) {
    const single = `invalid page in block ${block} of relation "${path}"`;
    const several = `${count} invalid pages among blocks ${firstBlock}..${lastBlock} of relation "${path}"`;
    super('ERR_PGAIO_INVALID_PAGE', count === 1 ? single : several, {
      path,
      firstBlock,
      lastBlock,
      ...(count > 1 && {
        detail: `Block ${block} is the first invalid page.`,
        hint: `See the log for the other ${count - 1} invalid block(s).`,
      }),
    });
    this.block = block;
    this.count = count;
  }
}

function hintFor(errno: number): PgaioErrorOptions {
  const { EMFILE, ENFILE, EACCES, EPERM, EINVAL } = osConstants.errno;
  if (errno === EMFILE || errno === ENFILE) {
    return { hint: 'Lower maxFilesPerProcess, or raise the limit on open files (ulimit -n).' };
  }
  if (errno === EACCES || errno === EPERM) return { hint: 'Run as the user that owns the files.' };
  if (errno === EINVAL) {
    return { hint: 'With O_DIRECT, position, length and memory must be multiples of the alignment.' };
  }
  return {};
}
