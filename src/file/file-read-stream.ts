/** A file as a Readable, as `fs.createReadStream` gives it, with look-ahead. */
import { Readable, addAbortSignal } from 'node:stream';
import { LookAhead } from './look-ahead.js';
import { closeFile, whenClosed, type StreamFile } from './stream-file.js';
import { checkRange, type FileReadStreamOptions } from './stream-options.js';

/** How streams read. The chunks are Node's. */
export const READ_SIZES = { chunkBytes: 65_536, readBytes: 262_144, aheadBytes: 2_097_152 };

/**
 * Emits what a stream of `fs.createReadStream` emits: `open` (with no descriptor), `ready`, `data`, `end`, `error`, `close`.
 * An error is a FileError.
 */
export class FileReadStream extends Readable {
  readonly path: string;
  /** Bytes that were handed on. */
  bytesRead = 0;
  readonly #open: () => Promise<StreamFile>;
  readonly #start: number | undefined;
  readonly #end: number;
  readonly #autoClose: boolean;
  /** Before it began: the file is not opened. */
  readonly #isAborted: boolean;
  #file: StreamFile | null = null;
  #chunks: LookAhead | null = null;

  /** @internal See `Backend.createReadStream`, `FileHandle.createReadStream`. */
  constructor(path: string, open: () => Promise<StreamFile>, options: FileReadStreamOptions) {
    const { start, end = Infinity, encoding, highWaterMark, autoClose = true, emitClose, signal } = options;
    checkRange(start, end);
    super({
      highWaterMark: highWaterMark ?? READ_SIZES.chunkBytes,
      autoDestroy: autoClose,
      ...(typeof encoding === 'string' && { encoding }),
      ...(emitClose !== undefined && { emitClose }),
    });
    this.path = path;
    this.#open = open;
    this.#start = start;
    this.#end = end;
    this.#autoClose = autoClose;
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

  /** Later, also what has been read already: what is pushed at once is put together with what waits, by a copy. */
  override _read(): void {
    this.#next().then(
      (chunk) => this.#give(chunk),
      (error: unknown) => {
        if (this.destroyed) return; // whoever did that has no use for it
        if (this.#autoClose) this.destroy(error as Error);
        else this.emit('error', error);
      },
    );
  }

  #next(): Promise<Buffer | null> {
    const file = this.#file as StreamFile;
    // Without a start, Node counts the end from where the stream begins.
    const from = file.position();
    this.#chunks ??= new LookAhead(file, {
      ...READ_SIZES,
      start: this.#start ?? from,
      end: this.#start === undefined ? from + this.#end : this.#end,
      chunkBytes: Math.max(1, this.readableHighWaterMark),
    });
    return this.#chunks.next();
  }

  #give(chunk: Buffer | null): void {
    if (this.destroyed) return;
    const bytes = chunk?.length ?? 0;
    if (this.#start === undefined) this.#file?.advance(bytes);
    this.bytesRead += bytes;
    this.push(chunk);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#chunks?.stop();
    closeFile(this.#file, error, callback);
  }

  /** Ends the stream early, and closes the file. */
  close(callback?: (error?: Error | null) => void): void {
    whenClosed(this, callback);
    this.destroy();
  }
}
