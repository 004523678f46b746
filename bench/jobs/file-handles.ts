/** Random reads through our `FileHandle`, into memory of the caller's. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import {
  createInstance,
  type FileHandle,
  type Instance,
  type IoMethodName,
  type ReadManyOptions,
  type ReadRange,
} from '../../src/index.js';
import type { Measurement } from '../measurement.js';
import type { WorkUntil } from './measure.js';
import { measureReads, RandomReads, type RandomReadsSpec } from './random-reads.js';

export interface FileHandlesSpec extends RandomReadsSpec {
  /** A promise each, or one for so many as a call of `readMany` takes: into memory that is used again, or into new buffers. */
  readonly how: 'read' | 'readMany' | 'readMany, I/O buffer' | 'readMany, new buffers';
  readonly method: IoMethodName;
  readonly workers?: number;
  readonly direct: boolean;
  /** Reads in flight, of `read`. */
  readonly depth: number;
}

/** Their bytes stay in the processor's cache, as those of the peers do, who use the same 64 buffers again and again. */
const READS_A_CALL = 512;
const CLOCK_STRIDE = 16;
const CHECKED_READS = 256;

export async function fileHandles(spec: FileHandlesSpec): Promise<Measurement> {
  const instance = await createInstance({
    ioMethod: spec.method,
    ioMaxConcurrency: spec.depth,
    ioMinWorkers: spec.workers ?? 2,
    ioMaxWorkers: spec.workers ?? 2,
    sharedBuffers: '1MB',
    ioMemory: '16MB',
  });
  const files = await Promise.all(
    spec.files.map((file) => instance.backend.openFile(file, { direct: spec.direct })),
  );
  const reads = new RandomReads(spec);
  await check(files, spec);
  const work = spec.how === 'read' ? eachAlone(files, spec, reads) : manyAtOnce(instance, files, spec, reads);
  const measurement = await measureReads(spec, reads, CHECKED_READS, work);
  for (const file of files) await file.close();
  await instance.close();
  return measurement;
}

function eachAlone(files: readonly FileHandle[], spec: FileHandlesSpec, reads: RandomReads): WorkUntil {
  const { blockSize, depth } = spec;
  const memory = new Uint8Array(blockSize * depth);
  return async (until) => {
    let ops = 0;
    const readInTurn = async (slot: number): Promise<void> => {
      do {
        for (let count = 0; count < CLOCK_STRIDE; count++) {
          const block = reads.next();
          const file = files[reads.fileOf(block)]!;
          await file.read(memory, slot * blockSize, blockSize, reads.positionOf(block));
        }
        ops += CLOCK_STRIDE;
      } while (!reads.isOver(until));
    };
    await Promise.all(Array.from({ length: depth }, (_, slot) => readInTurn(slot)));
    return ops;
  };
}

/** Of the first file. */
function manyAtOnce(
  { backend }: Instance,
  files: readonly FileHandle[],
  spec: FileHandlesSpec,
  reads: RandomReads,
): WorkUntil {
  const { blockSize, how } = spec;
  const bytes = READS_A_CALL * blockSize;
  const options: ReadManyOptions = {};
  if (how === 'readMany') options.buffer = new Uint8Array(bytes);
  if (how === 'readMany, I/O buffer') options.buffer = backend.allocateIoBuffer(bytes).bytes;
  return async (until) => {
    let ops = 0;
    do {
      const ranges: ReadRange[] = [];
      for (let count = 0; count < READS_A_CALL; count++)
        ranges.push({ position: reads.positionOf(reads.next()), length: blockSize });
      await files[0]!.readMany(ranges, options);
      ops += READS_A_CALL;
    } while (!reads.isOver(until));
    return ops;
  };
}

/** That both ways read what is there. */
async function check(files: readonly FileHandle[], spec: FileHandlesSpec): Promise<void> {
  const { blockSize } = spec;
  const reads = new RandomReads(spec);
  const expected = Buffer.alloc(blockSize);
  const fd = openSync(spec.files[0]!, 'r');
  const ranges: ReadRange[] = [];
  while (ranges.length < CHECKED_READS) {
    const block = reads.next();
    if (reads.fileOf(block) === 0) ranges.push({ position: reads.positionOf(block), length: blockSize });
  }
  const many = await files[0]!.readMany(ranges);
  for (const [index, { position }] of ranges.entries()) {
    readSync(fd, expected, 0, blockSize, position);
    const { buffer } = await files[0]!.read(Buffer.alloc(blockSize), 0, blockSize, position);
    assert(buffer.equals(expected) && many[index]!.equals(expected), `${position} was read wrongly`);
  }
  closeSync(fd);
}
