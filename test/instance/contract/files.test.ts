/** Reads of plain files: any offset, any length, every method. */
import assert from 'node:assert/strict';
import { closeSync, mkdirSync, openSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import type { Backend } from '../../../src/instance/backend.js';
import type { File } from '../../../src/vfd/file.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { byteAt, writeSample } from '../../../testing/raw-reads.js';

const BYTES = 100_001;

forEachVariant((variant) => {
  let rig: Rig;
  let backend: Backend;
  let file: File;

  before(async () => {
    rig = await openRig(variant);
    backend = rig.backend;
    file = backend.openRawFile(writeSample(rig.data.path, BYTES));
  });
  after(async () => rig.close());

  it('deliver exactly the bytes asked for, fewer at the end, none beyond it', async () => {
    const extent = fc.record({ position: fc.nat(BYTES + 20_000), length: fc.nat(30_000) });
    await fc.assert(
      fc.asyncProperty(fc.array(extent, { minLength: 1, maxLength: 8 }), async (extents) => {
        const contents = await Promise.all(
          extents.map(({ position, length }) => file.read(position, length)),
        );
        for (const [at, bytes] of contents.entries()) {
          const { position = 0, length = 0 } = extents[at] ?? {};
          assert.equal(bytes.length, Math.max(0, Math.min(length, BYTES - position)));
          for (let index = 0; index < bytes.length; index += 97)
            assert.equal(bytes[index], byteAt(position + index));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('are the caller’s own memory', async () => {
    const [first, second] = [await file.read(0, 100), await file.read(0, 100)];
    first.fill(0);
    assert.equal(second[5], byteAt(5));
    assert.ok(!(first.buffer instanceof SharedArrayBuffer));
  });

  it('refuse what is no position or length', async () => {
    for (const [position, length] of [
      [-1, 10],
      [1.5, 10],
      [Number.NaN, 10],
      [2 ** 53, 10],
      [0, -1],
      [0, 0.5],
      [0, 2 ** 31],
    ] as const) {
      await assert.rejects(file.read(position, length), { name: 'RangeError' });
    }
    await assert.rejects(file.read(0, 2 ** 21), { code: 'ERR_PGAIO_EXHAUSTED', hint: /ioMemory/ });
    assert.equal((await file.read(2 ** 52, 10)).length, 0);
  });

  it('D-15: fail with the kernel’s word and the path', async () => {
    const path = join(rig.data.path, 'short-lived');
    writeFileSync(path, 'x');
    const gone = backend.openRawFile(path);
    rmSync(path);
    backend.parts.vfds.closeDescriptors();
    await assert.rejects(gone.read(0, 1), { code: 'ERR_PGAIO_READ_ENOENT', syscode: 'ENOENT', path });
    gone.close();
  });

  it('refuse a directory, and a path that is not there', () => {
    mkdirSync(join(rig.data.path, 'directory'), { recursive: true });
    assert.throws(() => backend.openRawFile(join(rig.data.path, 'directory')), {
      code: 'ERR_PGAIO_NOT_A_FILE',
    });
    const missing = join(rig.data.path, 'missing');
    assert.throws(() => backend.openRawFile(missing), { code: 'ERR_PGAIO_READ_ENOENT', path: missing });
  });

  it('of a closed file are refused; closing twice is nothing', async () => {
    const closed = backend.openRawFile(writeSample(rig.data.path, 10));
    closed.close();
    closed.close();
    await assert.rejects(closed.read(0, 1), { code: 'ERR_PGAIO_CLOSED' });
  });

  it('end where the file ends now', async () => {
    const path = join(rig.data.path, 'growing');
    writeFileSync(path, Buffer.alloc(8192, 1));
    const growing = backend.openRawFile(path);
    assert.equal((await growing.read(0, 16_384)).length, 8192);
    truncateSync(path, 10_000);
    assert.equal((await growing.read(0, 16_384)).length, 10_000);
    growing.close();
  });

  it('D-87, FD-01, FD-02: closing a file first submits what is staged on it', async () => {
    const path = writeSample(rig.data.path, 30_000);
    const closing = backend.openRawFile(path);
    const offset = backend.files.ioMemory.tryLease(8192);
    const reference = backend.aio.batch(backend.rootScope, () => {
      const io = backend.aio.acquireBlocking(backend.rootScope, null);
      const { waitReference } = io;
      closing.startRead(io, offset, 8192, 8192);
      closing.close();
      assert.ok(!backend.aio.haveStaged);
      return waitReference;
    });
    backend.aio.waitForBlocking(reference.index, reference.generation);
    assert.equal(backend.files.bytes[offset + 3], byteAt(8195));
    backend.files.ioMemory.release(offset, 8192);
  });

  it('FD-03: never come from another file that uses the descriptor’s number', async () => {
    const [path, other] = [join(rig.data.path, 'right'), join(rig.data.path, 'wrong')];
    writeFileSync(path, Buffer.alloc(8192, 1));
    writeFileSync(other, Buffer.alloc(8192, 2));
    const right = backend.openRawFile(path);
    const pending = Array.from({ length: 20 }, () => right.read(0, 8192));
    backend.parts.vfds.closeDescriptors();
    const squatters = Array.from({ length: 5 }, () => openSync(other, 'r'));
    for (const bytes of await Promise.all(pending)) assert.ok(bytes.every((byte) => byte === 1));
    squatters.forEach((fd) => closeSync(fd));
    right.close();
  });

  it('never come from a file that took the path over', async () => {
    const path = join(rig.data.path, 'replaced');
    writeFileSync(path, Buffer.alloc(8192, 1));
    const old = backend.openRawFile(path);
    writeFileSync(`${path}.new`, Buffer.alloc(8192, 2));
    renameSync(`${path}.new`, path);
    assert.ok(
      (await old.read(0, 8192)).every((byte) => byte === 1),
      'the issuer still has the old file open',
    );
    backend.parts.vfds.closeDescriptors();
    await assert.rejects(old.read(0, 8192), { code: 'ERR_PGAIO_READ_ENOENT' });
    old.close();
    const fresh = backend.openRawFile(path);
    assert.ok((await fresh.read(0, 8192)).every((byte) => byte === 2));
    fresh.close();
  });
});
