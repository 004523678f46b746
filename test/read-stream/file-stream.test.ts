/** The look-ahead stream over plain files, under every method. */
import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CallbackId } from '../../src/aio/ids.js';
import { VerifyMode } from '../../src/page/page-verdict.js';
import {
  FileStream,
  type FileChunk,
  type FileRange,
  type FileStreamOptions,
  type NextRange,
} from '../../src/read-stream/file-stream.js';
import { PENDING } from '../../src/shmem/wait.js';
import { verifyPagesData } from '../../src/smgr/verify-pages.js';
import type { File } from '../../src/vfd/file.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { forEachMethod, withRig, type Rig } from '../../testing/instances.js';
import { breakChecksum, makePage } from '../../testing/pages.js';

const KB = 1024;

/** A file whose bytes tell where they are, in words of four bytes. */
function makeFile(rig: Rig, name: string, bytes: number): { file: File; contents: Buffer } {
  const contents = Buffer.alloc(bytes);
  for (let at = 0; at + 4 <= bytes; at += 4) contents.writeUInt32LE(at ^ name.length, at);
  const path = join(rig.data.path, name);
  writeFileSync(path, contents);
  return { file: rig.backend.openRawFile(path), contents };
}

function streamOf<R extends FileRange>(
  rig: Rig,
  ranges: readonly R[] | NextRange<R>,
  options: Partial<FileStreamOptions<R>> = {},
): FileStream<R> {
  let index = 0;
  const next = typeof ranges === 'function' ? ranges : (): R | null => ranges[index++] ?? null;
  return new FileStream(rig.backend.files, next, { chunkBytes: 16 * KB, depth: 4, ...options });
}

interface Seen {
  position: number;
  bytes: number;
  isLast: boolean;
  contents: Buffer;
}

function see(rig: Rig, chunk: FileChunk<FileRange>): Seen {
  const { position, bytes, isLast, memoryOffset } = chunk;
  const contents = Buffer.from(rig.backend.files.bytes.slice(memoryOffset, memoryOffset + bytes));
  return { position, bytes, isLast, contents };
}

/** Reads to the end, blocking, and closes. */
function readAll(rig: Rig, stream: FileStream<FileRange>): Seen[] {
  const { waits } = rig.backend.aio;
  const seen: Seen[] = [];
  for (;;) {
    const chunk = waits.block(() => stream.next());
    if (chunk === null) break;
    assert.equal(stream.errorOf(chunk), null);
    seen.push(see(rig, chunk));
  }
  waits.block(() => stream.close());
  return seen;
}

forEachMethod((ioMethod) => {
  test('chunks come in order, across files, with the right bytes', async () => {
    await withRig({ ioMethod }, (rig) => {
      const one = makeFile(rig, 'one', 100 * KB);
      const three = makeFile(rig, 'three', 40 * KB);
      const seen = readAll(
        rig,
        streamOf(rig, [
          { file: one.file, position: 8 * KB, length: 40 * KB },
          { file: one.file, position: 0, length: 0 },
          { file: three.file, position: 0, length: 40 * KB },
        ]),
      );
      assert.deepEqual(
        seen.map(({ position, bytes, isLast }) => [position / KB, bytes / KB, isLast]),
        [
          [8, 16, false],
          [24, 16, false],
          [40, 8, true],
          [0, 16, false],
          [16, 16, false],
          [32, 8, true],
        ],
      );
      assert.ok(
        Buffer.concat(seen.slice(0, 3).map((one) => one.contents)).equals(
          one.contents.subarray(8 * KB, 48 * KB),
        ),
      );
      assert.ok(Buffer.concat(seen.slice(3).map((one) => one.contents)).equals(three.contents));
      one.file.close();
      three.file.close();
    });
  });

  test('the awaiting form is the same step', async () => {
    await withRig({ ioMethod }, async (rig) => {
      const { file, contents } = makeFile(rig, 'one', 200 * KB);
      const stream = streamOf(rig, [{ file, position: 0, length: 200 * KB }]);
      const { waits } = rig.backend.aio;
      const parts: Buffer[] = [];
      for (;;) {
        const chunk = await waits.until(() => stream.next());
        if (chunk === null) break;
        parts.push(see(rig, chunk).contents);
      }
      await waits.until(() => stream.close());
      assert.ok(Buffer.concat(parts).equals(contents));
      file.close();
    });
  });

  test('beyond the end of the file there are fewer bytes, and then none', async () => {
    await withRig({ ioMethod }, (rig) => {
      const { file } = makeFile(rig, 'short', 20 * KB);
      const seen = readAll(rig, streamOf(rig, [{ file, position: 0, length: 48 * KB }]));
      assert.deepEqual(
        seen.map(({ bytes }) => bytes / KB),
        [16, 4, 0],
      );
      file.close();
    });
  });

  test('callbacks that were registered judge every chunk', async () => {
    await withRig({ ioMethod }, (rig) => {
      const pages = Array.from({ length: 6 }, (_, block) => makePage(10 + block));
      breakChecksum(pages[3] as Uint8Array);
      const path = join(rig.data.path, 'pages');
      writeFileSync(path, Buffer.concat(pages));
      const file = rig.backend.openRawFile(path);
      const stream = streamOf(rig, [{ file, position: 0, length: 48 * KB }], {
        prepare: (io, _range, position) => {
          io.registerCallback(CallbackId.VERIFY_PAGES, verifyPagesData(VerifyMode.SCAN, 8192));
          return 10 + position / 8192;
        },
      });
      const { waits } = rig.backend.aio;
      const suspicious: number[] = [];
      for (;;) {
        const chunk = waits.block(() => stream.next());
        if (chunk === null) break;
        suspicious.push(chunk.result.reporter === CallbackId.VERIFY_PAGES ? chunk.result.errorData : 0);
      }
      waits.block(() => stream.close());
      assert.deepEqual(suspicious, [0, 1, 0]);
      file.close();
    });
  });

  test('a read that fails is a chunk that says so, and the others come all the same', async () => {
    const injection = new Injection();
    await withRig({ ioMethod, injection: injection.url }, (rig) => {
      const { file } = makeFile(rig, 'one', 64 * KB);
      injection.answer(-5, { times: 1 });
      const stream = streamOf(rig, [{ file, position: 0, length: 64 * KB }]);
      const { waits } = rig.backend.aio;
      const errors: (string | undefined)[] = [];
      for (;;) {
        const chunk = waits.block(() => stream.next());
        if (chunk === null) break;
        errors.push(stream.errorOf(chunk)?.message);
      }
      waits.block(() => stream.close());
      assert.equal(errors.length, 4);
      const failures = errors.filter((message) => message !== undefined);
      assert.equal(failures.length, 1);
      assert.match(String(failures[0]), /could not read 16384 bytes at position \d+ of ".*one": EIO/);
      file.close();
    });
  });

  test('a read that cannot be started is such a chunk too', async () => {
    await withRig({ ioMethod }, (rig) => {
      const { file } = makeFile(rig, 'one', 16 * KB);
      const open = makeFile(rig, 'two', 16 * KB);
      file.close();
      const stream = streamOf(rig, [
        { file, position: 0, length: 16 * KB },
        { file: open.file, position: 0, length: 16 * KB },
      ]);
      const { waits } = rig.backend.aio;
      const failed = waits.block(() => stream.next());
      assert.ok(failed !== null && /is closed/.test(String(stream.errorOf(failed))));
      const good = waits.block(() => stream.next());
      assert.ok(good !== null && stream.errorOf(good) === null && good.bytes === 16 * KB);
      waits.block(() => stream.close());
      open.file.close();
    });
  });

  test('an error of the callback is kept until the consumer gets there', async () => {
    await withRig({ ioMethod }, (rig) => {
      const { file } = makeFile(rig, 'one', 32 * KB);
      const ranges = [{ file, position: 0, length: 32 * KB }];
      const stream = streamOf(rig, () => {
        const range = ranges.pop();
        if (range === undefined) throw new Error('no idea what comes next');
        return range;
      });
      const { waits } = rig.backend.aio;
      for (let chunk = 0; chunk < 2; chunk++) assert.ok(waits.block(() => stream.next()));
      assert.throws(() => waits.block(() => stream.next()), /no idea what comes next/);
      assert.throws(() => waits.block(() => stream.next()), /no idea what comes next/);
      waits.block(() => stream.close());
      file.close();
    });
  });

  test('closing early gives the memory back, once the reads are done', async () => {
    const injection = new Injection();
    await withRig({ ioMethod, injection: injection.url }, async (rig) => {
      const { file } = makeFile(rig, 'one', 256 * KB);
      const { aio, ioMemory } = rig.backend.files;
      const stream = streamOf(rig, [{ file, position: 0, length: 256 * KB }]);
      if (ioMethod !== 'sync') {
        // All of them: else a read behind the held one may be over before it, and the first is not the held one for sure.
        const hold = holdIo(injection, rig.backend, 'beforeSharedCompletion', Infinity);
        assert.equal(stream.next(), PENDING);
        await hold.arrived();
        assert.equal(stream.close(), PENDING);
        assert.equal(ioMemory.unitsInUse, 8);
        hold.release();
      } else {
        assert.ok(stream.next());
      }
      await aio.waits.until(() => stream.close());
      assert.equal(ioMemory.unitsInUse, 0);
      assert.equal(stream.next(), null);
      file.close();
    });
  });

  test('with little I/O memory it reads less ahead, and with none it waits', async () => {
    await withRig({ ioMethod, ioMemory: 32 * KB }, async (rig) => {
      const { file, contents } = makeFile(rig, 'one', 100 * KB);
      const { aio, ioMemory } = rig.backend.files;
      const all = [{ file, position: 0, length: 100 * KB }];
      const taken = ioMemory.tryLease(32 * KB);
      const stream = streamOf(rig, all);
      assert.equal(stream.next(), PENDING);
      ioMemory.release(taken, 32 * KB);
      const seen = readAll(rig, stream);
      assert.ok(Buffer.concat(seen.map((one) => one.contents)).equals(contents));
      assert.equal(ioMemory.unitsInUse, 0);
      assert.equal(await aio.waits.until(() => aio.drain()), true);
      file.close();
    });
  });

  test('a file that is gone by its name is read to its end', async () => {
    await withRig({ ioMethod }, (rig) => {
      const { file, contents } = makeFile(rig, 'one', 64 * KB);
      rmSync(file.path);
      const seen = readAll(rig, streamOf(rig, [{ file, position: 0, length: 64 * KB }]));
      assert.ok(Buffer.concat(seen.map((one) => one.contents)).equals(contents));
      file.close();
    });
  });
});
