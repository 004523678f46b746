/**
 * A plain file that is read through the shared pool: what one thread has read, all others find there. Whole files or parts
 * of them can be read in beforehand, kept, and put out.
 */
import { Scope } from '../aio/scope.js';
import { ClosedError, ResourceExhaustedError } from '../base/errors.js';
import { AbortError } from '../base/file-error.js';
import { MAX_IO_CONCURRENCY, BLOCK_SIZE } from '../base/settings.js';
import { checkRange } from '../base/units.js';
import type { BufferManager, ForkReader } from '../buffer/buffer-manager.js';
import { DescriptorLayout, PIN_MASK, TAG_VALID } from '../buffer/descriptor.js';
import { DropRelationBuffers } from '../buffer/drop-buffers.js';
import { ReadFlag } from '../buffer/page-damage.js';
import { offAbort, onAbort } from '../file/abort-listeners.js';
import { checkInteger, checkOptions, checkSignal } from '../file/checks.js';
import { transferArguments, type Position, type TransferOptions } from '../file/file-arguments.js';
import { FileReadStream } from '../file/file-read-stream.js';
import type { StreamFile } from '../file/stream-file.js';
import { optionsOf, type FileReadStreamOptions } from '../file/stream-options.js';
import { ReadStream } from '../read-stream/read-stream.js';
import { END_OF_STREAM } from '../read-stream/stream-options.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { Fork } from '../smgr/relation.js';
import type { FileBlocks } from './file-blocks.js';

const AT = DescriptorLayout.at;
/** Blocks that are read without a look at whether the event loop is due. */
const STEP_BLOCKS = 128;

/** What the cached files of a backend share. */
export interface CacheContext {
  readonly buffers: BufferManager;
  readonly scope: Scope;
  /** Blocks an I/O at most. */
  readonly combineLimit: number;
  /** Reads in flight, of one reader. */
  readonly ioConcurrency: number;
  /** The same, of prewarming. */
  readonly maintenanceIoConcurrency: number;
  /** The method executes a read when it is started. */
  readonly deferred: boolean;
}

/** Bytes of the file. */
export interface ByteRange {
  /** First byte. Default: 0. */
  start?: number | undefined;
  /** Last byte, which is meant, too. Default: the file's last. */
  end?: number | undefined;
}

export interface PrewarmOptions extends ByteRange {
  signal?: AbortSignal | undefined;
  /** Reads in flight. Default: the instance's `maintenanceIoConcurrency`. */
  ioConcurrency?: number | undefined;
}

/** What the pool has of a file. */
export interface Residency {
  /** Blocks of the file. */
  readonly blocks: number;
  /** Of them, those in the pool. Others read and evict meanwhile: as of about now. */
  readonly resident: number;
  /** Of these, those that somebody has pinned. */
  readonly pinned: number;
}

/** Blocks that stay in the pool until they are released. */
export class KeptRange {
  readonly blocks: number;
  #scope: Scope | null;

  /** @internal */
  constructor(scope: Scope, blocks: number) {
    this.#scope = scope;
    this.blocks = blocks;
  }

  /** From here on they go as others do. Again is not an error. */
  release(): void {
    this.#scope?.end(true);
    this.#scope = null;
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

export class CachedFile {
  readonly path: string;
  /**
   * Names the file as it was when it was opened, in 24 hexadecimal digits: another file, or the same after a change, has
   * another one. An ETag, for example.
   */
  readonly identity: string;
  /** Bytes, when it was opened; later ones are not read. */
  readonly size: number;
  readonly #blocks: FileBlocks;
  readonly #context: CacheContext;
  readonly #reader: ForkReader;
  #current = 0;
  #underWay = 0;
  #idle: (() => void) | null = null;
  #closing: Promise<void> | null = null;

  /** @internal See `Backend.openCachedFile`. */
  constructor(context: CacheContext, blocks: FileBlocks) {
    this.#context = context;
    this.#blocks = blocks;
    this.path = blocks.path();
    this.identity = blocks.identity;
    this.size = blocks.size;
    this.#reader = context.buffers.reader(blocks, Fork.MAIN, ReadFlag.OPAQUE);
  }

  /** Blocks of 8192 bytes, of which the last may be shorter in the file. */
  get blocks(): number {
    return this.#blocks.blocks;
  }

  /**
   * Whether the file is as it was when it was opened. When not, open it again: what was read since it changed may be of
   * either state. A file that was replaced under its path is unchanged as long as it is open.
   */
  isUnchanged(): boolean {
    this.#assertOpen();
    return this.#blocks.isUnchanged();
  }

  // --- reading -----------------------------------------------------------------------------------

  /**
   * Reads into the buffer, as `FileHandle.read` does: what is in the pool is copied from there, the rest is read into it
   * first. Resolves with fewer bytes than asked for only where the file ends. Rejects with a ReadFailedError, with a
   * ShortReadError if the file has become shorter, and with an AbortError.
   */
  async read<B extends NodeJS.ArrayBufferView>(
    buffer: B,
    offsetOrOptions?: number | TransferOptions | null,
    length?: number | null,
    position?: Position,
  ): Promise<{ bytesRead: number; buffer: B }> {
    const given = transferArguments(buffer, offsetOrOptions, length, position);
    const from = given.position ?? this.#current;
    const behind = Math.min(this.size, from + given.bytes.length);
    if (given.position === null) this.#current = behind; // what comes while this one reads goes on behind it
    try {
      return { bytesRead: await this.#copy(from, given.bytes, given.signal), buffer };
    } catch (error) {
      if (given.position === null && this.#current === behind) this.#current = from;
      throw error;
    }
  }

  /** As `fs.createReadStream`, through the pool. It leaves the file open, unless `autoClose` says otherwise. */
  createReadStream(options?: FileReadStreamOptions | BufferEncoding): FileReadStream {
    this.#assertOpen();
    const whole = { autoClose: false, ...optionsOf(options) };
    const close = whole.autoClose ? () => this.close() : () => Promise.resolve();
    return new FileReadStream(this.path, () => Promise.resolve(this.#forStreams(close)), {
      start: 0,
      ...whole,
      autoClose: true,
    });
  }

  #forStreams(close: () => Promise<void>): StreamFile {
    const refuse = (): Promise<never> => Promise.reject(new TypeError('a cached file cannot be written'));
    return {
      position: () => 0,
      advance: () => undefined,
      size: () => this.size,
      read: (position, bytes, signal) => this.#copy(position, bytes, signal),
      write: refuse,
      sync: refuse,
      close,
    };
  }

  #copy(position: number, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<number> {
    this.#assertOpen();
    if (signal?.aborted === true) throw new AbortError(signal);
    const wanted = Math.max(0, Math.min(bytes.length, this.size - position));
    const copied = this.#copyCached(position, bytes, wanted);
    if (copied === wanted) return this.#context.buffers.aio.waits.resolved(wanted);
    return this.#copyMissing(position, bytes, copied, wanted, signal);
  }

  /** What is in the pool, from the position on; stops at the first block that is not. */
  #copyCached(position: number, bytes: Uint8Array, wanted: number): number {
    const { buffers, scope } = this.#context;
    const { pool } = buffers;
    let done = 0;
    while (done < wanted) {
      const block = Math.floor((position + done) / BLOCK_SIZE);
      const buffer = pool.lookup(this.#reader.tag, block | 0, scope);
      if (buffer < 0) break;
      const { foundValid } = pool;
      if (foundValid) {
        done += this.#copyPage(buffer, block, position, bytes, done, wanted);
        buffers.hit(null);
      }
      pool.unpin(buffer, scope);
      if (!foundValid) break;
    }
    return done;
  }

  /** Returns how many bytes of the block there were to copy. */
  #copyPage(
    buffer: number,
    block: number,
    position: number,
    bytes: Uint8Array,
    done: number,
    wanted: number,
  ): number {
    const from = position + done - block * BLOCK_SIZE;
    const count = Math.min(wanted - done, BLOCK_SIZE - from);
    bytes.set(this.#context.buffers.page(buffer).subarray(from, from + count), done);
    return count;
  }

  async #copyMissing(
    position: number,
    bytes: Uint8Array,
    copied: number,
    wanted: number,
    signal: AbortSignal | undefined,
  ): Promise<number> {
    const { pool } = this.#context.buffers;
    const { scope } = this.#context;
    let done = copied;
    let block = Math.floor((position + done) / BLOCK_SIZE);
    const last = Math.floor((position + wanted - 1) / BLOCK_SIZE);
    await this.#scan(block, last, {}, signal, (buffer) => {
      done += this.#copyPage(buffer, block++, position, bytes, done, wanted);
      pool.unpin(buffer, scope);
    });
    return done;
  }

  /** Reads blocks in their order, with look-ahead, and gives each, pinned, to be unpinned. */
  async #scan(
    first: number,
    last: number,
    options: { readonly scope?: Scope; readonly full?: boolean; readonly ioConcurrency?: number | undefined },
    signal: AbortSignal | undefined,
    take: (buffer: number) => void,
  ): Promise<void> {
    const { buffers, combineLimit, deferred } = this.#context;
    const { scope = this.#context.scope, full = false } = options;
    const usual = full ? this.#context.maintenanceIoConcurrency : this.#context.ioConcurrency;
    const { ioConcurrency = usual } = options;
    let next = first;
    const stream = new ReadStream(
      buffers,
      this.#reader,
      scope,
      () => (next <= last ? next++ : END_OF_STREAM),
      {
        ioConcurrency,
        combineLimit,
        full,
        batchMode: true,
        deferred,
        advice: false,
        mayBlock: false,
        strategy: null,
        perBufferData: null,
      },
    );
    const step = (): boolean | Pending => {
      for (let count = 0; count < STEP_BLOCKS; count++) {
        if (signal?.aborted === true) throw new AbortError(signal);
        const buffer = stream.next();
        if (buffer === PENDING) return PENDING;
        if (buffer === END_OF_STREAM) return true;
        take(buffer);
      }
      return false;
    };
    const { waits } = buffers.aio;
    const abort = (): void => waits.lookAgain(true);
    if (signal !== undefined) onAbort(signal, abort);
    this.#underWay++;
    try {
      while (!(await waits.until(step))); // in between, others have their turn
    } finally {
      if (signal !== undefined) offAbort(signal, abort);
      stream.close();
      if (--this.#underWay === 0) this.#idle?.();
    }
  }

  // --- what is in the pool -----------------------------------------------------------------------

  /**
   * Reads the file, or a part of it, into the pool: PostgreSQL's pg_prewarm. Resolves with how many blocks that were. Of more
   * than the pool has room for, the last ones stay.
   */
  async prewarm(options?: PrewarmOptions): Promise<number> {
    this.#assertOpen();
    const given = checkOptions(options);
    const { signal, ioConcurrency } = given;
    checkSignal(signal);
    if (ioConcurrency !== undefined) checkRange('ioConcurrency', ioConcurrency, 0, MAX_IO_CONCURRENCY);
    if (signal?.aborted === true) throw new AbortError(signal);
    const { first, last } = this.#blocksOf(given);
    const { buffers, scope } = this.#context;
    await this.#scan(first, last, { full: true, ioConcurrency }, signal, (buffer) => {
      buffers.pool.unpin(buffer, scope);
    });
    return last - first + 1;
  }

  /**
   * Reads a part of the file into the pool, and keeps it there until it is released, or the backend is closed. Rejects with
   * a ResourceExhaustedError for more than half of the pool: others must find buffers, too.
   */
  async keep(options?: PrewarmOptions): Promise<KeptRange> {
    this.#assertOpen();
    const given = checkOptions(options);
    const { signal, ioConcurrency } = given;
    checkSignal(signal);
    if (ioConcurrency !== undefined) checkRange('ioConcurrency', ioConcurrency, 0, MAX_IO_CONCURRENCY);
    if (signal?.aborted === true) throw new AbortError(signal);
    const { first, last } = this.#blocksOf(given);
    const { buffers } = this.#context;
    const count = last - first + 1;
    const room = Math.floor(buffers.pool.region.count / 2);
    if (count > room)
      throw new ResourceExhaustedError(
        `${count} blocks of "${this.path}" were to be kept, and half of the pool is ${room}`,
        { hint: 'Keep less, or create the instance with larger sharedBuffers.' },
      );
    const scope = new Scope(buffers.aio, this.#context.scope);
    try {
      await this.#scan(first, last, { scope, full: true, ioConcurrency }, signal, () => undefined);
    } catch (error) {
      scope.end(true);
      throw error;
    }
    return new KeptRange(scope, count);
  }

  /**
   * Puts the file, or a part of it, out of the pool. Resolves with how many blocks that were. Waits for reads in flight.
   * Rejects with a BuffersPinnedError when somebody has one of them pinned; none is put out then.
   */
  async evict(options?: ByteRange): Promise<number> {
    this.#assertOpen();
    const { first, last } = this.#blocksOf(checkOptions(options));
    const { buffers } = this.#context;
    const ranges = [{ tag: this.#reader.tag, from: first, to: last + 1 }];
    const drop = new DropRelationBuffers(buffers, ranges, this.path);
    await buffers.aio.waits.until(() => drop.step());
    return drop.dropped;
  }

  residency(): Residency {
    this.#assertOpen();
    const { pool } = this.#context.buffers;
    let resident = 0;
    let pinned = 0;
    for (const buffer of this.#buffers()) {
      resident++;
      const state = pool.words.get(pool.base(buffer) + AT.state);
      if ((state & PIN_MASK) !== 0) pinned++;
    }
    return { blocks: this.blocks, resident, pinned };
  }

  /** Those that have a block of the file now: looked up, or, for a file larger than the pool, found among all. */
  *#buffers(): Iterable<number> {
    const { pool } = this.#context.buffers;
    const { tag } = this.#reader;
    if (this.blocks <= pool.region.count) {
      for (let block = 0; block < this.blocks; block++) {
        const buffer = pool.find(tag, block);
        if (buffer >= 0) yield buffer;
      }
      return;
    }
    for (let buffer = 0; buffer < pool.region.count; buffer++) {
      const word = (at: number): number => pool.words.get(pool.base(buffer) + at);
      if (word(AT.relation) !== tag.relation || word(AT.database) !== tag.database) continue;
      if (word(AT.tablespace) !== tag.tablespace || word(AT.forkDirectory) !== tag.forkDirectory) continue;
      if ((word(AT.state) & TAG_VALID) !== 0) yield buffer;
    }
  }

  #blocksOf({ start, end }: ByteRange): { first: number; last: number } {
    const first = Math.floor(checkInteger('start', start ?? 0) / BLOCK_SIZE);
    const until = end === undefined ? Infinity : checkInteger('end', end);
    const last = Math.floor(Math.min(until, this.size - 1) / BLOCK_SIZE);
    return { first, last: Math.max(first - 1, last) };
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Resolves when no read is under way, and the file is closed. What is in the pool stays. Again is not an error. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#blocks.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #assertOpen(): void {
    if (this.#closing !== null) throw new ClosedError(`the file "${this.path}"`);
  }
}
