/**
 * Reads of plain files through handles. The data goes through shared I/O memory, because an I/O worker
 * cannot reach a thread's own buffers; the issuer copies it out.
 */
import type { Aio } from '../aio/aio.js';
import type { IoHandle, WaitReference } from '../aio/handle.js';
import { errorOf } from '../aio/report.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import type { Scope } from '../aio/scope.js';
import { ClosedError } from '../base/errors.js';
import type { IoMemory } from '../shmem/io-memory.js';
import { PENDING } from '../shmem/wait.js';
import { setFileTarget } from './file-target.js';
import type { Vfd, VfdCache } from './vfd.js';

/** What Linux transfers in one call: MAX_RW_COUNT. */
const READ_BYTES_MAX = 0x7fff_f000;

/** What the files of a backend share. */
export interface FileContext {
  readonly aio: Aio;
  readonly vfds: VfdCache;
  readonly ioMemory: IoMemory;
  /** Number of the I/O memory among the memories of an I/O, and its bytes. */
  readonly memory: number;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly scope: Scope;
}

export class File {
  readonly path: string;
  readonly context: FileContext;
  readonly #vfd: Vfd;
  #closed = false;

  /** @internal */
  constructor(context: FileContext, vfd: Vfd) {
    this.context = context;
    this.path = vfd.path;
    this.#vfd = vfd;
  }

  /**
   * Fills a handed-out handle and starts it: reads `length` bytes at `position` into I/O memory at
   * `memoryOffset`. `firstBlock` is for the callbacks that were registered on the handle.
   */
  startRead(io: IoHandle, memoryOffset: number, length: number, position: number, firstBlock = 0): void {
    const { aio, vfds, memory } = this.context;
    if (this.#closed) throw new ClosedError(`the file "${this.path}"`);
    const fd = vfds.useOrThrow(this.#vfd);
    setFileTarget(io, this.#vfd, position, length, firstBlock);
    io.setMemory(memory);
    io.appendIov(memoryOffset, length);
    aio.startReadv(io, fd, position);
  }

  /**
   * Reads `length` bytes at `position`; fewer at the end of the file. The result is the caller's own copy.
   * Rejects with an IoError, or a RangeError when position or length make no sense.
   */
  async read(position: number, length: number): Promise<Uint8Array> {
    const { aio, ioMemory, scope, bytes } = this.context;
    checkExtent(position, length);
    if (this.#closed) throw new ClosedError(`the file "${this.path}"`);
    const offset = await aio.waits.until(() => ioMemory.lease(aio.waits, length));
    const result = new AioReturn();
    let io: WaitReference;
    try {
      io = await aio.withHandle(scope, result, (handle) => {
        const reference = handle.waitReference;
        this.startRead(handle, offset, length, position);
        return reference;
      });
    } catch (error) {
      ioMemory.release(offset, length); // not started: nobody writes into it
      throw error;
    }
    // If this wait fails, the instance has crashed, and the kernel may still write: the memory stays leased.
    if (aio.waitForReference(io) === PENDING) await aio.waits.until(() => aio.waitForReference(io));
    try {
      if (result.status === ResultStatus.ERROR) throw errorOf(aio, result);
      return Uint8Array.prototype.slice.call(bytes, offset, offset + result.value);
    } finally {
      ioMemory.release(offset, length);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.context.vfds.close(this.#vfd);
  }
}

function checkExtent(position: number, length: number): void {
  if (!Number.isSafeInteger(position) || position < 0)
    throw new RangeError(`${position} is not a position in a file`);
  if (!Number.isInteger(length) || length < 0 || length > READ_BYTES_MAX) {
    throw new RangeError(`${length} is outside the valid range for a length (0 .. ${READ_BYTES_MAX})`);
  }
}
