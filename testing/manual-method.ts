/**
 * Backends over a method without a kernel: submitted I/O stays SUBMITTED until the test finishes it, in
 * whichever "thread" it likes. Several backends of one thread share the memory.
 */
import { Aio } from '../src/aio/aio.js';
import { Registry, type AioCallback } from '../src/aio/callback.js';
import { HandleTable, type HandleRegion, type IoHandle } from '../src/aio/handle.js';
import { HandleState } from '../src/aio/states.js';
import type { IoMethodOps } from '../src/aio/method/method.js';
import { ResultStatus, type AioReturn } from '../src/aio/result.js';
import { Scope } from '../src/aio/scope.js';
import { AioThread } from '../src/aio/thread.js';
import type { LogEvent } from '../src/base/log.js';
import { Counters } from '../src/stats/counters.js';
import { IoStats, planIoStats, type IoStatsRegion } from '../src/stats/io-stats.js';
import { makeShared, type Shared } from './shared.js';

export const TARGET = 40;
export const TARGET_CALLBACK = 41;

interface Regions {
  counters: number;
  ioStats: IoStatsRegion;
  handles: HandleRegion;
}

export class ManualBackend {
  readonly aio: Aio;
  readonly thread: AioThread;
  readonly log: LogEvent[] = [];
  readonly root: Scope;
  /** Handles that were submitted, in order. */
  readonly submitted: IoHandle[] = [];
  /** How many each submit call brought. */
  readonly submits: number[] = [];
  /** Runs everything at once in the issuer, as the sync method does. */
  inline = false;

  constructor(shared: Shared<Regions>, slot: number, registry: Registry) {
    const { slots, header, words, regions } = shared;
    this.thread = new AioThread({
      slots,
      header,
      slot,
      handles: regions.handles,
      registry,
      counters: new Counters(words, regions.counters, slot),
      stats: new IoStats(words, regions.ioStats, slot),
      memories: [new Uint8Array(new SharedArrayBuffer(65_536))],
      native: null,
      injection: null,
      log: (event) => this.log.push(event),
    });
    this.aio = new Aio(this.thread, shared.waits(slot), this.#ops());
    this.root = new Scope(this.aio, null);
  }

  #ops(): IoMethodOps {
    return {
      name: 'worker',
      waitOnFdBeforeClose: false,
      needsSynchronousExecution: () => this.inline,
      submit: (staged, count) => {
        this.submits.push(count);
        for (const io of staged.slice(0, count)) {
          if (io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, io.generation)) this.submitted.push(io);
        }
      },
      waitOne: null,
    };
  }

  get warnings(): string[] {
    return this.log.map(({ message }) => message);
  }

  acquire(result: AioReturn | null = null, scope: Scope = this.root): IoHandle {
    const io = this.aio.acquire(scope, result);
    if (typeof io === 'symbol') throw new Error('no handle is free');
    return io;
  }

  /** Acquires and starts a read of 100 bytes. */
  start(result: AioReturn | null = null, scope: Scope = this.root): { index: number; generation: number } {
    const io = this.acquire(result, scope);
    const reference = io.waitReference;
    this.startHandle(io);
    return reference;
  }

  startHandle(io: IoHandle): void {
    io.setTarget(TARGET, TARGET_CALLBACK);
    io.appendIov(0, 100);
    this.aio.startReadv(io, -1, 0);
  }

  /** Completes an I/O in this thread, whoever issued it. */
  finish(reference: { index: number; generation: number }, raw = 100): void {
    const io = this.thread.table.handle(reference.index);
    if (!io.tryBecomeExecutor(this.thread.slot, reference.generation))
      throw new Error('another thread runs it');
    this.thread.finish(io, raw);
  }
}

export interface ManualInstance {
  shared: Shared<Regions>;
  registry: Registry;
  table: HandleTable;
  backend: (slot: number) => ManualBackend;
}

export function manualInstance(
  perBackend: number,
  callbacks: Readonly<Record<number, AioCallback>> = {},
): ManualInstance {
  const shared = makeShared((plan) => ({
    counters: Counters.plan(plan, 8),
    ioStats: planIoStats(plan, 8),
    handles: HandleTable.plan(plan, 8, perBackend, 16),
  }));
  const registry = new Registry();
  registry.addTarget(TARGET, {
    name: 'test',
    callback: TARGET_CALLBACK,
    describe: (data) => `thing ${data[0] ?? 0}`,
  });
  registry.addCallback(TARGET_CALLBACK, {
    name: 'test_readv',
    completeShared: (io, result) => {
      if (result.value < 0)
        Object.assign(result, {
          status: ResultStatus.ERROR,
          reporter: TARGET_CALLBACK,
          errorData: -result.value,
        });
      else if (result.value < io.bytes)
        Object.assign(result, { status: ResultStatus.PARTIAL, reporter: TARGET_CALLBACK });
    },
    report: (result) => new Error(`failed with ${result.errorData}`),
  });
  for (const [id, callback] of Object.entries(callbacks)) registry.addCallback(Number(id), callback);
  const backend = (slot: number): ManualBackend => new ManualBackend(shared, slot, registry);
  return { shared, registry, table: new HandleTable(shared.slots, shared.regions.handles), backend };
}
