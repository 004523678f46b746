/**
 * Plain files with the methods of Node's `FileHandle`: the same arguments, results and errors, over the instance's I/O
 * method. What differs is listed in docs/files.md.
 */
import { fstatSync, ftruncateSync, type BigIntStats, type StatOptions, type Stats } from 'node:fs';
import { constants } from 'node:os';
import { AbortError, FileError } from '../base/file-error.js';
import type { ReadableStream, WritableStream } from 'node:stream/web';
import { errnoOf } from '../base/system-errors.js';
import type { Vfd } from '../vfd/vfd.js';
import {
  bytesOf,
  checkViews,
  positionOf,
  transferArguments,
  type Position,
  type TransferArguments,
  type TransferOptions,
} from './file-arguments.js';
import { checkInteger, checkOptions, checkSignal } from './checks.js';
import type { FileIo } from './file-io.js';
import { FileTransfers } from './file-transfers.js';
import type { IoBuffers } from './io-buffer.js';
import { FileReadStream } from './file-read-stream.js';
import { FileWriteStream } from './file-write-stream.js';
import { positionsOf, targetsOf, ManyReads, type ReadRange } from './many-reads.js';
import type { StreamFile } from './stream-file.js';
import { optionsOf, type FileReadStreamOptions, type FileWriteStreamOptions } from './stream-options.js';
import { webReadable, webWritable, type WebReadOptions, type WebWriteOptions } from './web-streams.js';

const { EBADF, EIO } = constants.errno;
/** As Node's: what `read()` without a buffer makes. */
const DEFAULT_READ_BYTES = 16_384;
/** Small ranges in flight at most. */
const MANY_READS_DEPTH = 64;

/** What the files of a thread share. */
export interface FileHandleContext {
  readonly io: FileIo;
  readonly buffers: IoBuffers;
  /** Of positions, lengths and memory in direct I/O. */
  readonly directAlignment: (path: string) => number;
  readonly closed: (handle: FileHandle) => void;
}

export interface ReadManyOptions {
  /** Where the bytes go, one range behind the other. Default: new memory. */
  buffer?: NodeJS.ArrayBufferView | undefined;
  signal?: AbortSignal | undefined;
}

export class FileHandle {
  readonly path: string;
  readonly #context: FileHandleContext;
  readonly #vfd: Vfd;
  readonly #transfers: FileTransfers;
  #closing: Promise<void> | null = null;
  #syncFailure: FileError | null = null;
  /** How many of the file's had failed when it was opened. */
  readonly #syncFailuresBefore: number;

  /** @internal See `Backend.openFile`. */
  constructor(context: FileHandleContext, vfd: Vfd) {
    this.#context = context;
    this.#vfd = vfd;
    this.path = vfd.path;
    this.#syncFailuresBefore = this.#syncFailures;
    const alignment = vfd.direct ? context.directAlignment(vfd.path) : 1;
    this.#transfers = new FileTransfers(this, context.io, context.buffers, vfd, alignment);
  }

  // --- reading -----------------------------------------------------------------------------------

  /**
   * Reads into the buffer, as `FileHandle.read` does. Resolves with fewer bytes than asked for only where the file ends,
   * with 0 at its end. Rejects with a FileError.
   */
  read<B extends NodeJS.ArrayBufferView = Buffer>(
    options?: TransferOptions & { buffer?: B },
  ): Promise<{ bytesRead: number; buffer: B }>;
  read<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesRead: number; buffer: B }>;
  read<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    options?: TransferOptions,
  ): Promise<{ bytesRead: number; buffer: B }>;
  read(
    bufferOrOptions?: NodeJS.ArrayBufferView | (TransferOptions & { buffer?: NodeJS.ArrayBufferView }),
    offsetOrOptions?: number | TransferOptions | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesRead: number; buffer: NodeJS.ArrayBufferView }> {
    return rejecting(() => {
      const given = ArrayBuffer.isView(bufferOrOptions)
        ? transferArguments(bufferOrOptions, offsetOrOptions, length, position)
        : transferArguments(
            checkOptions(bufferOrOptions).buffer ?? Buffer.alloc(DEFAULT_READ_BYTES),
            bufferOrOptions,
            undefined,
            undefined,
          );
      const { buffer } = given;
      return this.#transfer('read', given, (bytesRead) => ({ bytesRead, buffer }));
    });
  }

  /** Fills the buffers one behind the other, as `FileHandle.readv` does. */
  async readv<B extends readonly NodeJS.ArrayBufferView[]>(
    buffers: B,
    position?: Position,
  ): Promise<{ bytesRead: number; buffers: B }> {
    checkViews(buffers);
    const bytesRead = await this.#vector('read', buffers, positionOf(position));
    return { bytesRead, buffers };
  }

  /**
   * Reads many ranges with one promise and, whatever their number, a bounded number of I/Os in flight: the way to read
   * thousands of small records. Resolves with a Buffer for each range, in their order, shorter where the file ends; cut
   * from the `buffer` if one is given, into which nothing is copied if it is of an I/O buffer. Rejects with the first
   * FileError.
   */
  async readMany(ranges: readonly ReadRange[], options: ReadManyOptions = {}): Promise<Buffer[]> {
    this.#assertOpen('read');
    const { signal, buffer } = checkOptions(options);
    checkSignal(signal);
    if (signal?.aborted === true) throw new AbortError(signal);
    const targets = targetsOf(ranges, buffer);
    const pinned = buffer === undefined ? null : this.#context.buffers.of(bytesOf(buffer));
    const { context } = this.#context.io;
    const transfers = this.#transfers;
    const { alignment, pieceBytes } = transfers;
    const reads = new ManyReads(context, {
      vfd: this.#vfd,
      positions: positionsOf(ranges),
      targets,
      alignment,
      pieceBytes,
      depth: MANY_READS_DEPTH,
    });
    pinned?.pin();
    transfers.underWay.begin();
    return reads.run(signal, (isOver) => {
      if (isOver) pinned?.unpin();
      transfers.underWay.end();
    });
  }

  // --- writing -----------------------------------------------------------------------------------

  /**
   * Writes the bytes, all of them, as `FileHandle.write` does. They must not change before this resolves. Rejects with a
   * FileError; what was written of them by then is not known.
   */
  write<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    offset?: number | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesWritten: number; buffer: B }>;
  write<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    options?: TransferOptions,
  ): Promise<{ bytesWritten: number; buffer: B }>;
  write(
    text: string,
    position?: Position,
    encoding?: BufferEncoding | null,
  ): Promise<{ bytesWritten: number; buffer: string }>;
  write(
    data: NodeJS.ArrayBufferView | string,
    second?: Position | TransferOptions,
    third?: number | BufferEncoding | null,
    position?: Position,
  ): Promise<{ bytesWritten: number; buffer: NodeJS.ArrayBufferView | string }> {
    return rejecting(() => {
      const given =
        typeof data === 'string'
          ? transferArguments(
              Buffer.from(data, (third as BufferEncoding | null | undefined) ?? 'utf8'),
              0,
              undefined,
              second as Position,
            )
          : transferArguments(
              data,
              second as number | TransferOptions | null | undefined,
              third as number | null | undefined,
              position,
            );
      return this.#transfer('write', given, (bytesWritten) => ({ bytesWritten, buffer: data }));
    });
  }

  /** Writes the buffers one behind the other, as `FileHandle.writev` does. */
  async writev<B extends readonly NodeJS.ArrayBufferView[]>(
    buffers: B,
    position?: Position,
  ): Promise<{ bytesWritten: number; buffers: B }> {
    checkViews(buffers);
    const bytesWritten = await this.#vector('write', buffers, positionOf(position));
    return { bytesWritten, buffers };
  }

  // --- streams -----------------------------------------------------------------------------------

  /** As `FileHandle.createReadStream`, with reads in flight ahead of whoever consumes it. Closes the file at the end. */
  createReadStream(options?: FileReadStreamOptions | BufferEncoding): FileReadStream {
    this.#assertOpen('read');
    return new FileReadStream(this.path, () => Promise.resolve(this.forStreams()), optionsOf(options));
  }

  /** As `FileHandle.createWriteStream`. Closes the file at the end. */
  createWriteStream(options?: FileWriteStreamOptions | BufferEncoding): FileWriteStream {
    this.#assertOpen('write');
    return new FileWriteStream(this.path, () => Promise.resolve(this.forStreams()), optionsOf(options));
  }

  /** As `FileHandle.readableWebStream`, with look-ahead: a byte stream. */
  readableWebStream(options: WebReadOptions = {}): ReadableStream<Uint8Array> {
    this.#assertOpen('read');
    return webReadable(this.forStreams(), options);
  }

  /** A web stream that writes the bytes it is given. A write is over when its promise says so. */
  writableWebStream(options: WebWriteOptions = {}): WritableStream<Uint8Array> {
    this.#assertOpen('write');
    return webWritable(this.forStreams(), options);
  }

  /** @internal What streams do with the file. */
  forStreams(): StreamFile {
    return {
      position: () => this.#transfers.current,
      advance: (bytes) => {
        this.#transfers.current += bytes;
      },
      size: () => this.#call('fstat', (fd) => fstatSync(fd).size),
      read: (position, bytes, signal) =>
        rejecting(() => this.#transfer('read', { buffer: bytes, bytes, position, signal }, (count) => count)),
      write: (buffers, position) => this.#vector('write', buffers, position),
      sync: () => this.sync(),
      close: () => this.close(),
    };
  }

  // --- durability, size, state -------------------------------------------------------------------

  /**
   * fsync(2): what was written before is durable when this resolves. After it has rejected, it and `datasync` reject for
   * ever: the kernel says only once that it could not write something, and forgets what that was.
   */
  sync(): Promise<void> {
    return this.#sync('fsync');
  }

  /** fdatasync(2): as `sync`, without metadata that reading does not need. */
  datasync(): Promise<void> {
    return this.#sync('fdatasync');
  }

  async #sync(operation: 'fsync' | 'fdatasync'): Promise<void> {
    this.#assertOpen('fsync');
    this.#assertSyncs(operation);
    try {
      await this.#transfers.sync(operation);
    } catch (error) {
      if (error instanceof FileError) this.#syncFailure = error;
      throw error;
    }
    this.#assertSyncs(operation);
  }

  /** The kernel may have told somebody else, who has the same file open, and tells that only once. */
  #assertSyncs(operation: 'fsync' | 'fdatasync'): void {
    if (this.#syncFailure === null && this.#syncFailures !== this.#syncFailuresBefore) {
      const hint = 'An fsync of this file has failed that others in this instance asked for.';
      this.#syncFailure = new FileError(operation, { path: this.path, errno: EIO, hint });
    }
    if (this.#syncFailure !== null) throw this.#syncFailure;
  }

  get #syncFailures(): number {
    return this.#context.io.context.vfds.table.syncFailures(this.#vfd.entry);
  }

  /** Makes the file so long: cuts it, or adds zeroes. */
  async truncate(length = 0): Promise<void> {
    const bytes = Math.max(0, checkInteger('len', length, Number.MIN_SAFE_INTEGER));
    this.#call('ftruncate', (fd) => ftruncateSync(fd, bytes));
  }

  stat(options?: StatOptions & { bigint?: false | undefined }): Promise<Stats>;
  stat(options: StatOptions & { bigint: true }): Promise<BigIntStats>;
  async stat(options?: StatOptions): Promise<Stats | BigIntStats> {
    return this.#call('fstat', (fd) => fstatSync(fd, options));
  }

  /** What the kernel does at once, on this thread. */
  #call<T>(syscall: 'ftruncate' | 'fstat', body: (fd: number) => T): T {
    this.#assertOpen(syscall);
    try {
      return body(this.#context.io.context.vfds.useOrThrow(this.#vfd));
    } catch (error) {
      throw new FileError(syscall, { path: this.path, errno: errnoOf(error, EIO) });
    }
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Resolves when what is under way is over and the file is closed. Closing again is not an error. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    await this.#transfers.underWay.whenOver();
    this.#context.closed(this);
    this.#context.io.context.vfds.close(this.#vfd);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get isClosed(): boolean {
    return this.#closing !== null;
  }

  #assertOpen(syscall: ConstructorParameters<typeof FileError>[0]): void {
    if (this.#closing !== null) throw new FileError(syscall, { path: this.path, errno: EBADF });
  }

  // --- moving bytes ------------------------------------------------------------------------------

  #transfer<T>(
    operation: 'read' | 'write',
    given: TransferArguments<ArrayBufferView>,
    result: (bytes: number) => T,
  ): Promise<T> {
    this.#assertOpen(operation);
    return this.#transfers.transfer(operation, given, result);
  }

  async #vector(
    operation: 'read' | 'write',
    buffers: readonly NodeJS.ArrayBufferView[],
    position: number | null,
  ): Promise<number> {
    this.#assertOpen(operation);
    return this.#transfers.vector(operation, buffers, position);
  }
}

/** What throws at once is a rejection, too; without the promise that an async function would add. */
function rejecting<T>(body: () => Promise<T>): Promise<T> {
  try {
    return body();
  } catch (error) {
    return Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}
