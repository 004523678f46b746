/** One I/O from the queue, run by a thread that need not be its issuer. */
import { constants } from 'node:os';
import type { IoHandle } from '../../handle.js';
import type { AioThread } from '../../thread.js';

/**
 * Runs the I/O unless another thread does or did. The target opens the file for this thread. If that
 * throws, the I/O fails as one on a missing file does, and the error is passed on: the thread that cannot
 * open files should not go on taking I/O (PostgreSQL's worker exits, too).
 */
export function runDequeued(thread: AioThread, io: IoHandle, generation: number, worker = -1): void {
  if (!io.tryBecomeExecutor(thread.slot, generation)) return;
  let fd: number;
  try {
    thread.injection?.hooks.workerBeforeReopen?.(worker, io);
    fd =
      io.owner === thread.slot
        ? io.fd
        : (thread.registry.target(io.target).reopen?.(io) ?? -constants.errno.ENOENT);
    thread.injection?.hooks.workerAfterReopen?.(worker, io);
  } catch (error) {
    thread.finish(io, -constants.errno.ENOENT);
    throw error;
  }
  if (fd < 0) thread.finish(io, fd);
  else thread.run(io, fd);
}
