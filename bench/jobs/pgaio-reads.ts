/**
 * Random reads of files through handles and callbacks, many in flight without a promise each, by a thread that
 * blocks (`pgaio`) or returns to its loop (`pgaio await`); or with one promise a read (`pgaio ... promises`). With one
 * in flight there is nothing to gain from a loop: then the thread blocks.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { AioReturn, ResultStatus } from '../../src/aio/result.js';
import type { InstanceSettings } from '../../src/base/settings.js';
import { createInstance, type Backend, type File } from '../../src/index.js';
import type { Pending } from '../../src/shmem/wait.js';
import { errorOf } from '../../src/aio/report.js';
import type { Measurement } from '../measurement.js';
import type { FileReadsSpec } from './file-reads.js';
import type { WorkUntil } from './measure.js';
import { leaseMemory, promisedReads } from './promised-reads.js';
import { fixPunting } from './punting-rules.js';
import { measureReads, RandomReads } from './random-reads.js';

const CHECKED_READS = 256;
const CLOCK_STRIDE = 16;

export async function pgaioReads(spec: FileReadsSpec): Promise<Measurement> {
  const settings: InstanceSettings = {
    ioMethod: spec.method ?? 'worker',
    ioMaxConcurrency: Math.max(spec.depth, 1),
    ioMinWorkers: spec.workers ?? 2,
    ioMaxWorkers: spec.workers ?? 2,
    sharedBuffers: '1MB',
  };
  const instance = await createInstance(settings);
  const { backend } = instance;
  if (spec.punt !== undefined) fixPunting(backend, spec.punt);
  const files = spec.files.map((file) => backend.openRawFile(file, { direct: spec.direct }));
  const checked = await checkReads(backend, files, spec);
  const reads = new RandomReads(spec);
  const measurement = await measureReads(spec, reads, checked, worker(backend, files, spec, reads));
  for (const file of files) file.close();
  await instance.close();
  return measurement;
}

function worker(
  backend: Backend,
  files: readonly File[],
  spec: FileReadsSpec,
  reads: RandomReads,
): WorkUntil {
  if (spec.how.endsWith('promises')) return promisedReads(backend, files, spec, reads);
  if (spec.depth === 1) return singleReads(backend, files, spec, reads);
  const window = new ReadWindow(backend, files, spec, reads);
  return spec.how === 'pgaio' ? (until) => window.readBlocking(until) : (until) => window.read(until);
}

interface ReadSlot {
  /** Where in the I/O memory. */
  readonly memory: number;
  readonly result: AioReturn;
  handle: number;
  generation: number;
}

/** A number of reads in flight, each started again when it is done. */
class ReadWindow {
  readonly #backend: Backend;
  readonly #files: readonly File[];
  readonly #blockSize: number;
  readonly #reads: RandomReads;
  /** In the order of their start; the other array takes the next order. */
  #slots: ReadSlot[] = [];
  #spare: ReadSlot[] = [];
  readonly #waitForOldest = (): true | Pending => {
    const { handle, generation } = this.#slots[0]!;
    return this.#backend.aio.waitFor(handle, generation);
  };

  constructor(backend: Backend, files: readonly File[], spec: FileReadsSpec, reads: RandomReads) {
    this.#backend = backend;
    this.#files = files;
    this.#blockSize = spec.blockSize;
    this.#reads = reads;
    const memory = leaseMemory(backend, spec.depth * spec.blockSize);
    for (let slot = 0; slot < spec.depth; slot++) {
      const result = new AioReturn();
      this.#slots.push({ memory: memory + slot * spec.blockSize, result, handle: 0, generation: 0 });
    }
  }

  readBlocking(until: number): number {
    const { aio } = this.#backend;
    let ops = this.#startAll();
    while (!this.#reads.isOver(until)) {
      aio.waits.block(this.#waitForOldest);
      ops += this.#startAgain();
    }
    aio.waits.block(() => aio.drain());
    return ops;
  }

  async read(until: number): Promise<number> {
    const { aio } = this.#backend;
    let ops = this.#startAll();
    while (!this.#reads.isOver(until)) {
      await aio.waits.until(this.#waitForOldest);
      ops += this.#startAgain();
    }
    await aio.waits.until(() => aio.drain());
    return ops;
  }

  #startAll(): number {
    const { aio, rootScope } = this.#backend;
    aio.enterBatch(rootScope);
    for (const slot of this.#slots) this.#start(slot);
    aio.exitBatch();
    return this.#slots.length;
  }

  /** Starts every read that is done again; returns how many. */
  #startAgain(): number {
    const { aio, rootScope } = this.#backend;
    aio.reclaimCompleted();
    const slots = this.#slots;
    const order = this.#spare;
    for (const slot of slots) if (slot.result.status === ResultStatus.UNKNOWN) order.push(slot);
    const running = order.length;
    aio.enterBatch(rootScope);
    for (const slot of slots) {
      if (slot.result.status === ResultStatus.UNKNOWN) continue;
      this.#start(slot);
      order.push(slot);
    }
    aio.exitBatch();
    slots.length = 0;
    this.#spare = slots;
    this.#slots = order;
    return order.length - running;
  }

  #start(slot: ReadSlot): void {
    const { aio, rootScope } = this.#backend;
    const { result } = slot;
    if (result.status === ResultStatus.ERROR) throw errorOf(aio, result);
    const io = aio.acquireBlocking(rootScope, result);
    slot.handle = io.index;
    slot.generation = io.generation;
    const block = this.#reads.next();
    const file = this.#files[this.#reads.fileOf(block)]!;
    file.startRead(io, slot.memory, this.#blockSize, this.#reads.positionOf(block));
  }
}

/** One read after the other, blocking. */
function singleReads(
  backend: Backend,
  files: readonly File[],
  { blockSize }: FileReadsSpec,
  reads: RandomReads,
): WorkUntil {
  const { aio, rootScope } = backend;
  const memory = leaseMemory(backend, blockSize);
  const result = new AioReturn();
  return (until) => {
    let ops = 0;
    do {
      for (let count = 0; count < CLOCK_STRIDE; count++) {
        const io = aio.acquireBlocking(rootScope, result);
        const { index, generation } = io;
        const block = reads.next();
        files[reads.fileOf(block)]!.startRead(io, memory, blockSize, reads.positionOf(block));
        aio.waitForBlocking(index, generation);
        if (result.status === ResultStatus.ERROR) throw errorOf(aio, result);
      }
      ops += CLOCK_STRIDE;
    } while (!reads.isOver(until));
    return ops;
  };
}

/** Reads some blocks and compares them with what the files hold. */
async function checkReads(backend: Backend, files: readonly File[], spec: FileReadsSpec): Promise<number> {
  const { aio, rootScope } = backend;
  const { blockSize } = spec;
  const { ioMemory, bytes } = backend.files;
  const reads = new RandomReads(spec);
  const expected = Buffer.alloc(blockSize);
  const fds = spec.files.map((file) => openSync(file, 'r'));
  const memory = leaseMemory(backend, blockSize);
  const result = new AioReturn();
  for (let read = 0; read < CHECKED_READS; read++) {
    const block = reads.next();
    const file = reads.fileOf(block);
    const position = reads.positionOf(block);
    const io = aio.acquireBlocking(rootScope, result);
    const reference = io.waitReference;
    files[file]!.startRead(io, memory, blockSize, position);
    await aio.waits.until(() => aio.waitForReference(reference));
    assert.equal(result.value, blockSize);
    readSync(fds[file]!, expected, 0, blockSize, position);
    const same = expected.equals(bytes.subarray(memory, memory + blockSize));
    assert(same, `wrong bytes at ${position} of "${spec.files[file]!}"`);
  }
  ioMemory.release(memory, blockSize);
  for (const fd of fds) closeSync(fd);
  return CHECKED_READS;
}
