/** WRITEV and FSYNC through handles: what the write-back of buffers and the WAL will be made of. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import type { IoHandle } from '../../../src/aio/handle.js';
import { HandleFlag } from '../../../src/aio/operation.js';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import type { Backend } from '../../../src/instance/backend.js';
import { setFileTarget } from '../../../src/vfd/file-target.js';
import type { Vfd } from '../../../src/vfd/vfd.js';
import { forEachVariant, withRig } from '../../../testing/instances.js';

const PIECE = 8192;

/** A file that is open for writing, and I/O memory with a pattern. */
class Writer {
  readonly vfd: Vfd;
  readonly memory: number;
  readonly #backend: Backend;

  constructor(backend: Backend, path: string) {
    this.#backend = backend;
    this.vfd = backend.files.vfds.open(path, { write: true });
    this.memory = backend.files.ioMemory.tryLease(8 * PIECE);
    const bytes = backend.files.bytes.subarray(this.memory, this.memory + 8 * PIECE);
    bytes.forEach((_, at) => (bytes[at] = (at * 31 + (at >>> 13)) & 0xff));
  }

  /** Starts an I/O, and blocks until it is over. */
  run(fill: (io: IoHandle) => void): AioReturn {
    const { aio, rootScope } = this.#backend;
    const result = new AioReturn();
    const io = aio.acquireBlocking(rootScope, result);
    const reference = io.waitReference;
    fill(io);
    aio.waitForBlocking(reference.index, reference.generation);
    return result;
  }

  write(pieces: readonly number[], position: number): AioReturn {
    const { aio, files } = this.#backend;
    return this.run((io) => {
      setFileTarget(io, this.vfd, position, pieces.length * PIECE, 0);
      io.setMemory(files.memory);
      for (const piece of pieces) io.appendIov(this.memory + piece * PIECE, PIECE);
      aio.startWritev(io, files.vfds.useOrThrow(this.vfd), position);
    });
  }

  sync(dataOnly: boolean): AioReturn {
    const { aio, files } = this.#backend;
    return this.run((io) => {
      setFileTarget(io, this.vfd, 0, 0, 0);
      if (dataOnly) io.setFlag(HandleFlag.DATA_ONLY);
      aio.startFsync(io, files.vfds.useOrThrow(this.vfd));
    });
  }

  expected(piece: number): Buffer {
    return Buffer.from(
      this.#backend.files.bytes.subarray(this.memory + piece * PIECE, this.memory + (piece + 1) * PIECE),
    );
  }

  close(): void {
    this.#backend.files.ioMemory.release(this.memory, 8 * PIECE);
    this.#backend.files.vfds.close(this.vfd);
  }
}

forEachVariant((variant) => {
  it('one piece, scattered pieces and neighbours are written where they belong, and synced', async () => {
    await withRig(variant, ({ backend, data }) => {
      const path = join(data.path, 'written');
      writeFileSync(path, Buffer.alloc(16 * PIECE, 0xaa));
      const writer = new Writer(backend, path);
      assert.deepEqual(
        [writer.write([3], PIECE).status, writer.write([0, 2, 4], 4 * PIECE).value],
        [ResultStatus.OK, 3 * PIECE],
      );
      assert.equal(writer.write([5, 6, 7], 8 * PIECE).value, 3 * PIECE);
      for (const dataOnly of [true, false]) {
        const { status, value } = writer.sync(dataOnly);
        assert.deepEqual([status, value], [ResultStatus.OK, 0]);
      }
      const file = readFileSync(path);
      const places = new Map([[1, 3], [4, 0], [5, 2], [6, 4], [8, 5], [9, 6], [10, 7]]); // prettier-ignore
      for (let block = 0; block < 16; block++) {
        const piece = places.get(block);
        const expected = piece === undefined ? Buffer.alloc(PIECE, 0xaa) : writer.expected(piece);
        assert.ok(file.subarray(block * PIECE, (block + 1) * PIECE).equals(expected), `block ${block}`);
      }
      const { writes, writeBytes, syncs, reads } = backend.counters();
      assert.deepEqual(
        { writes, writeBytes, syncs, reads },
        { writes: 3, writeBytes: 7 * PIECE, syncs: 2, reads: 0 },
      );
      writer.close();
    });
  });
});
