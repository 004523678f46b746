/**
 * Carries out an I/O with blocking system calls, in the thread that is its executor: the sync method, the
 * inline path of the others, and the I/O workers.
 */
import { fsyncSync, readSync, writeSync } from 'node:fs';
import { fail } from '../base/assert.js';
import { errnoOf } from '../base/system-errors.js';
import { Operation, type IoHandle } from './handle.js';

/** The shared memories that I/O may read into or write from, by number. */
export type IoMemories = readonly Uint8Array[];

/** Bytes transferred, or -errno. Short only when the file is. */
export function execute(io: IoHandle, fd: number, memories: IoMemories): number {
  try {
    switch (io.operation) {
      case Operation.READV:
        return transfer(io, fd, memories, readSync);
      case Operation.WRITEV:
        return transfer(io, fd, memories, writeSync);
      case Operation.FSYNC:
        fsyncSync(fd);
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

type Transfer = (fd: number, memory: Uint8Array, offset: number, length: number, position: number) => number;

/**
 * One call for each contiguous piece: cheaper than a vectored call with many views, and pool memory is
 * handed out so that pieces are few. An error after some bytes is reported as a short transfer; whoever
 * continues it meets the error again.
 */
function transfer(io: IoHandle, fd: number, memories: IoMemories, call: Transfer): number {
  const memory = memories[io.memory] ?? fail(`memory ${io.memory} does not exist`);
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
