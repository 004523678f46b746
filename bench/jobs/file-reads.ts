/** Random reads of a file with Node's own functions. */
import { closeSync, constants, openSync, read, readSync } from 'node:fs';
import { open } from 'node:fs/promises';
import type { IoMethodName } from '../../src/base/settings.js';
import { seededRandom } from '../../testing/random.js';
import type { Measurement } from '../measurement.js';
import { measureWork, type WorkUntil } from './measure.js';

export interface FileReadsSpec {
  readonly how: 'readSync' | 'read' | 'FileHandle.read' | 'pgaio' | 'pgaio await' | 'pgaio promises';
  readonly file: string;
  /** Reads are of random blocks among the first `blocks`. */
  readonly blocks: number;
  readonly blockSize: number;
  readonly direct: boolean;
  /** Reads in flight. */
  readonly depth: number;
  readonly seconds: number;
  /** For pgaio. */
  readonly method?: IoMethodName;
  readonly workers?: number;
}

const ORDER_LENGTH = 65_536;
/** The clock is looked at once in so many reads. */
const CLOCK_STRIDE = 16;

/** Positions of random blocks, made beforehand and gone through in a circle. */
export class RandomPositions {
  readonly #positions: Float64Array;
  #next = 0;

  constructor(blocks: number, blockSize: number) {
    const random = seededRandom(1);
    this.#positions = Float64Array.from({ length: ORDER_LENGTH }, () => random.below(blocks) * blockSize);
  }

  next(): number {
    return this.#positions[this.#next++ & (ORDER_LENGTH - 1)]!;
  }
}

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
  const fd = openSync(spec.file, openFlags(spec));
  const work = spec.how === 'readSync' ? syncReads(fd, spec) : callbackReads(fd, spec);
  const measurement = await measureWork(spec.seconds, 0, work);
  closeSync(fd);
  return measurement;
}

function syncReads(fd: number, spec: FileReadsSpec): WorkUntil {
  const { blockSize, blocks } = spec;
  const memory = alignedMemory(blockSize);
  const positions = new RandomPositions(blocks, blockSize);
  return (until) => {
    let ops = 0;
    do {
      for (let count = 0; count < CLOCK_STRIDE; count++) readSync(fd, memory, 0, blockSize, positions.next());
      ops += CLOCK_STRIDE;
    } while (performance.now() < until);
    return ops;
  };
}

/** `depth` reads in flight, each started again when it is done. */
function callbackReads(fd: number, spec: FileReadsSpec): WorkUntil {
  const { blockSize, blocks, depth } = spec;
  const memory = alignedMemory(blockSize * depth);
  const positions = new RandomPositions(blocks, blockSize);
  return (until) =>
    new Promise((resolve, reject) => {
      let ops = 0;
      let running = depth;
      let over = false;
      const start = (slot: number): void => {
        read(fd, memory, slot * blockSize, blockSize, positions.next(), (error) => {
          if (error !== null) {
            reject(error);
            return;
          }
          ops++;
          over ||= ops % CLOCK_STRIDE === 0 && performance.now() >= until;
          if (!over) start(slot);
          else if (--running === 0) resolve(ops);
        });
      };
      for (let slot = 0; slot < depth; slot++) start(slot);
    });
}

async function fileHandleReads(spec: FileReadsSpec): Promise<Measurement> {
  const { blockSize, blocks, depth } = spec;
  const handle = await open(spec.file, openFlags(spec));
  const memory = alignedMemory(blockSize * depth);
  const positions = new RandomPositions(blocks, blockSize);
  const work: WorkUntil = async (until) => {
    let ops = 0;
    const readInTurn = async (slot: number): Promise<void> => {
      do {
        for (let count = 0; count < CLOCK_STRIDE; count++)
          await handle.read(memory, slot * blockSize, blockSize, positions.next());
        ops += CLOCK_STRIDE;
      } while (performance.now() < until);
    };
    await Promise.all(Array.from({ length: depth }, (_, slot) => readInTurn(slot)));
    return ops;
  };
  const measurement = await measureWork(spec.seconds, 0, work);
  await handle.close();
  return measurement;
}
