/**
 * Reads that are over exactly when the test wants it: of named pipes, through handles. The kernel keeps each
 * in flight until something is written into its pipe.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { WaitReference } from '../src/aio/handle.js';
import { HandleFlag } from '../src/aio/operation.js';
import { AioReturn } from '../src/aio/result.js';
import type { Backend } from '../src/instance/backend.js';
import { setFileTarget } from '../src/vfd/file-target.js';
import { writeSample } from './raw-reads.js';

const BYTES = 8;

export interface PipeRead {
  readonly reference: WaitReference;
  readonly result: AioReturn;
  /** Of the pipe. */
  readonly path: string;
  /** Lets the kernel finish it. */
  finish(): void;
}

/** Where in the backend's private memory pipes are read into. */
export interface PrivatePlace {
  readonly memory: number;
  readonly offset: number;
}

export class PipeReads {
  readonly #backend: Backend;
  readonly #directory: string;
  readonly #descriptors: number[] = [];
  readonly #place: PrivatePlace;
  readonly #isPrivate: boolean;
  #next = 0;

  /** Into I/O memory, unless a private place is given. */
  constructor(backend: Backend, directory: string, place?: PrivatePlace) {
    const { files } = backend;
    this.#backend = backend;
    this.#directory = directory;
    this.#isPrivate = place !== undefined;
    this.#place = place ?? { memory: files.memory, offset: files.ioMemory.tryLease(8192) };
  }

  /** Starts a read on behalf of this thread's backend, and submits it. */
  start(): PipeRead {
    const { aio, files, rootScope } = this.#backend;
    const path = join(this.#directory, `pipe-${threadId}-${++this.#next}`);
    // Loaded here, for threads import this file that never make a pipe, and each would pay ten milliseconds.
    process.getBuiltinModule('node:child_process').execFileSync('mkfifo', [path]);
    const fd = openSync(path, 'r+');
    this.#descriptors.push(fd);
    const vfd = files.vfds.open(writeSample(this.#directory, 8)); // the I/O needs a file to be named after
    const result = new AioReturn();
    const io = aio.acquireBlocking(rootScope, result);
    const reference = io.waitReference;
    setFileTarget(io, vfd, 0, BYTES, 0);
    if (this.#isPrivate) io.setFlag(HandleFlag.REFERENCES_LOCAL);
    io.setMemory(this.#place.memory);
    io.appendIov(this.#place.offset + this.#next * BYTES, BYTES);
    aio.startReadv(io, fd, 0);
    files.vfds.close(vfd);
    return { reference, result, path, finish: () => void writeSync(fd, Buffer.alloc(BYTES, 'x')) };
  }

  /** All reads must be over. */
  close(): void {
    if (!this.#isPrivate) this.#backend.files.ioMemory.release(this.#place.offset, 8192);
    this.closeDescriptors();
  }

  closeDescriptors(): void {
    for (const fd of this.#descriptors) closeSync(fd);
  }
}
