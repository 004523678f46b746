/** Random reads with one promise each: `depth` tasks that read one block after the other. */
import assert from 'node:assert/strict';
import { AioReturn, ResultStatus } from '../../src/aio/result.js';
import type { Backend, File } from '../../src/index.js';
import type { Pending } from '../../src/shmem/wait.js';
import { errorOf } from '../../src/aio/report.js';
import type { FileReadsSpec } from './file-reads.js';
import type { WorkUntil } from './measure.js';
import type { RandomReads } from './random-reads.js';

const CLOCK_STRIDE = 16;

type ReadOne = (task: number, block: number) => Promise<unknown>;

export function promisedReads(
  backend: Backend,
  files: readonly File[],
  spec: FileReadsSpec,
  reads: RandomReads,
): WorkUntil {
  return readInTurns(spec.depth, reads, readOne(backend, files, spec, reads));
}

function readOne(backend: Backend, files: readonly File[], spec: FileReadsSpec, reads: RandomReads): ReadOne {
  const { blockSize } = spec;
  switch (spec.how) {
    case 'pgaio handle promises':
      return handleReads(backend, files, spec, reads);
    case 'pgaio batched promises': {
      const reader = new BatchedReader(backend, files, spec, reads);
      return (_, block) => reader.read(block);
    }
    default:
      return (_, block) => files[reads.fileOf(block)]!.read(reads.positionOf(block), blockSize);
  }
}

function readInTurns(depth: number, reads: RandomReads, read: ReadOne): WorkUntil {
  return async (until) => {
    let ops = 0;
    const task = async (_: unknown, task: number): Promise<void> => {
      do {
        for (let count = 0; count < CLOCK_STRIDE; count++) await read(task, reads.next());
        ops += CLOCK_STRIDE;
      } while (!reads.isOver(until));
    };
    await Promise.all(Array.from({ length: depth }, task));
    return ops;
  };
}

/** Over handles, into I/O memory that is used where it lies; each is submitted by itself. */
function handleReads(
  backend: Backend,
  files: readonly File[],
  { depth, blockSize }: FileReadsSpec,
  reads: RandomReads,
): ReadOne {
  const { aio, rootScope } = backend;
  const memory = leaseMemory(backend, depth * blockSize);
  const results = Array.from({ length: depth }, () => new AioReturn());
  return async (task, block) => {
    const result = results[task]!;
    const io = aio.tryAcquire(rootScope, result);
    assert(io !== null, 'there are as many handles as tasks');
    const { index, generation } = io;
    const file = files[reads.fileOf(block)]!;
    file.startRead(io, memory + task * blockSize, blockSize, reads.positionOf(block));
    await aio.waits.until(() => aio.waitFor(index, generation));
    if (result.status === ResultStatus.ERROR) throw errorOf(aio, result);
  };
}

interface QueuedRead {
  /** Where in the I/O memory. */
  readonly memory: number;
  readonly result: AioReturn;
  block: number;
  handle: number;
  generation: number;
  resolve: (memory: number) => void;
  reject: (error: unknown) => void;
}

/**
 * What an application with many readers would write: reads that are asked for in one turn of the loop are started
 * together, and one task waits for all that are in flight.
 */
class BatchedReader {
  readonly #backend: Backend;
  readonly #files: readonly File[];
  readonly #blockSize: number;
  readonly #reads: RandomReads;
  readonly #free: QueuedRead[] = [];
  readonly #queued: QueuedRead[] = [];
  /** In the order of their start; the other array takes the next order. */
  #started: QueuedRead[] = [];
  #spare: QueuedRead[] = [];
  #waiting = false;
  readonly #start = (): void => this.#startQueued();
  readonly #waitForOldest = (): true | Pending => {
    const { handle, generation } = this.#started[0]!;
    return this.#backend.aio.waitFor(handle, generation);
  };

  constructor(
    backend: Backend,
    files: readonly File[],
    { depth, blockSize }: FileReadsSpec,
    reads: RandomReads,
  ) {
    this.#backend = backend;
    this.#files = files;
    this.#blockSize = blockSize;
    this.#reads = reads;
    const memory = leaseMemory(backend, depth * blockSize);
    const nobody = (): void => undefined;
    for (let slot = 0; slot < depth; slot++) {
      this.#free.push({
        memory: memory + slot * blockSize,
        result: new AioReturn(),
        block: 0,
        handle: 0,
        generation: 0,
        resolve: nobody,
        reject: nobody,
      });
    }
  }

  /** Resolves with the place in the I/O memory. */
  read(block: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const read = this.#free.pop();
      assert(read !== undefined, 'there are as many places as tasks');
      read.block = block;
      read.resolve = resolve;
      read.reject = reject;
      if (this.#queued.push(read) === 1) queueMicrotask(this.#start);
    });
  }

  #startQueued(): void {
    const { aio, rootScope } = this.#backend;
    aio.enterBatch(rootScope);
    for (const read of this.#queued) {
      const io = aio.tryAcquire(rootScope, read.result);
      assert(io !== null, 'there are as many handles as places');
      read.handle = io.index;
      read.generation = io.generation;
      const file = this.#files[this.#reads.fileOf(read.block)]!;
      file.startRead(io, read.memory, this.#blockSize, this.#reads.positionOf(read.block));
      this.#started.push(read);
    }
    aio.exitBatch();
    this.#queued.length = 0;
    if (!this.#waiting) void this.#settleAll();
  }

  async #settleAll(): Promise<void> {
    const { aio } = this.#backend;
    this.#waiting = true;
    while (this.#started.length > 0) {
      await aio.waits.until(this.#waitForOldest);
      this.#settleDone();
    }
    this.#waiting = false;
  }

  #settleDone(): void {
    const { aio } = this.#backend;
    aio.reclaimCompleted();
    const started = this.#started;
    const running = this.#spare;
    for (const read of started) {
      const { result } = read;
      if (result.status === ResultStatus.UNKNOWN) {
        running.push(read);
        continue;
      }
      this.#free.push(read);
      if (result.status === ResultStatus.ERROR) read.reject(errorOf(aio, result));
      else read.resolve(read.memory);
    }
    started.length = 0;
    this.#spare = started;
    this.#started = running;
  }
}

export function leaseMemory(backend: Backend, bytes: number): number {
  const memory = backend.files.ioMemory.tryLease(bytes);
  assert(memory >= 0, 'the I/O memory is too small');
  return memory;
}
