/**
 * A backend: one thread's place in an instance, and everything it can do there. An object that the thread
 * holds, not a global; a thread may hold several.
 */
import { isMainThread } from 'node:worker_threads';
import { Aio } from '../aio/aio.js';
import type { IoMethodOps } from '../aio/method/method.js';
import { Scope } from '../aio/scope.js';
import type { LogSink } from '../base/log.js';
import { checkBlockNumber, checkKind, checkOnOrOff } from '../base/units.js';
import { ClosedError, InstanceCrashedError, PrivateRelationError } from '../base/errors.js';
import type { BufferManager } from '../buffer/buffer-manager.js';
import { PageSettings, ReadFlag } from '../buffer/page-damage.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { BufferStrategy, type StrategyKind, type StrategySize } from '../buffer/strategy.js';
import { BufferStream } from '../read-stream/buffer-stream.js';
import { isBatchSafe, sequentialBlocks } from '../read-stream/block-sources.js';
import { ReadStream } from '../read-stream/read-stream.js';
import type { NextBlock, ReadStreamOptions } from '../read-stream/stream-options.js';
import { VisibilityMap } from '../read-stream/visibility-map.js';
import { IoMemory } from '../shmem/io-memory.js';
import { currentThreadIdentity } from '../shmem/thread-identity.js';
import { Waits, type Step } from '../shmem/wait.js';
import { DataDirectories } from '../smgr/data-directories.js';
import { Fork, type RelationLocator } from '../smgr/relation.js';
import { SmgrRelation, StorageManager } from '../smgr/smgr.js';
import { CachedFile } from '../cache/cached-file.js';
import type { FileHandle } from '../file/file-handle.js';
import type { FileReadStream } from '../file/file-read-stream.js';
import type { FileWriteStream } from '../file/file-write-stream.js';
import type { IoBuffer } from '../file/io-buffer.js';
import { checkOptions } from '../file/checks.js';
import { optionsOf } from '../file/stream-options.js';
import { BACKEND_TYPES, type BackendType } from '../stats/io-stats.js';
import { File, type FileContext } from '../vfd/file.js';
import type { OpenOptions } from '../vfd/vfd.js';
import { privateBuffers, readerOf, sharedBuffers, type BuffersParts } from './backend-buffers.js';
import {
  BackendFiles,
  type OpenFileOptions,
  type OpenReadStreamOptions,
  type OpenWriteStreamOptions,
} from './backend-files.js';
import { makeWrites, type BackendWrites } from './backend-writes.js';
import { askForExitNotice } from './exit-notices.js';
import { methodOps } from './methods.js';
import { failWithoutWal, walOf, type BackendWal } from './backend-wal.js';
import { RelationChanger } from './relation-changer.js';
import type { RelationChange } from './relation-changes.js';
import { checkStreamOptions, type StreamOptions } from './relation-options.js';
import type { InstanceHandle } from './shared-state.js';
import { AttachedMemory, ThreadParts, type LoadedModules } from './thread-parts.js';
import { databaseChecksumFailures, type DatabaseChecksumFailures } from './views.js';

export class Backend extends RelationChanger {
  /** Handles and their I/O themselves: for those who write a layer of their own. */
  override readonly aio: Aio;
  /** The shared buffer pool, as this thread uses it. */
  readonly buffers: BufferManager;
  /** @internal */
  readonly files: FileContext;
  /** Writing dirty pages, and synchronizing files. */
  readonly writes: BackendWrites;
  /** The scope that everything belongs to which was given no other. */
  readonly rootScope: Scope;
  /** @internal */
  override readonly parts: ThreadParts;
  readonly #openFiles: BackendFiles;
  readonly #wal: BackendWal | null;
  readonly #smgr: StorageManager;
  readonly #directories: DataDirectories;
  readonly #pageSettings = new PageSettings();
  /** Made at its first use. */
  #privateBuffers: BufferManager | null = null;
  #closing: Promise<void> | null = null;
  #closed = false;
  #left = false;
  readonly #onExit = (): void => this.#closeAtExit();

  /** @internal See `createInstance` and `attachInstance`. `type`: what the thread that it is for does. */
  constructor(
    handle: InstanceHandle,
    modules: LoadedModules,
    log: LogSink,
    type: BackendType = 'client backend',
  ) {
    super();
    const memory = new AttachedMemory(handle);
    const { settings } = handle;
    memory.header.checkLayout(memory.layout);
    memory.header.checkOpen();
    const slot = memory.slots.claimBackend(currentThreadIdentity(), type !== 'client backend');
    const waits = new Waits(memory.slots, memory.header, slot);
    let ops: IoMethodOps;
    try {
      this.parts = new ThreadParts(memory, slot, modules, log);
      memory.header.checkFingerprint(this.parts.fingerprint);
      askForExitNotice(memory, slot);
      ops = methodOps(this.parts, () => waits.lookAgain());
    } catch (error) {
      memory.native?.forget();
      memory.slots.release(slot);
      throw error;
    }
    const { thread, vfds } = this.parts;
    thread.stats.backendType = BACKEND_TYPES.indexOf(type);
    memory.slots.setBackendType(slot, thread.stats.backendType);
    waits.hooks.checkSupervised = () => this.parts.checkSupervised();
    waits.hooks.sleeper = ops.sleeper ?? null;
    thread.onOwnWaiters = () => waits.lookAgainSoon();
    this.aio = new Aio(thread, waits, ops);
    vfds.hooks.beforeClose = (fd) => this.aio.beforeClose(fd);
    this.rootScope = new Scope(this.aio, null);
    this.zeroDamagedPages = settings.zeroDamagedPages;
    this.ignoreChecksumFailure = settings.ignoreChecksumFailure;
    this.#directories = new DataDirectories(memory.slots, slot, memory.plan.directories);
    this.#smgr = new StorageManager(this.aio, vfds, this.#directories, settings.debugIoDirect);
    this.buffers = sharedBuffers(this.#buffersParts());
    this.writes = makeWrites(this.#buffersParts(), this.buffers, (relation) => this.#openBuffersOf(relation));
    this.files = {
      aio: this.aio,
      vfds,
      ioMemory: new IoMemory(memory.slots, slot, memory.plan.ioMemory),
      memory: memory.bytes.length - 1,
      bytes: memory.bytes.at(-1) as Uint8Array<SharedArrayBuffer>,
      scope: this.rootScope,
    };
    this.#openFiles = new BackendFiles(this.files);
    this.#wal = walOf(this.files, this.parts, this.#directories, this.writes);
    this.writes.walFlusher = this.#wal?.parts.flusher ?? null;
    if (!isMainThread) process.once('exit', this.#onExit);
  }

  /** The instance's write-ahead log. Throws for an instance without the setting `wal`. */
  get wal(): BackendWal {
    this.#assertOpen();
    return this.#wal ?? failWithoutWal();
  }

  /** This backend's number in the instance. */
  get number(): number {
    return this.parts.slot;
  }

  /**
   * Whether pages that are invalid become all zero, with a warning, in the reads that this backend issues from now on.
   * What was in such a page is lost to its readers, and its buffer stays as it is for all. Starts as the instance's
   * setting.
   */
  get zeroDamagedPages(): boolean {
    return this.#pageSettings.get(ReadFlag.ZERO_ON_ERROR);
  }

  set zeroDamagedPages(on: boolean) {
    this.#pageSettings.set(ReadFlag.ZERO_ON_ERROR, checkOnOrOff('zeroDamagedPages', on));
  }

  /** Whether a wrong checksum is a warning only, if the page's header is sane. Otherwise as `zeroDamagedPages`. */
  get ignoreChecksumFailure(): boolean {
    return this.#pageSettings.get(ReadFlag.IGNORE_CHECKSUM_FAILURES);
  }

  set ignoreChecksumFailure(on: boolean) {
    this.#pageSettings.set(ReadFlag.IGNORE_CHECKSUM_FAILURES, checkOnOrOff('ignoreChecksumFailure', on));
  }

  // --- relations ---------------------------------------------------------------------------------

  /** Opens a relation of a PostgreSQL data directory by its file number. */
  openRelation(
    dataDirectory: string,
    locator: Partial<RelationLocator> & { relation: number },
  ): SmgrRelation {
    this.#assertOpen();
    checkKind('the path of a data directory', dataDirectory, 'string');
    return this.#smgr.open(dataDirectory, locator);
  }

  closeRelation(relation: SmgrRelation): void {
    this.#smgr.close(relation);
  }

  /** A stream over a relation's blocks: `for await (const buffer of backend.readStream(relation))`. */
  readStream<D = undefined>(relation: SmgrRelation, options: StreamOptions<D> = {}): BufferStream<D> {
    this.#openBuffersOf(relation);
    const { nextBlock } = options;
    if (nextBlock !== undefined) return new BufferStream(this.#stream(relation, nextBlock, options, false));
    const blocks = relation.blockCount(options.fork ?? Fork.MAIN);
    const all = sequentialBlocks(0, blocks) as NextBlock<D>;
    // What cannot stay in the pool anyway must not push out what is there.
    const strategy = blocks > this.buffers.pool.region.count ? 'bulkread' : null;
    const scan: StreamOptions<D> = { full: true, sequential: true, strategy, ...options };
    return new BufferStream(this.#stream(relation, all, scan, false));
  }

  /** A stream whose buffers are numbers, for threads that block: no object and no promise a block. */
  rawReadStream<D = undefined>(
    relation: SmgrRelation,
    nextBlock: NextBlock<D>,
    options: StreamOptions<D> = {},
  ): ReadStream<D> {
    return this.#stream(relation, nextBlock, options, true);
  }

  #stream<D>(
    relation: SmgrRelation,
    nextBlock: NextBlock<D>,
    options: StreamOptions<D>,
    mayBlock: boolean,
  ): ReadStream<D> {
    const buffers = this.#openBuffersOf(relation);
    checkStreamOptions(nextBlock, options);
    const { settings } = this.parts.memory.handle;
    const { effectiveIoConcurrency, maintenanceIoConcurrency, ioCombineLimit } = settings;
    const { maintenance = false, strategy = null } = options;
    const ioConcurrency =
      options.ioConcurrency ?? (maintenance ? maintenanceIoConcurrency : effectiveIoConcurrency);
    const deferred = settings.ioMethod === 'sync';
    const ring = typeof strategy === 'string' ? this.accessStrategy(strategy, { ioConcurrency }) : strategy;
    const streamOptions: ReadStreamOptions<D> = {
      ioConcurrency,
      combineLimit: ioCombineLimit,
      full: options.full ?? false,
      batchMode: options.batchMode ?? isBatchSafe(nextBlock),
      deferred,
      advice: deferred && !settings.debugIoDirect && options.sequential !== true,
      mayBlock,
      strategy: buffers.isPrivate ? null : ring,
      perBufferData: options.perBufferData ?? null,
    };
    const reader = readerOf(buffers, relation, options);
    return new ReadStream(buffers, reader, options.scope ?? this.rootScope, nextBlock, streamOptions);
  }

  /** A ring of buffers for work that touches each block once; see `StrategyKind`. */
  accessStrategy(kind: StrategyKind, size: Partial<StrategySize> = {}): BufferStrategy {
    this.#assertOpen();
    const { effectiveIoConcurrency, ioCombineLimit } = this.parts.memory.handle.settings;
    const { pool } = this.buffers;
    pool.refreshPinLimit();
    const whole = { ioConcurrency: effectiveIoConcurrency, combineLimit: ioCombineLimit, ...size };
    return new BufferStrategy(kind, pool, whole);
  }

  /** The pool that a relation is read through. Throws when another backend has opened it, or it is private to one. */
  buffersOf(relation: SmgrRelation): BufferManager {
    checkKind('a relation that this backend has opened', relation, SmgrRelation);
    relation.assertOpenedBy(this.#smgr);
    const { backend } = relation.locator;
    if (backend === undefined) return this.buffers;
    if (backend !== this.number) {
      throw new PrivateRelationError(relation.path(Fork.MAIN), backend, this.number);
    }
    return (this.#privateBuffers ??= privateBuffers(this.#buffersParts()));
  }

  #buffersParts(): BuffersParts {
    const { aio, rootScope: scope, parts } = this;
    return { aio, scope, parts, smgr: this.#smgr, pageSettings: this.#pageSettings };
  }

  /** The buffer of a block, pinned, if the page is in the pool; null when not. Never waits. */
  pinCached(relation: SmgrRelation, block: number, options: StreamOptions = {}): PinnedBuffer | null {
    this.#assertOpen();
    checkBlockNumber(block);
    const scope = options.scope ?? this.rootScope;
    scope.assertOpen();
    const buffers = this.buffersOf(relation);
    const { pool } = buffers;
    const buffer = pool.lookup(readerOf(buffers, relation, options).tag, block | 0, scope);
    if (buffer < 0) return null;
    if (pool.foundValid) {
      buffers.hit(null);
      return new PinnedBuffer(buffers, scope, buffer, block);
    }
    pool.unpin(buffer, scope);
    return null;
  }

  /** Reads one block and pins it. The caller releases it. */
  async readBlock(relation: SmgrRelation, block: number, options: StreamOptions = {}): Promise<PinnedBuffer> {
    checkBlockNumber(block);
    let given = false;
    const nextBlock = (): number => (given ? -1 : ((given = true), block));
    const stream = this.#stream(relation, nextBlock, { ...options, ioConcurrency: 1 }, false);
    const buffer = await this.aio.waits.until(() => stream.next());
    return new PinnedBuffer(stream.manager, stream.scope, buffer, block);
  }

  /**
   * Reads the visibility map of a heap, through the pool: 8 kB for 256 MB of heap. A heap without a map gets one in
   * which no bit is set.
   */
  async readVisibilityMap(
    relation: SmgrRelation,
    options: Omit<StreamOptions, 'fork'> = {},
  ): Promise<VisibilityMap> {
    const blocks = relation.blockCount(Fork.VM);
    return VisibilityMap.read(blocks, this.readStream(relation, { ...options, fork: Fork.VM }));
  }

  // --- changes of relations: see RelationChanger -------------------------------------------------

  protected override changeStep<T>(relation: SmgrRelation, change: RelationChange<T>): Step<T> {
    const buffers = this.#openBuffersOf(relation);
    const wal = this.#wal?.cutsOf(relation) ?? null;
    return change(buffers, { wal, requestSync: this.writes.requestsSyncOf(relation) });
  }

  #openBuffersOf(relation: SmgrRelation): BufferManager {
    this.#assertOpen();
    return this.buffersOf(relation);
  }

  // --- files -------------------------------------------------------------------------------------

  /** For what reads into I/O memory by itself: a regular file. */
  openRawFile(path: string, options: OpenOptions = {}): File {
    this.#assertOpen();
    checkKind('the path of a file', path, 'string');
    return new File(this.files, this.parts.vfds.open(path, options));
  }

  /**
   * Opens a regular file, as `fs.promises.open` does. Rejects with a FileError, whose `code` is that of Node's error. Close
   * it, or use `await using`: what was forgotten is closed some time, with a warning that says where it was opened.
   */
  async openFile(path: string | URL, options?: OpenFileOptions | string | number): Promise<FileHandle> {
    this.#assertOpen();
    const given = typeof options === 'string' || typeof options === 'number' ? { flags: options } : options;
    return this.#openFiles.open(path, given, new Error().stack);
  }

  /** As `fs.createReadStream`, with reads in flight ahead of whoever consumes it. */
  createReadStream(path: string | URL, options?: OpenReadStreamOptions | BufferEncoding): FileReadStream {
    this.#assertOpen();
    return this.#openFiles.readStream(path, optionsOf(options), new Error().stack);
  }

  /** As `fs.createWriteStream`. */
  createWriteStream(path: string | URL, options?: OpenWriteStreamOptions | BufferEncoding): FileWriteStream {
    this.#assertOpen();
    return this.#openFiles.writeStream(path, optionsOf(options), new Error().stack);
  }

  /**
   * Opens a regular file to be read through the shared pool, by as many threads as like: what one has read, the others find.
   * A file that was replaced or changed since is another one for the pool.
   */
  async openCachedFile(path: string | URL, options?: { direct?: boolean | undefined }): Promise<CachedFile> {
    this.#assertOpen();
    const { direct = false } = checkOptions(options);
    const blocks = this.#openFiles.openBlocks(path, direct, this.parts.memory.bytes);
    const { settings } = this.parts.memory.handle;
    const context = {
      buffers: this.buffers,
      scope: this.rootScope,
      combineLimit: settings.ioCombineLimit,
      ioConcurrency: settings.effectiveIoConcurrency,
      maintenanceIoConcurrency: settings.maintenanceIoConcurrency,
      deferred: settings.ioMethod === 'sync',
    };
    return new CachedFile(context, blocks);
  }

  /** Page-aligned shared memory that files are read into, and written from, without a copy. Give it back by `release`. */
  allocateIoBuffer(bytes: number): IoBuffer {
    this.#assertOpen();
    return this.#openFiles.allocate(bytes);
  }

  // --- scopes and views --------------------------------------------------------------------------

  /** Runs `body` in a scope of its own: what it leaves behind is given back. */
  scope<T>(body: (scope: Scope) => Promise<T> | T): Promise<T> {
    return this.rootScope.run(body);
  }

  /** Checksum failures of all backends of the instance, by database. */
  checksumFailures(): DatabaseChecksumFailures[] {
    return databaseChecksumFailures(this.parts.checksumFailures, this.#directories);
  }

  /** It is closed, or being closed. */
  get hasLeft(): boolean {
    return this.#closed;
  }

  // --- ending ------------------------------------------------------------------------------------

  #assertOpen(): void {
    if (this.#closed) throw new ClosedError('this backend');
    this.parts.memory.header.checkOpen();
  }

  /**
   * Finishes the I/O that this backend has started, whose results are still delivered; refuses what was not
   * started yet with a ClosedError; gives everything back, and leaves the instance.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#beginClosing();
    try {
      await this.aio.waits.until(() => this.aio.drain());
    } catch (error) {
      this.#leaveCrashed(error);
      throw error;
    }
    this.#leave();
  }

  /** As `close`, blocking the thread. */
  closeBlocking(): void {
    if (this.#left) return;
    this.#beginClosing();
    try {
      this.aio.waits.block(() => this.aio.drain());
    } catch (error) {
      this.#leaveCrashed(error);
      throw error;
    }
    this.#leave();
  }

  /** The thread ends anyway; that the instance has crashed is for others to say. */
  #closeAtExit(): void {
    try {
      this.closeBlocking();
    } catch (error) {
      if (!(error instanceof InstanceCrashedError)) throw error;
    }
  }

  #beginClosing(): void {
    this.#closed = true;
    this.aio.close();
  }

  /** Nothing of this backend is in flight: everything is given back. */
  #leave(): void {
    if (!this.#beginLeaving()) return;
    const { slots, native } = this.parts.memory;
    this.rootScope.end(true);
    this.#wal?.leave();
    this.#openFiles.leave();
    this.#smgr.closeAll();
    this.parts.reopens.close();
    this.parts.vfds.closeAll();
    this.aio.ops.leave?.();
    native?.forget();
    this.files.ioMemory.releaseAll();
    this.parts.bounces.releaseAll();
    this.writes.leave();
    slots.release(this.parts.slot);
  }

  /**
   * I/O may still be in flight, and nobody can be waited for: the slot is kept, what was leased, and what the
   * kernel may be using. A drain that fails for another reason is a crash as well, for the same reason.
   */
  #leaveCrashed(error: unknown): void {
    if (!this.#beginLeaving()) return;
    const { header, native } = this.parts.memory;
    if (!header.isCrashed)
      this.parts.thread.crash(`backend ${this.parts.slot} could not finish its I/O: ${String(error)}`);
    this.parts.vfds.closeIdle((fd) => this.aio.isInFlightOn(fd));
    if (this.aio.ops.leave?.() !== false) native?.forget(); // else its exit notice comes, and nobody minds
  }

  #beginLeaving(): boolean {
    if (this.#left) return false;
    this.#left = true;
    process.removeListener('exit', this.#onExit);
    this.aio.waits.close(new ClosedError('this backend'));
    return true;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
