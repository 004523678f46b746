/**
 * What one thread needs to take part in I/O, whatever its role: backend, I/O worker or supervisor. Its
 * parts are this thread's windows on the shared memory, so none of it may be sent to another thread.
 */
import { constants } from 'node:os';
import { fail } from '../base/assert.js';
import type { LogSink } from '../base/log.js';
import type { InstanceHeader } from '../shmem/header.js';
import { setAllLatches } from '../shmem/latch.js';
import type { Slots } from '../shmem/slots.js';
import { nowMicros } from '../stats/clock.js';
import { Counter, type Counters } from '../stats/counters.js';
import { IO_OBJECTS, type IoObject, type IoStats } from '../stats/io-stats.js';
import type { Registry } from './callback.js';
import { Completion } from './completion.js';
import type { RegisteredMemories } from '../native/registered-memories.js';
import { Execution, type IoMemories } from './execute.js';
import { HandleTable, type HandleRegion, type IoHandle } from './handle.js';
import { HandleFlag, Operation } from './operation.js';
import { TargetId } from './ids.js';
import type { InjectionPoints } from './injection-points.js';
import type { AioResult } from './result.js';
import { HandleState } from './states.js';

const { ECANCELED } = constants.errno;

export interface AioThreadParts {
  slots: Slots;
  header: InstanceHeader;
  slot: number;
  handles: HandleRegion;
  registry: Registry;
  counters: Counters;
  stats: IoStats;
  memories: IoMemories;
  /** For system calls through the addon; null without it. */
  native: RegisteredMemories | null;
  injection: InjectionPoints | null;
  log: LogSink;
}

/** What a thread can reach of another's private memory. */
const NO_MEMORIES: IoMemories = [];

/** Indices of IO_WAYS; the supervisor counts as a worker where it does one's work. */
const Way = { WORKER: 0, IO_URING: 1, SYNC: 2 } as const;

/** By target, which object of IO_OBJECTS it is; users' own targets are the last. */
const OBJECTS: Readonly<Record<number, IoObject>> = {
  [TargetId.FILE]: 'file',
  [TargetId.SMGR]: 'relation',
  [TargetId.WAL]: 'wal',
};
const OBJECT_OF_TARGET: readonly number[] = Array.from({ length: 256 }, (_, target) =>
  IO_OBJECTS.indexOf(OBJECTS[target] ?? 'other'),
);
const RELATION = IO_OBJECTS.indexOf('relation');
const TEMP_RELATION = IO_OBJECTS.indexOf('temp relation');

function objectOf(io: IoHandle): number {
  const object = OBJECT_OF_TARGET[io.target] as number;
  const isPrivate = object === RELATION && (io.flags & HandleFlag.REFERENCES_LOCAL) !== 0;
  return isPrivate ? TEMP_RELATION : object;
}

export class AioThread {
  readonly slots: Slots;
  readonly header: InstanceHeader;
  readonly slot: number;
  readonly table: HandleTable;
  readonly registry: Registry;
  readonly counters: Counters;
  readonly stats: IoStats;
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
    this.stats = parts.stats;
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

  /** Ends a SUBMITTED I/O that this thread has become the executor of in order not to carry it out. It is counted nowhere. */
  cancel(io: IoHandle): void {
    io.raw = -ECANCELED;
    io.move(HandleState.SUBMITTED, HandleState.COMPLETED_IO);
    this.completeShared(io);
  }

  /** From COMPLETED_IO on, of an I/O that a ring carried and whose executor this thread became. */
  finishCarried(io: IoHandle): void {
    io.raw = this.#judge(io, io.raw);
    this.completeShared(io);
  }

  /** Counts it, in the statistics as well, and lets a test change the kernel's answer. */
  #judge(io: IoHandle, raw: number): number {
    const { counters } = this;
    const { operation } = io;
    if (operation === Operation.READV) counters.count(Counter.reads);
    else counters.count(operation === Operation.WRITEV ? Counter.writes : Counter.syncs);
    if (raw > 0) counters.count(operation === Operation.WRITEV ? Counter.writeBytes : Counter.readBytes, raw);
    else if (raw < 0) counters.count(Counter.ioErrors);
    let answer = raw;
    if (this.injection !== null) {
      const memories = this.isForeignLocal(io) ? NO_MEMORIES : this.memories;
      answer = this.injection.beforeSharedCompletion(io, raw, memories);
    }
    this.#record(io, operation, answer);
    return answer;
  }

  /** Start and completion meet here, whoever completes. Two threads' clocks may differ by a microsecond. */
  #record(io: IoHandle, operation: Operation, raw: number): void {
    const { startedAt } = io;
    const micros = startedAt === 0 ? -1 : Math.max(0, nowMicros() - startedAt);
    const object = objectOf(io);
    const type = this.slots.backendType(io.owner);
    this.stats.completed(type, object, io.context, operation - 1, this.#wayOf(io), raw, micros);
  }

  /** How the I/O was carried out: an index of IO_WAYS. */
  #wayOf(io: IoHandle): number {
    if (io.ring >= 0) return Way.IO_URING;
    return this.slots.isBackend(this.slot) ? Way.SYNC : Way.WORKER;
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
    if (this.stats.isTiming) io.startedAt = nowMicros();
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
