/**
 * A backend: one thread's place in an instance, and everything it can do there. An object that the thread
 * holds, not a global; a thread may hold several.
 */
import { isMainThread } from 'node:worker_threads';
import { Aio } from '../aio/aio.js';
import { inFlight, type InFlightIo } from '../aio/in-flight.js';
import type { IoMethodOps } from '../aio/method/method.js';
import { Scope } from '../aio/scope.js';
import type { LogSink } from '../base/log.js';
import { ClosedError, InstanceCrashedError } from '../base/errors.js';
import { BufferManager, type ForkReader } from '../buffer/buffer-manager.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { BufferPool } from '../buffer/pool.js';
import { BufferStream } from '../read-stream/buffer-stream.js';
import { sequentialBlocks } from '../read-stream/block-sources.js';
import { ReadStream, type NextBlock, type ReadStreamOptions } from '../read-stream/read-stream.js';
import { IoMemory } from '../shmem/io-memory.js';
import { currentThreadIdentity, threadMayBeAlive } from '../shmem/thread-identity.js';
import { SlotLayout, SlotStatus } from '../shmem/slots.js';
import { Waits, waitEventName } from '../shmem/wait.js';
import { DataDirectories } from '../smgr/data-directories.js';
import { Fork, type RelationLocator } from '../smgr/relation.js';
import { StorageManager, type SmgrRelation } from '../smgr/smgr.js';
import { Counters, type CounterSnapshot } from '../stats/counters.js';
import { File, type FileContext } from '../vfd/file.js';
import type { OpenOptions } from '../vfd/vfd.js';
import { askForExitNotice } from './exit-notices.js';
import { methodOps } from './methods.js';
import type { InstanceHandle } from './shared-state.js';
import { AttachedMemory, ThreadParts, type LoadedModules } from './thread-parts.js';

export interface RelationOptions {
  /** Which fork to read. Default: the main one. */
  fork?: Fork;
}

export interface StreamOptions extends RelationOptions {
  /** Called for each block to read, ahead of the consumer. Default: all blocks of the fork, in order. */
  nextBlock?: NextBlock;
  /** Where pins belong. Default: the backend's own scope. */
  scope?: Scope;
  /** Reads in flight. Default: `effectiveIoConcurrency`. */
  ioConcurrency?: number;
  /** Judge page headers only: the cluster keeps no checksums. Default false. */
  noChecksums?: boolean;
}

/** What a backend waits for, as others see it. */
export interface BackendWait {
  backend: number;
  /** PostgreSQL's name of the wait event, or null. */
  event: string | null;
  /** Handle or buffer that it waits for. */
  object: number;
}

export class Backend {
  readonly aio: Aio;
  readonly buffers: BufferManager;
  readonly files: FileContext;
  /** The scope that everything belongs to which was given no other. */
  readonly rootScope: Scope;
  readonly parts: ThreadParts;
  readonly #smgr: StorageManager;
  #closing: Promise<void> | null = null;
  #closed = false;
  #left = false;
  readonly #onExit = (): void => this.#closeAtExit();

  constructor(handle: InstanceHandle, modules: LoadedModules, log: LogSink) {
    const memory = new AttachedMemory(handle);
    const { settings } = handle;
    memory.header.checkLayout(memory.layout);
    memory.header.checkOpen();
    const slot = memory.slots.claimBackend(currentThreadIdentity());
    const waits = new Waits(memory.slots, memory.header, slot);
    let ops: IoMethodOps;
    try {
      this.parts = new ThreadParts(memory, slot, modules, log);
      memory.header.checkFingerprint(this.parts.fingerprint);
      ops = methodOps(this.parts, () => waits.lookAgain());
    } catch (error) {
      memory.native?.forget();
      memory.slots.release(slot);
      throw error;
    }
    askForExitNotice(memory, slot);
    const { thread, vfds, bufferIo } = this.parts;
    const { bytes } = memory;
    waits.hooks.checkSupervised = () => this.#checkSupervised();
    waits.hooks.sleeper = ops.sleeper ?? null;
    thread.onOwnWaiters = () => waits.lookAgainSoon();
    this.aio = new Aio(thread, waits, ops);
    vfds.hooks.beforeClose = (fd) => this.aio.beforeClose(fd);
    this.rootScope = new Scope(this.aio, null);
    const pool = new BufferPool(memory.slots, slot, memory.plan.buffers);
    this.buffers = new BufferManager(this.aio, pool, bufferIo, bytes);
    const directories = new DataDirectories(memory.slots, slot, memory.plan.directories);
    this.#smgr = new StorageManager(this.aio, vfds, directories, settings.debugIoDirect);
    this.files = {
      aio: this.aio,
      vfds,
      ioMemory: new IoMemory(memory.slots, slot, memory.plan.ioMemory),
      memory: bytes.length - 1,
      bytes: bytes.at(-1) as Uint8Array<SharedArrayBuffer>,
      scope: this.rootScope,
    };
    if (!isMainThread) process.once('exit', this.#onExit);
  }

  /** This backend's number in the instance. */
  get number(): number {
    return this.parts.slot;
  }

  // --- relations ---------------------------------------------------------------------------------

  /** Opens a relation of a PostgreSQL data directory by its file number. */
  openRelation(
    dataDirectory: string,
    locator: Partial<RelationLocator> & { relation: number },
  ): SmgrRelation {
    this.#assertOpen();
    return this.#smgr.open(dataDirectory, locator);
  }

  closeRelation(relation: SmgrRelation): void {
    this.#smgr.close(relation);
  }

  /** A stream over a relation's blocks: `for await (const buffer of backend.readStream(relation))`. */
  readStream(relation: SmgrRelation, options: StreamOptions = {}): BufferStream {
    const source = options.nextBlock ?? sequentialBlocks(0, relation.blockCount(options.fork ?? Fork.MAIN));
    return new BufferStream(source, (next) => this.rawReadStream(relation, next, options));
  }

  /** A stream whose buffers are numbers, for threads that block: no object and no promise a block. */
  rawReadStream(relation: SmgrRelation, nextBlock: NextBlock, options: StreamOptions = {}): ReadStream {
    this.#assertOpen();
    const { settings } = this.parts.memory.handle;
    const streamOptions: ReadStreamOptions = {
      ioConcurrency: options.ioConcurrency ?? settings.effectiveIoConcurrency,
      combineLimit: settings.ioCombineLimit,
      full: options.nextBlock === undefined,
      batch: true,
    };
    return new ReadStream(
      this.buffers,
      this.#reader(relation, options),
      options.scope ?? this.rootScope,
      nextBlock,
      streamOptions,
    );
  }

  #reader(relation: SmgrRelation, options: StreamOptions): ForkReader {
    return this.buffers.reader(relation, options.fork ?? Fork.MAIN, options.noChecksums === true ? 1 : 0);
  }

  /** The buffer of a block, pinned, if the page is in the pool; null when not. Never waits. */
  pinCached(relation: SmgrRelation, block: number, options: StreamOptions = {}): PinnedBuffer | null {
    this.#assertOpen();
    const scope = options.scope ?? this.rootScope;
    scope.assertOpen();
    const { pool } = this.buffers;
    const buffer = pool.lookup(this.#reader(relation, options).tag, block | 0, scope);
    if (buffer < 0) return null;
    if (pool.foundValid) return new PinnedBuffer(this.buffers, scope, buffer, block);
    pool.unpin(buffer, scope);
    return null;
  }

  /** Reads one block and pins it. The caller releases it. */
  async readBlock(relation: SmgrRelation, block: number, options: StreamOptions = {}): Promise<PinnedBuffer> {
    if (block >>> 0 !== block) throw new RangeError(`${block} is not a block number`);
    let given = false;
    const nextBlock = (): number => (given ? -1 : ((given = true), block));
    const stream = this.rawReadStream(relation, nextBlock, { ...options, nextBlock });
    const buffer = await this.aio.waits.until(() => stream.next());
    return new PinnedBuffer(this.buffers, stream.scope, buffer, block);
  }

  // --- files -------------------------------------------------------------------------------------

  /** Opens any regular file for reading. */
  openFile(path: string, options: OpenOptions = {}): File {
    this.#assertOpen();
    return new File(this.files, this.parts.vfds.open(path, options));
  }

  // --- scopes and views --------------------------------------------------------------------------

  /** Runs `body` in a scope of its own: what it leaves behind is given back. */
  scope<T>(body: (scope: Scope) => Promise<T> | T): Promise<T> {
    return this.rootScope.run(body);
  }

  /** All I/O of the instance that is not over, with the columns of pg_aios. */
  inFlight(): InFlightIo[] {
    return inFlight(this.parts.thread.table, this.parts.thread.registry);
  }

  /** What every attached backend waits for. */
  waits(): BackendWait[] {
    const { slots } = this.parts.memory;
    const rows: BackendWait[] = [];
    for (let backend = 0; backend < slots.region.maxBackends; backend++) {
      if (slots.status(backend) !== SlotStatus.ATTACHED) continue;
      const base = slots.base(backend);
      const event = slots.words.load(base + SlotLayout.at.waitEvent);
      rows.push({
        backend,
        event: waitEventName(event),
        object: slots.words.get(base + SlotLayout.at.waitObject),
      });
    }
    return rows;
  }

  /** Cumulative counters of all threads of the instance. */
  counters(): CounterSnapshot {
    const { words, plan } = this.parts.memory;
    return Counters.total(words, plan.counters, plan.slots.count);
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
    this.#smgr.closeAll();
    this.parts.reopens.close();
    this.parts.vfds.closeAll();
    this.aio.ops.leave?.();
    native?.forget();
    this.files.ioMemory.releaseAll();
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

  #checkSupervised(): void {
    const { slots } = this.parts.memory;
    const supervisor = slots.supervisorSlot;
    if (slots.status(supervisor) === SlotStatus.ATTACHED && !threadMayBeAlive(slots.identity(supervisor))) {
      this.parts.thread.crash('its supervision thread ended, and the I/O workers with it');
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
