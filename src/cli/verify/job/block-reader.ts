/**
 * Reads one block at a time, for blocks that are in doubt: through a handle like every other read, but
 * blocking, and with the file opened by its path again, which also shows whether it still exists.
 */
import { constants } from 'node:os';
import { AioReturn, ResultStatus } from '../../../aio/result.js';
import { IoError } from '../../../base/errors.js';
import type { Backend } from '../../../instance/backend.js';
import { errorOf } from '../../../aio/report.js';
import type { File } from '../../../vfd/file.js';
import type { ScanRange } from './protocol.js';

/** Direct I/O takes positions and lengths in multiples of this, on every device that we know of. */
export const DIRECT_ALIGNMENT = 4096;
const BLOCK_BYTES_MAX = 32_768;

export class BlockReader {
  /** Where the block that was read last lies in the I/O memory. */
  offset = 0;
  readonly #backend: Backend;
  readonly #direct: boolean;
  readonly #memory: number;
  readonly #result = new AioReturn();
  #file: File | null = null;

  constructor(backend: Backend, direct: boolean) {
    const { aio, files } = backend;
    this.#backend = backend;
    this.#direct = direct;
    this.#memory = aio.waits.block(() => files.ioMemory.lease(aio.waits, BLOCK_BYTES_MAX));
  }

  /**
   * How many bytes of the block there are: all, fewer, 0 where the file ends before it, or -1 when there is no
   * such file. Throws an IoError.
   */
  read(range: ScanRange, block: number): number {
    const file = this.#open(range);
    if (file === null) return -1;
    const position = block * range.blockSize;
    const start = position - (position % DIRECT_ALIGNMENT);
    const length = Math.max(range.blockSize, DIRECT_ALIGNMENT);
    this.offset = this.#memory + position - start;
    const bytes = this.#read(file, start, length) - (position - start);
    return Math.max(0, Math.min(bytes, range.blockSize));
  }

  #read(file: File, position: number, length: number): number {
    const { aio, rootScope } = this.#backend;
    const io = aio.acquireBlocking(rootScope, this.#result);
    const { index, generation } = io;
    try {
      file.startRead(io, this.#memory, length, position);
    } catch (error) {
      aio.release(io);
      throw error;
    }
    aio.waitForBlocking(index, generation);
    if (this.#result.status === ResultStatus.ERROR) throw errorOf(aio, this.#result);
    return this.#result.value;
  }

  /** A server may drop or replace a file at any time; a stopped cluster's are kept open while it is their turn. */
  #open(range: ScanRange): File | null {
    if (this.#file !== null && this.#file.path === range.path && !range.online) return this.#file;
    this.#file?.close();
    this.#file = openIfExists(this.#backend, range.path, this.#direct);
    return this.#file;
  }

  close(): void {
    this.#file?.close();
    this.#backend.files.ioMemory.release(this.#memory, BLOCK_BYTES_MAX);
  }
}

/** Null when there is no such file. Throws an IoError. */
export function openIfExists(backend: Backend, path: string, direct: boolean): File | null {
  try {
    return backend.openRawFile(path, { direct });
  } catch (error) {
    if (error instanceof IoError && error.errno === constants.errno.ENOENT) return null;
    throw error;
  }
}
