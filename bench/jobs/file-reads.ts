/** Random reads of a file with Node's own functions. */
import { closeSync, constants, openSync, read, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { IoMethodName } from '../../src/base/settings.js';
import type { Measurement } from '../measurement.js';
import type { WorkUntil } from './measure.js';
import { measureReads, RandomReads, type RandomReadsSpec } from './random-reads.js';

export interface FileReadsSpec extends RandomReadsSpec {
  readonly how:
    | 'readSync'
    | 'read'
    | 'FileHandle.read'
    | 'pgaio'
    | 'pgaio await'
    | 'pgaio promises'
    | 'pgaio handle promises'
    | 'pgaio batched promises';
  readonly direct: boolean;
  /** Reads in flight. */
  readonly depth: number;
  /** For pgaio. */
  readonly method?: IoMethodName;
  readonly workers?: number;
  /** For io_uring: always or never set IOSQE_ASYNC. Default: as the method finds best. */
  readonly punt?: boolean;
}

/** The clock is looked at once in so many reads. */
const CLOCK_STRIDE = 16;

/** Memory that starts on a page, as O_DIRECT wants it. */
export function alignedMemory(bytes: number): Uint8Array<ArrayBuffer> {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65_536) });
  return new Uint8Array(memory.buffer as ArrayBuffer, 0, bytes);
}

export function openFlags(spec: FileReadsSpec): number {
  return constants.O_RDONLY | (spec.direct ? constants.O_DIRECT : 0);
}

export async function fsReads(spec: FileReadsSpec): Promise<Measurement> {
  if (spec.how === 'FileHandle.read') return fileHandleReads(spec);
  const fds = spec.files.map((file) => openSync(file, openFlags(spec)));
  const reads = new RandomReads(spec);
  const work = spec.how === 'readSync' ? syncReads(fds, spec, reads) : callbackReads(fds, spec, reads);
  const measurement = await measureReads(spec, reads, 0, work);
  for (const fd of fds) closeSync(fd);
  return measurement;
}

function syncReads(fds: readonly number[], { blockSize }: FileReadsSpec, reads: RandomReads): WorkUntil {
  const memory = alignedMemory(blockSize);
  return (until) => {
    let ops = 0;
    do {
      for (let count = 0; count < CLOCK_STRIDE; count++) {
        const block = reads.next();
        readSync(fds[reads.fileOf(block)]!, memory, 0, blockSize, reads.positionOf(block));
      }
      ops += CLOCK_STRIDE;
    } while (!reads.isOver(until));
    return ops;
  };
}

/** `depth` reads in flight, each started again when it is done. */
function callbackReads(fds: readonly number[], spec: FileReadsSpec, reads: RandomReads): WorkUntil {
  const { blockSize, depth } = spec;
  const memory = alignedMemory(blockSize * depth);
  return (until) =>
    new Promise((resolve, reject) => {
      let ops = 0;
      let running = depth;
      let over = false;
      const start = (slot: number): void => {
        const block = reads.next();
        const fd = fds[reads.fileOf(block)]!;
        read(fd, memory, slot * blockSize, blockSize, reads.positionOf(block), (error) => {
          if (error !== null) {
            reject(error);
            return;
          }
          ops++;
          over ||= ops % CLOCK_STRIDE === 0 && reads.isOver(until);
          if (!over) start(slot);
          else if (--running === 0) resolve(ops);
        });
      };
      for (let slot = 0; slot < depth; slot++) start(slot);
    });
}

async function fileHandleReads(spec: FileReadsSpec): Promise<Measurement> {
  const { blockSize, depth } = spec;
  const handles = await Promise.all(spec.files.map((file) => open(file, openFlags(spec))));
  const memory = alignedMemory(blockSize * depth);
  const reads = new RandomReads(spec);
  const work: WorkUntil = async (until) => {
    let ops = 0;
    const readInTurn = async (slot: number): Promise<void> => {
      do {
        for (let count = 0; count < CLOCK_STRIDE; count++) {
          const block = reads.next();
          const handle = handles[reads.fileOf(block)]!;
          await handle.read(memory, slot * blockSize, blockSize, reads.positionOf(block));
        }
        ops += CLOCK_STRIDE;
      } while (!reads.isOver(until));
    };
    await Promise.all(Array.from({ length: depth }, (_, slot) => readInTurn(slot)));
    return ops;
  };
  const measurement = await measureReads(spec, reads, 0, work);
  for (const handle of handles) await handle.close();
  return measurement;
}
