/**
 * Carries out an I/O with blocking system calls, in the thread that is its executor: the sync method, the
 * inline path of the others, and the I/O workers. Through the addon, one call for the whole vector; without
 * it, through Node, one call for each contiguous piece.
 */
import { fdatasyncSync, fsyncSync, readSync, writeSync } from 'node:fs';
import { fail } from '../base/assert.js';
import { errnoOf } from '../base/system-errors.js';
import type { RegisteredMemories, Registration } from '../native/registered-memories.js';
import type { IoHandle } from './handle.js';
import { HandleFlag, Operation } from './operation.js';

/** The shared memories that I/O may read into or write from, by number. */
export type IoMemories = readonly Uint8Array[];

export class Execution {
  readonly #memories: IoMemories;
  readonly #native: RegisteredMemories | null;

  constructor(memories: IoMemories, native: RegisteredMemories | null) {
    this.#memories = memories;
    this.#native = native;
  }

  /** Bytes transferred, or -errno. Short only when the file is. */
  execute(io: IoHandle, fd: number): number {
    const { operation } = io;
    if (operation === Operation.FSYNC) io.markBegun();
    if (this.#native !== null) return executeNative(this.#native.use(), io, operation, fd);
    try {
      switch (operation) {
        case Operation.READV:
          return this.#transfer(io, fd, readSync);
        case Operation.WRITEV:
          return this.#transfer(io, fd, writeSync);
        case Operation.FSYNC:
          ((io.flags & HandleFlag.DATA_ONLY) === 0 ? fsyncSync : fdatasyncSync)(fd);
          return 0;
        default:
          return fail(`nothing to execute: ${io.describe()}`);
      }
    } catch (error) {
      const errno = errnoOf(error, 0);
      if (errno === 0) throw error; // not the kernel's answer: a mistake in the arguments
      return -errno;
    }
  }

  /**
   * Pool memory is handed out so that pieces are few. An error after some bytes is reported as a short
   * transfer; whoever continues it meets the error again.
   */
  #transfer(io: IoHandle, fd: number, call: Transfer): number {
    const memory = this.#memories[io.memory] ?? fail(`memory ${io.memory} does not exist`);
    const position = io.offset;
    const pieces = io.iovCount;
    let done = 0;
    for (let piece = 0; piece < pieces; piece++) {
      const length = io.iovLength(piece);
      let transferred: number;
      try {
        transferred = call(fd, memory, io.iovOffset(piece), length, position + done);
      } catch (error) {
        if (done === 0) throw error;
        return done;
      }
      done += transferred;
      if (transferred < length) return done;
    }
    return done;
  }
}

type Transfer = (fd: number, memory: Uint8Array, offset: number, length: number, position: number) => number;

function executeNative(
  { addon, ids, control }: Registration,
  io: IoHandle,
  operation: Operation,
  fd: number,
): number {
  if (operation === Operation.FSYNC) return addon.sync(fd, io.flags & HandleFlag.DATA_ONLY);
  if (operation === Operation.NONE) fail(`nothing to execute: ${io.describe()}`);
  const memory = ids[io.memory] ?? fail(`memory ${io.memory} does not exist`);
  const write = operation === Operation.WRITEV ? 1 : 0;
  return addon.transfer(fd, memory, control, io.iovIndex * 4, io.iovCount, io.offset, write);
}
