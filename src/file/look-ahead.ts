/**
 * The chunks of a file from one position on, in order, with reads in flight ahead of whoever takes them. The first read is
 * as long as a chunk. Then they grow, each twice as long up to a limit, and with them the distance that is looked ahead: who
 * wants a file's first bytes costs little, and who reads on soon waits for nothing.
 *
 * Each read has a buffer of its own from the start. What was read ahead therefore keeps no I/O memory while nobody takes
 * it, and a stream whose consumer is slow takes nothing away from others.
 */

/** The file that streams read. */
export interface ReadSource {
  /** Resolves with the number of bytes: fewer than asked for only where the file ends. */
  read(position: number, bytes: Uint8Array, signal: AbortSignal): Promise<number>;
  /** Bytes, now. Throws a FileError. */
  size(): number;
}

export interface LookAheadOptions {
  /** First byte. */
  readonly start: number;
  /** Last byte, which is read, too; Infinity: all there is. */
  readonly end: number;
  /** Bytes a chunk. */
  readonly chunkBytes: number;
  /** Bytes a read at most, if chunks are not longer. */
  readonly readBytes: number;
  /** Bytes in flight, or read and not taken, at most; one read at least. */
  readonly aheadBytes: number;
}

interface Flight {
  readonly buffer: Buffer;
  readonly read: Promise<number>;
}

const NOTHING = Buffer.alloc(0);

export class LookAhead {
  readonly #source: ReadSource;
  readonly #options: LookAheadOptions;
  readonly #flights: Flight[] = [];
  readonly #abort = new AbortController();
  /** What was read and not taken, of one read. */
  #rest: Buffer = NOTHING;
  /** Where the next read begins. */
  #position: number;
  /** Of the file, when it was last asked. Behind it one read at a time looks whether there is more. */
  #size = 0;
  /** Bytes of the next read. */
  #length: number;
  /** Bytes that may be in flight. */
  #distance: number;
  #inFlight = 0;
  #isOver = false;

  constructor(source: ReadSource, options: LookAheadOptions) {
    this.#source = source;
    this.#options = options;
    this.#position = options.start;
    this.#length = this.#distance = options.chunkBytes;
  }

  /** The next chunk; null behind the last byte. Rejects with the FileError of the read. One call at a time. */
  async next(): Promise<Buffer | null> {
    if (!this.#isOver) this.#startMore();
    if (this.#rest.length > 0) return this.#cut();
    if (this.#isOver) return null;
    const flight = this.#flights.shift();
    return flight === undefined ? this.#end() : await this.#land(flight);
  }

  /** Nothing more is taken: what has not begun does not begin. */
  stop(): void {
    this.#rest = NOTHING;
    this.#end();
    this.#abort.abort();
  }

  #cut(): Buffer {
    const chunk = this.#rest.subarray(0, this.#options.chunkBytes);
    this.#rest = this.#rest.subarray(chunk.length);
    return chunk;
  }

  async #land({ buffer, read }: Flight): Promise<Buffer | null> {
    const { chunkBytes, readBytes, aheadBytes } = this.#options;
    this.#length = Math.max(chunkBytes, Math.min(readBytes, this.#length * 2));
    this.#distance = Math.max(this.#length, Math.min(aheadBytes, this.#distance * 2));
    let bytes: number;
    try {
      bytes = await read;
    } catch (error) {
      this.stop();
      throw error;
    }
    this.#inFlight -= buffer.length;
    if (bytes < buffer.length) this.#end(); // what was read behind the end is nothing
    if (bytes === 0 || this.#abort.signal.aborted) return null;
    this.#rest = buffer.subarray(0, bytes);
    return this.#cut();
  }

  #end(): null {
    this.#isOver = true;
    this.#flights.length = 0;
    return null;
  }

  #startMore(): void {
    const { end } = this.#options;
    while (this.#position <= end) {
      const length = Math.min(this.#length, end - this.#position + 1);
      if (this.#flights.length > 0 && this.#inFlight + length > this.#distance) return;
      if (this.#position >= this.#size) {
        this.#size = this.#source.size();
        // It may grow while it is read, and files of /proc say that they are empty.
        if (this.#position >= this.#size && this.#flights.length > 0) return;
      }
      const buffer = Buffer.allocUnsafeSlow(length);
      const read = this.#source.read(this.#position, buffer, this.#abort.signal);
      read.catch(() => undefined); // it is awaited later, or never
      this.#flights.push({ buffer, read });
      this.#inFlight += length;
      this.#position += length;
    }
  }
}
