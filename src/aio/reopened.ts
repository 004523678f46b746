/** One I/O from the queue, run by a thread that need not be its issuer. */
import { constants } from 'node:os';
import type { IoHandle } from './handle.js';
import { HandleFlag } from './operation.js';
import type { AioThread } from './thread.js';

/**
 * Whether nobody but its issuer can run it: its memory is the issuer's own, or its file cannot be opened
 * elsewhere. Of a handle that has moved on meanwhile it may say either.
 */
export function runsInIssuerOnly(thread: AioThread, io: IoHandle): boolean {
  if ((io.flags & HandleFlag.REFERENCES_LOCAL) !== 0) return true;
  const { target } = io;
  return target !== 0 && thread.registry.target(target).reopen === undefined;
}

/** In the issuer: runs what others had to leave to it, on the descriptor that it was started with. */
export function runLeftToIssuer(thread: AioThread, io: IoHandle, generation: number): void {
  if (io.tryBecomeExecutor(thread.slot, generation)) thread.run(io, io.fd);
}

/**
 * Runs the I/O unless another thread does or did. The target opens the file for this thread, the issuer's
 * own I/O included: the descriptor it was started with may be closed by now, and its number another file's.
 * If opening throws, the I/O fails as one on a missing file does, and the error is returned.
 */
export function runDequeued(thread: AioThread, io: IoHandle, generation: number, worker = -1): Error | null {
  if (thread.isForeignLocal(io)) return null; // a duplicate: its issuer runs it
  return io.tryBecomeExecutor(thread.slot, generation) ? runReopened(thread, io, worker) : null;
}

/** As `runDequeued`, for the executor. */
export function runReopened(thread: AioThread, io: IoHandle, worker = -1): Error | null {
  let fd: number;
  try {
    thread.injection?.hooks.workerBeforeReopen?.(worker, io);
    fd = thread.registry.target(io.target).reopen?.(io) ?? -constants.errno.ENOENT;
    thread.injection?.hooks.workerAfterReopen?.(worker, io);
  } catch (error) {
    thread.log({
      level: 'log',
      message: `could not open the file of an I/O on behalf of ${thread.slots.describe(io.owner)}: ${String(error)}`,
    });
    thread.finish(io, -constants.errno.ENOENT);
    return error instanceof Error ? error : new Error(String(error));
  }
  if (fd < 0) thread.finish(io, fd);
  else thread.run(io, fd);
  return null;
}
