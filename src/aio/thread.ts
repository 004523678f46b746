/**
 * What one thread needs to take part in I/O, whatever its role: backend, I/O worker or supervisor. Its
 * parts are this thread's windows on the shared memory, so none of it may be sent to another thread.
 */
import { fail } from '../base/assert.js';
import type { LogSink } from '../base/log.js';
import type { InstanceHeader } from '../shmem/header.js';
import { setAllLatches } from '../shmem/latch.js';
import type { Slots } from '../shmem/slots.js';
import { Counter, type Counters } from '../stats/counters.js';
import type { Registry } from './callback.js';
import { Completion } from './completion.js';
import type { RegisteredMemories } from '../native/registered-memories.js';
import { Execution, type IoMemories } from './execute.js';
import { HandleFlag, HandleTable, Operation, type HandleRegion, type IoHandle } from './handle.js';
import type { InjectionPoints } from './injection-points.js';
import type { AioResult } from './result.js';
import { HandleState } from './states.js';

export interface AioThreadParts {
  slots: Slots;
  header: InstanceHeader;
  slot: number;
  handles: HandleRegion;
  registry: Registry;
  counters: Counters;
  memories: IoMemories;
  /** For system calls through the addon; null without it. */
  native: RegisteredMemories | null;
  injection: InjectionPoints | null;
  log: LogSink;
}

/** What a thread can reach of another's private memory. */
const NO_MEMORIES: IoMemories = [];

export class AioThread {
  readonly slots: Slots;
  readonly header: InstanceHeader;
  readonly slot: number;
  readonly table: HandleTable;
  readonly registry: Registry;
  readonly counters: Counters;
  readonly injection: InjectionPoints | null;
  readonly completion: Completion;
  readonly memories: IoMemories;
  readonly log: LogSink;
  /** Called when this thread completed an I/O that tasks of its own wait for. */
  onOwnWaiters: () => void = () => undefined;
  readonly #execution: Execution;

  constructor(parts: AioThreadParts) {
    this.slots = parts.slots;
    this.header = parts.header;
    this.slot = parts.slot;
    this.table = new HandleTable(parts.slots, parts.handles);
    this.registry = parts.registry;
    this.counters = parts.counters;
    this.injection = parts.injection;
    this.memories = parts.memories;
    this.#execution = new Execution(parts.memories, parts.native);
    this.completion = new Completion(this.table, parts.registry);
    this.log = parts.log;
  }

  /** Whether the I/O is on another backend's private memory: its number may stand for something else here. */
  isForeignLocal(io: IoHandle): boolean {
    return (io.flags & HandleFlag.REFERENCES_LOCAL) !== 0 && io.owner !== this.slot;
  }

  /** Runs a SUBMITTED I/O of which this thread is the executor, on a descriptor of this thread. */
  run(io: IoHandle, fd: number): void {
    let raw: number;
    try {
      if (this.isForeignLocal(io)) fail(`only its issuer can run this I/O: ${io.describe()}`);
      raw = this.#execution.execute(io, fd);
    } catch (error) {
      this.#torn(io, error);
    }
    this.finish(io, raw);
  }

  /** As `run`, after the system call. */
  finish(io: IoHandle, raw: number): void {
    io.raw = this.#judge(io, raw);
    io.move(HandleState.SUBMITTED, HandleState.COMPLETED_IO);
    this.completeShared(io);
  }

  /** From COMPLETED_IO on, of an I/O that a ring carried and whose executor this thread became. */
  finishCarried(io: IoHandle): void {
    io.raw = this.#judge(io, io.raw);
    this.completeShared(io);
  }

  /** Counts it, and lets a test change the kernel's answer. */
  #judge(io: IoHandle, raw: number): number {
    const { counters } = this;
    const { operation } = io;
    if (operation === Operation.READV) counters.count(Counter.reads);
    else counters.count(operation === Operation.WRITEV ? Counter.writes : Counter.syncs);
    if (raw > 0) counters.count(operation === Operation.WRITEV ? Counter.writeBytes : Counter.readBytes, raw);
    else if (raw < 0) counters.count(Counter.ioErrors);
    if (this.injection === null) return raw;
    const memories = this.isForeignLocal(io) ? NO_MEMORIES : this.memories;
    return this.injection.beforeSharedCompletion(io, raw, memories);
  }

  /** From COMPLETED_IO on; also where an I/O goes on whose completer died. */
  completeShared(io: IoHandle): void {
    try {
      this.completion.completeShared(io);
    } catch (error) {
      this.#torn(io, error);
    }
    this.injection?.hooks.afterSharedCompletion?.(io);
    this.wakeWaiters(io);
  }

  wakeWaiters(io: IoHandle): void {
    if (this.completion.wakeWaiters(io, this.slot)) this.onOwnWaiters();
  }

  /** The owner's part, from COMPLETED_SHARED on. */
  completeLocal(io: IoHandle, into: AioResult): void {
    try {
      this.completion.completeLocal(io, into);
    } catch (error) {
      this.#torn(io, error);
    }
  }

  /** In the owner, before others can see the I/O. */
  stage(io: IoHandle): void {
    try {
      this.completion.stage(io);
    } catch (error) {
      this.#torn(io, error);
    }
  }

  /** A callback threw: the I/O would stay as it is for ever, and all who wait for it, too. */
  #torn(io: IoHandle, error: unknown): never {
    const reason = error instanceof Error ? error.message : String(error);
    this.crash(`${io.describe()} could not be brought to its end: ${reason}`);
    throw error;
  }

  /** The instance cannot go on: everybody's next wait throws, with this reason. */
  crash(reason: string): void {
    this.header.markCrashed(reason);
    setAllLatches(this.slots);
  }
}
