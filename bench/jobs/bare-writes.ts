/** Writes to a file of zeroes with system calls, each durable before the next begins: what a commit costs at least. */
import { closeSync, constants, fdatasyncSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { WalSyncMethod } from '../../src/base/settings.js';
import type { Measurement } from '../measurement.js';
import { alignedMemory } from './file-reads.js';
import { Latencies } from './latencies.js';
import { measureOnce, type WorkUntil } from './measure.js';

export interface BareWritesSpec {
  /** `await`: with Node's FileHandle, which has a thread of libuv make the same calls. */
  readonly how: 'blocking' | 'await';
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
  /** Of a write. */
  readonly bytes: number;
  /** How far the next write begins behind the one before: `bytes`, or 0, which writes the same place again. */
  readonly stride: number;
  readonly directory: string;
  readonly seconds: number;
}

const FILE_BYTES = 16 * 1024 ** 2;
const ZEROES = new Uint8Array(1 << 20);

export async function bareWrites(spec: BareWritesSpec): Promise<Measurement> {
  const path = join(spec.directory, `bare-${process.pid}`);
  makeZeroes(path);
  const flags = openFlags(spec);
  const file = spec.how === 'await' ? await open(path, flags) : null;
  const fd = file?.fd ?? openSync(path, flags);
  try {
    const latencies = new Latencies();
    const work = file === null ? writes(fd, spec, latencies) : awaitedWrites(file, spec, latencies);
    await work(performance.now() + spec.seconds * 250);
    latencies.clear();
    const measurement = await measureOnce(0, () => work(performance.now() + spec.seconds * 1000));
    return { ...measurement, latency: latencies.summary() };
  } finally {
    if (file === null) closeSync(fd);
    else await file.close();
    rmSync(path);
  }
}

/** A file whose blocks are written, so that a write into them changes nothing but data. */
function makeZeroes(path: string): void {
  const made = openSync(path, 'w');
  for (let at = 0; at < FILE_BYTES; at += ZEROES.length) writeSync(made, ZEROES, 0, ZEROES.length, at);
  fsyncSync(made);
  closeSync(made);
}

function openFlags({ syncMethod, direct }: BareWritesSpec): number {
  const dataSync = syncMethod === 'open_datasync' ? constants.O_DSYNC : 0;
  return constants.O_RDWR | dataSync | (direct ? constants.O_DIRECT : 0);
}

function writes(fd: number, spec: BareWritesSpec, latencies: Latencies): WorkUntil {
  const { bytes, stride, syncMethod } = spec;
  const memory = alignedMemory(bytes).fill(0x61);
  let at = 0;
  return (until) => {
    let ops = 0;
    for (let now = performance.now(); now < until; ops++) {
      writeSync(fd, memory, 0, bytes, at);
      if (syncMethod === 'fdatasync') fdatasyncSync(fd);
      at += stride;
      if (at + bytes > FILE_BYTES) at = 0;
      const then = now;
      now = performance.now();
      latencies.add(now - then);
    }
    return ops;
  };
}

function awaitedWrites(file: FileHandle, spec: BareWritesSpec, latencies: Latencies): WorkUntil {
  const { bytes, stride, syncMethod } = spec;
  const memory = alignedMemory(bytes).fill(0x61);
  let at = 0;
  return async (until) => {
    let ops = 0;
    for (let now = performance.now(); now < until; ops++) {
      await file.write(memory, 0, bytes, at);
      if (syncMethod === 'fdatasync') await file.datasync();
      at += stride;
      if (at + bytes > FILE_BYTES) at = 0;
      const then = now;
      now = performance.now();
      latencies.add(now - then);
    }
    return ops;
  };
}
