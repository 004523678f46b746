/**
 * Random reads of a file through handles and callbacks, many in flight without a promise each, by a thread that
 * blocks (`pgaio`) or returns to its loop (`pgaio await`); or with one promise a read (`pgaio promises`). With one in
 * flight there is nothing to gain from a loop: then the thread blocks.
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { AioReturn, ResultStatus } from '../../src/aio/result.js';
import type { InstanceSettings } from '../../src/base/settings.js';
import { createInstance, type Backend, type File } from '../../src/index.js';
import type { Pending } from '../../src/shmem/wait.js';
import { errorOf } from '../../src/vfd/file.js';
import type { Measurement } from '../measurement.js';
import { RandomPositions, type FileReadsSpec } from './file-reads.js';
import { measureWork, type WorkUntil } from './measure.js';

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
  const file = backend.openFile(spec.file, { direct: spec.direct });
  const checked = await checkReads(backend, file, spec);
  const measurement = await measureWork(spec.seconds, checked, worker(backend, file, spec));
  file.close();
  await instance.close();
  return measurement;
}

function worker(backend: Backend, file: File, spec: FileReadsSpec): WorkUntil {
  if (spec.how === 'pgaio promises') return promisedReads(file, spec);
  if (spec.depth === 1) return singleReads(backend, file, spec);
  const window = new ReadWindow(backend, file, spec);
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
  readonly #file: File;
  readonly #blockSize: number;
  readonly #positions: RandomPositions;
  /** In the order of their start; the other array takes the next order. */
  #slots: ReadSlot[] = [];
  #spare: ReadSlot[] = [];
  readonly #waitForOldest = (): true | Pending => {
    const { handle, generation } = this.#slots[0]!;
    return this.#backend.aio.waitFor(handle, generation);
  };

  constructor(backend: Backend, file: File, spec: FileReadsSpec) {
    this.#backend = backend;
    this.#file = file;
    this.#blockSize = spec.blockSize;
    this.#positions = new RandomPositions(spec.blocks, spec.blockSize);
    const memory = backend.files.ioMemory.tryLease(spec.depth * spec.blockSize);
    assert(memory >= 0, 'the I/O memory is too small');
    for (let slot = 0; slot < spec.depth; slot++) {
      const result = new AioReturn();
      this.#slots.push({ memory: memory + slot * spec.blockSize, result, handle: 0, generation: 0 });
    }
  }

  readBlocking(until: number): number {
    const { aio } = this.#backend;
    let ops = this.#startAll();
    while (performance.now() < until) {
      aio.waits.block(this.#waitForOldest);
      ops += this.#startAgain();
    }
    aio.waits.block(() => aio.drain());
    return ops;
  }

  async read(until: number): Promise<number> {
    const { aio } = this.#backend;
    let ops = this.#startAll();
    while (performance.now() < until) {
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
    this.#file.startRead(io, slot.memory, this.#blockSize, this.#positions.next());
  }
}

/** One read after the other, blocking. */
function singleReads(backend: Backend, file: File, spec: FileReadsSpec): WorkUntil {
  const { aio, rootScope, files } = backend;
  const { blockSize } = spec;
  const positions = new RandomPositions(spec.blocks, blockSize);
  const memory = files.ioMemory.tryLease(blockSize);
  const result = new AioReturn();
  return (until) => {
    let ops = 0;
    do {
      for (let count = 0; count < CLOCK_STRIDE; count++) {
        const io = aio.acquireBlocking(rootScope, result);
        const { index, generation } = io;
        file.startRead(io, memory, blockSize, positions.next());
        aio.waitForBlocking(index, generation);
        if (result.status === ResultStatus.ERROR) throw errorOf(aio, result);
      }
      ops += CLOCK_STRIDE;
    } while (performance.now() < until);
    return ops;
  };
}

function promisedReads(file: File, spec: FileReadsSpec): WorkUntil {
  const positions = new RandomPositions(spec.blocks, spec.blockSize);
  return async (until) => {
    let ops = 0;
    const readInTurn = async (): Promise<void> => {
      do {
        for (let count = 0; count < CLOCK_STRIDE; count++) await file.read(positions.next(), spec.blockSize);
        ops += CLOCK_STRIDE;
      } while (performance.now() < until);
    };
    await Promise.all(Array.from({ length: spec.depth }, readInTurn));
    return ops;
  };
}

/** Reads some blocks with `depth` in flight and compares them with what the file holds. */
async function checkReads(backend: Backend, file: File, spec: FileReadsSpec): Promise<number> {
  const { aio, rootScope, files } = backend;
  const positions = new RandomPositions(spec.blocks, spec.blockSize);
  const expected = Buffer.alloc(spec.blockSize);
  const fd = openSync(spec.file, 'r');
  const memory = files.ioMemory.tryLease(spec.blockSize);
  const result = new AioReturn();
  for (let read = 0; read < CHECKED_READS; read++) {
    const position = positions.next();
    const io = aio.acquireBlocking(rootScope, result);
    const reference = io.waitReference;
    file.startRead(io, memory, spec.blockSize, position);
    await aio.waits.until(() => aio.waitForReference(reference));
    assert.equal(result.value, spec.blockSize);
    readSync(fd, expected, 0, spec.blockSize, position);
    assert(
      expected.equals(files.bytes.subarray(memory, memory + spec.blockSize)),
      `wrong bytes at ${position}`,
    );
  }
  files.ioMemory.release(memory, spec.blockSize);
  closeSync(fd);
  return CHECKED_READS;
}
