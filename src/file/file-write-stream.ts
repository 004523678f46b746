/** A file as a Writable, as `fs.createWriteStream` gives it. */
import { Writable, addAbortSignal } from 'node:stream';
import { closeFile, whenClosed, type StreamFile } from './stream-file.js';
import { checkRange, type FileWriteStreamOptions } from './stream-options.js';

/** More than Node's 16 KiB: what was gathered while one write was under way goes with the next one. */
export const WRITE_BUFFER_BYTES = 262_144;

interface Chunk {
  readonly chunk: Uint8Array;
}

/**
 * Emits what a stream of `fs.createWriteStream` emits: `open` (with no descriptor), `ready`, `drain`, `finish`, `error`,
 * `close`. A chunk's callback is called when it was written, not before. An error is a FileError; what was written behind
 * the last chunk that was called back is not known then.
 */
export class FileWriteStream extends Writable {
  readonly path: string;
  bytesWritten = 0;
  readonly #open: () => Promise<StreamFile>;
  readonly #flush: boolean;
  readonly #autoClose: boolean;
  /** Before it began: the file is not opened. */
  readonly #isAborted: boolean;
  /** Where the next write goes; null: to the current position. */
  #position: number | null;
  #file: StreamFile | null = null;

  /** @internal See `Backend.createWriteStream`, `FileHandle.createWriteStream`. */
  constructor(path: string, open: () => Promise<StreamFile>, options: FileWriteStreamOptions) {
    const { start, encoding, highWaterMark, autoClose = true, emitClose, signal, flush = false } = options;
    checkRange(start, undefined);
    super({
      highWaterMark: highWaterMark ?? WRITE_BUFFER_BYTES,
      autoDestroy: autoClose,
      ...(typeof encoding === 'string' && { defaultEncoding: encoding }),
      ...(emitClose !== undefined && { emitClose }),
    });
    this.path = path;
    this.#open = open;
    this.#flush = flush;
    this.#autoClose = autoClose;
    this.#position = start ?? null;
    this.#isAborted = signal?.aborted === true;
    if (signal !== undefined) addAbortSignal(signal, this); // which may destroy it at once
  }

  /** Whether the file is not open yet, or not any more. */
  get pending(): boolean {
    return this.#file === null || this.closed;
  }

  override _construct(callback: (error?: Error | null) => void): void {
    if (this.#isAborted) {
      callback();
      return;
    }
    this.#open().then(
      (file) => {
        this.#file = file;
        callback();
        this.emit('open');
        this.emit('ready');
      },
      (error: unknown) => callback(error as Error),
    );
  }

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: (error?: Error) => void): void {
    this.#write([chunk], callback);
  }

  override _writev(chunks: readonly Chunk[], callback: (error?: Error) => void): void {
    this.#write(
      chunks.map(({ chunk }) => chunk),
      callback,
    );
  }

  #write(buffers: readonly Uint8Array[], callback: (error?: Error) => void): void {
    let bytes = 0;
    for (const buffer of buffers) bytes += buffer.length;
    (this.#file as StreamFile).write(buffers, this.#position).then(
      () => {
        this.bytesWritten += bytes;
        callback();
      },
      (error: unknown) => callback(error as Error),
    );
    if (this.#position !== null) this.#position += bytes;
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (!this.#flush) {
      callback();
      return;
    }
    (this.#file as StreamFile).sync().then(
      () => callback(),
      (error: unknown) => callback(error as Error),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    closeFile(this.#file, error, callback);
  }

  /** Writes what was given, and closes the file. */
  close(callback?: (error?: Error | null) => void): void {
    whenClosed(this, callback);
    if (!this.#autoClose) this.once('finish', () => this.destroy());
    this.end();
  }

  /** As `end`, which it is in Node, too. */
  destroySoon(): void {
    this.end();
  }
}
