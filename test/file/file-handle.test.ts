/** Files with the methods of Node's FileHandle: what Node does, and what it does not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { promises as fs, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { after, before, describe, it } from 'node:test';
import { attachInstance } from '../../src/index.js';
import type { FileHandle } from '../../src/file/file-handle.js';
import type { Backend } from '../../src/instance/backend.js';
import { alwaysPunt } from '../../testing/always-punt.js';
import { directIoMissing } from '../../testing/direct-io.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { supportedMethods } from '../../src/index.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { seededRandom } from '../../testing/random.js';
import { untilTrue } from '../../testing/turns.js';

const { EIO } = constants.errno;
/** As well Node's as ours. */
type Handle = Pick<
  FileHandle,
  'read' | 'readv' | 'write' | 'writev' | 'truncate' | 'stat' | 'sync' | 'datasync' | 'close'
>;
type Open = (path: string, flags?: string | number, mode?: number) => Promise<Handle>;

const TEXT = 'abcdefghijklmnopqrstuvwxyz';

/** What a program can do with a file, and see of it. */
const scenarios: Record<string, (open: Open, path: string) => Promise<unknown>> = {
  'reads in every shape': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path);
    const seen: unknown[] = [];
    const buffer = Buffer.alloc(10, '.');
    const put = ({
      bytesRead,
      buffer: into,
    }: {
      bytesRead: number;
      buffer: NodeJS.ArrayBufferView;
    }): void => {
      seen.push(
        bytesRead,
        Buffer.from(into.buffer, into.byteOffset, Math.min(40, into.byteLength)).toString(),
      );
    };
    put(await file.read(buffer, 2, 3, 5));
    put(await file.read(buffer, { offset: 1, length: 2, position: 20 }));
    put(await file.read({ buffer, position: 3 }));
    put(await file.read(buffer, 0, 10, 20)); // to the end
    put(await file.read(buffer, 0, 10, 26)); // behind it
    put(await file.read(buffer, 0, 10, 1000));
    put(await file.read(buffer, 0, 4, null)); // one after the other
    put(await file.read(buffer, 0, 4));
    put(await file.read(new Uint16Array(3), 0, 6, 0));
    put(await file.read(new DataView(new ArrayBuffer(8), 2, 4)));
    put(await file.read(buffer, 0, 3, 7));
    put(await file.read()); // where the ones without a position had come to
    put(await file.read(buffer, 0, 0, 0));
    await file.close();
    return seen;
  },
  'reads without a position one after the other, also when nobody waits in between': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path);
    const reads = await Promise.all([1, 2, 3].map(() => file.read(Buffer.alloc(5), 0, 5)));
    const text = reads.map(({ buffer }) => buffer.toString()).sort();
    await file.close();
    return text;
  },
  'writes in every shape': async (open, path) => {
    const file = await open(path, 'w+', 0o640);
    const bytes = Buffer.from('0123456789');
    const seen: unknown[] = [];
    seen.push((await file.write(bytes)).bytesWritten);
    seen.push((await file.write(bytes, 2, 3)).bytesWritten);
    seen.push((await file.write(bytes, 5, 2, 0)).bytesWritten);
    seen.push((await file.write(bytes, { offset: 8, position: 30 })).bytesWritten);
    seen.push((await file.write('äöü')).bytesWritten);
    seen.push((await file.write('ff00', 40, 'hex')).bytesWritten);
    seen.push((await file.write('text', null)).buffer);
    seen.push((await file.write(new Uint32Array([0x41414141]), 0, 4, 50)).bytesWritten);
    await file.close();
    seen.push(readFileSync(path, 'hex'), (await fs.stat(path)).mode & 0o777);
    return seen;
  },
  'moves vectors': async (open, path) => {
    const file = await open(path, 'w+');
    const parts = [Buffer.from('abc'), new Uint8Array(0), Buffer.from('defgh')];
    const seen: unknown[] = [
      (await file.writev(parts)).bytesWritten,
      (await file.writev(parts, 20)).bytesWritten,
    ];
    const into = [Buffer.alloc(2), Buffer.alloc(4), Buffer.alloc(100)];
    seen.push((await file.readv(into, 1)).bytesRead, ...into.slice(0, 2).map(String));
    seen.push((await file.readv([Buffer.alloc(3)])).bytesRead);
    await file.close();
    seen.push(readFileSync(path, 'hex'));
    return seen;
  },
  'appends, wherever it is told to': async (open, path) => {
    writeFileSync(path, 'begin ');
    const file = await open(path, 'a+');
    await file.write('one ', 0);
    await file.write(Buffer.from('two '), 0, 4, 1000);
    await file.write('three');
    const { bytesRead } = await file.read(Buffer.alloc(100), 0, 100, 0);
    await file.close();
    return [readFileSync(path, 'utf8'), bytesRead];
  },
  'reads behind what it has appended': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path, 'a+');
    const seen: unknown[] = [(await file.read(Buffer.alloc(3))).buffer.toString()];
    await file.write('XYZ');
    seen.push((await file.read(Buffer.alloc(10))).bytesRead);
    await file.writev([Buffer.from('1'), Buffer.from('2')]);
    seen.push((await file.read(Buffer.alloc(10))).bytesRead);
    await file.close();
    return [...seen, readFileSync(path, 'utf8')];
  },
  'truncates, and says what is there': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path, 'r+');
    await file.truncate(5);
    const small = (await file.stat()).size;
    await file.truncate(9);
    const big = (await file.stat({ bigint: true })).size;
    await file.sync();
    await file.datasync();
    await file.truncate();
    const { size } = await file.stat();
    await file.close();
    return [small, String(big), size, (await fs.stat(path)).size];
  },
};

/** What goes wrong, as a program sees it. */
const failures: Record<string, (open: Open, path: string) => Promise<unknown>> = {
  'there is no such file': async (open, path) => open(`${path}-not`),
  'there is such a file': async (open, path) => {
    writeFileSync(path, '');
    return open(path, 'wx');
  },
  'no directory': async (open, path) => {
    writeFileSync(path, '');
    return open(join(path, 'below'));
  },
  'a write to what is open for reading': async (open, path) => {
    writeFileSync(path, '');
    const file = await open(path);
    return await file.write('x').finally(() => file.close());
  },
  'a read of what is open for writing': async (open, path) => {
    const file = await open(path, 'w');
    return await file.read(Buffer.alloc(3), 0, 3, 0).finally(() => file.close());
  },
  'a cut of what is open for reading': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path);
    await file.truncate(3).finally(() => file.close());
  },
  'a read of what is closed': async (open, path) => {
    writeFileSync(path, TEXT);
    const file = await open(path);
    await file.close();
    return file.read(Buffer.alloc(3), 0, 3, 0);
  },
};

interface SystemError {
  code?: string;
  errno?: number;
  syscall?: string;
  path?: string;
}

async function errorOf(failing: Promise<unknown>): Promise<SystemError> {
  try {
    await failing;
  } catch (error) {
    const { code, errno, syscall } = error as SystemError;
    return {
      ...(code !== undefined && { code }),
      ...(errno !== undefined && { errno }),
      ...(syscall !== undefined && { syscall }),
    };
  }
  return assert.fail('nothing failed');
}

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let home: string;
  let count = 0;
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'pgaio-files-'));
    rig = await openRig({ ioMethod, injection: injection.url, ioMemory: '1MB' });
    backend = rig.backend;
  });
  after(async () => {
    await rig.close();
    rmSync(home, { recursive: true });
  });
  const fresh = (): string => join(home, `file${count++}`);
  const open: Open = (path, flags = 'r', mode = 0o666) => backend.openFile(path, { flags, mode });

  describe('as Node’s', () => {
    for (const [name, run] of Object.entries(scenarios))
      it(name, async () => {
        const node = await run(fs.open as Open, fresh());
        assert.deepEqual(await run(open, fresh()), node);
      });

    for (const [name, run] of Object.entries(failures))
      it(`fails on ${name}`, async () => {
        const node = await errorOf(run(fs.open as Open, fresh()));
        const ours = await errorOf(run(open, fresh()));
        // Node's closed handle is no system call's.
        const isClosed = name.endsWith('is closed');
        assert.deepEqual(isClosed ? ours.code : ours, isClosed ? node.code : node);
      });
  });

  it('moves more than there is memory for, in pieces', async () => {
    const path = fresh();
    const content = Buffer.alloc(3_000_001, 'pgaio pieces ');
    await using file = await backend.openFile(path, 'w+');
    assert.equal((await file.write(content, 0, undefined, 5)).bytesWritten, content.length);
    const back = Buffer.alloc(content.length + 100);
    assert.equal((await file.read(back, 0, undefined, 5)).bytesRead, content.length);
    assert.ok(back.subarray(0, content.length).equals(content));
    assert.deepEqual(readFileSync(path).subarray(5), content);
  });

  it('reads many at once, each as it would be read alone', async () => {
    const path = fresh();
    const random = seededRandom(3);
    const content = Buffer.from(Array.from({ length: 400_000 }, () => random.below(256)));
    writeFileSync(path, content);
    await using file = await backend.openFile(path);
    const ranges = Array.from({ length: 800 }, () => ({
      position: random.below(content.length + 1000),
      length: random.pick([0, 1, 100, 4096, 8192, 8193]),
    }));
    ranges.push({ position: 0, length: 400_100 });
    const found = await file.readMany(ranges);
    assert.equal(found.length, ranges.length);
    for (const [at, { position, length }] of ranges.entries())
      assert.ok(
        (found[at] as Buffer).equals(content.subarray(position, position + length)),
        `${position}, ${length}`,
      );
    assert.deepEqual(await file.readMany([]), []);
  });

  it('reads many into a buffer of the caller’s', async () => {
    const path = fresh();
    writeFileSync(path, TEXT);
    await using file = await backend.openFile(path);
    const buffer = new Uint16Array(5);
    const ranges = [
      { position: 20, length: 4 },
      { position: 0, length: 0 },
      { position: 24, length: 5 },
    ];
    const found = await file.readMany(ranges, { buffer });
    assert.deepEqual(found.map(String), ['uvwx', '', 'yz']);
    assert.ok(found.every((part) => part.buffer === buffer.buffer));
    assert.equal(Buffer.from(buffer.buffer).toString(), 'uvwxyz\0\0\0\0');
    await assert.rejects(file.readMany([...ranges, { position: 0, length: 2 }], { buffer }), RangeError);
  });

  it('reads many into an I/O buffer, where it is: nothing is copied', async () => {
    const path = fresh();
    const content = Buffer.from(Array.from({ length: 120_000 }, (_, at) => (at * 7) % 251));
    writeFileSync(path, content);
    await withRig({ ioMethod, ioMemory: '128kB' }, async ({ backend: small }) => {
      await using file = await small.openFile(path);
      using buffer = small.allocateIoBuffer(65_536);
      while (small.files.ioMemory.tryLease(8192) >= 0); // nothing is left: a lease would wait for ever
      const ranges = [
        { position: 3, length: 40_000 },
        { position: 119_990, length: 100 },
        { position: 0, length: 0 },
        { position: 200_000, length: 5 },
        { position: 50_001, length: 7 },
      ];
      const found = await file.readMany(ranges, { buffer: buffer.bytes });
      let at = buffer.bytes.byteOffset;
      for (const [index, { position, length }] of ranges.entries()) {
        const part = found[index] as Buffer;
        assert.deepEqual(part, content.subarray(position, position + length));
        if (part.length > 0) {
          assert.equal(part.buffer, buffer.bytes.buffer);
          assert.equal(part.byteOffset, at);
        }
        at += length;
      }
      injection.answer(1000, { times: 3 });
      const [again] = await file.readMany([{ position: 10, length: 9000 }], { buffer: buffer.bytes });
      assert.deepEqual(again, content.subarray(10, 9010));
    });
  });

  it('readMany goes on with reads that stop early, and rejects with what failed', async () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(100_000, 7));
    await using file = await backend.openFile(path);
    injection.answer(1000, { times: 3 });
    const ranges = [0, 20_000, 40_000].map((position) => ({ position, length: 8192 }));
    for (const part of await file.readMany(ranges)) assert.deepEqual(part, Buffer.alloc(8192, 7));
    injection.answer(-EIO, { times: 1 });
    await assert.rejects(file.readMany(ranges), { code: 'EIO', errno: -EIO, syscall: 'read', path });
    injection.disarm('beforeSharedCompletion');
    await file.readMany(ranges);
  });

  it('goes on with reads and writes that stop early', async () => {
    const path = fresh();
    await using file = await backend.openFile(path, 'w+');
    injection.answer(3, { times: 1 });
    assert.equal((await file.write('0123456789')).bytesWritten, 10);
    injection.answer(4, { times: 1 });
    const { bytesRead, buffer } = await file.read(Buffer.alloc(10), 0, 10, 0);
    assert.deepEqual([bytesRead, buffer.toString()], [10, '0123456789']);
  });

  it('a failed fsync is final', async () => {
    await using file = await backend.openFile(fresh(), 'w');
    await file.write('x');
    injection.answer(-EIO, { times: 1 });
    const failure = { name: 'FileError', code: 'EIO', syscall: 'fsync' };
    await assert.rejects(file.sync(), failure);
    await assert.rejects(file.datasync(), failure);
    await assert.rejects(file.sync(), failure);
  });

  it('a failed fsync is one of all who have the file open: the kernel tells it once', async () => {
    const path = fresh();
    const other = await attachInstance(rig.instance.handle);
    const handles = [
      await backend.openFile(path, 'w'),
      await backend.openFile(path, 'a'),
      await other.openFile(path),
    ];
    await using bystander = await backend.openFile(fresh(), 'w');
    await Promise.all(handles.map((file) => file.sync()));
    injection.answer(-EIO, { times: 1 });
    for (const file of handles) await assert.rejects(file.sync(), { name: 'FileError', code: 'EIO', path });
    await assert.rejects((handles[1] as FileHandle).datasync(), {
      code: 'EIO',
      hint: /others/,
    });
    await bystander.sync();
    await using again = await backend.openFile(path, 'a');
    await again.sync(); // what the kernel has forgotten it cannot tell
    for (const file of handles) await file.close();
    await other.close();
  });

  it('hundreds at once, with few handles', async () => {
    await withRig({ ioMethod, ioMaxConcurrency: 4, ioMemory: '64kB' }, async (small) => {
      const path = fresh();
      await using file = await small.backend.openFile(path, 'w+');
      const numbers = Array.from({ length: 300 }, (_, at) => at);
      await Promise.all(numbers.map((at) => file.write(Buffer.alloc(100, at), 0, 100, at * 100)));
      const back = await Promise.all(numbers.map((at) => file.read(Buffer.alloc(100), 0, 100, at * 100)));
      for (const [at, { buffer }] of back.entries()) assert.deepEqual(buffer, Buffer.alloc(100, at));
      const many = await file.readMany(numbers.map((at) => ({ position: at * 100, length: 100 })));
      for (const [at, part] of many.entries()) assert.deepEqual(part, Buffer.alloc(100, at));
    });
  });

  it('memory of an I/O buffer is used where it is, and given back when nothing is in flight', async () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(20_000, 'x'));
    await using file = await backend.openFile(path);
    const buffer = backend.allocateIoBuffer(16_384);
    assert.ok(buffer.bytes.buffer instanceof SharedArrayBuffer);
    const { bytesRead } = await file.read(buffer.bytes, 0, 16_384, 100);
    assert.equal(bytesRead, 16_384);
    assert.ok(buffer.bytes.every((byte) => byte === 120));
    const reading = file.read(buffer.bytes, 0, 8192, 0);
    buffer.release();
    await reading;
    await assert.rejects(file.read(buffer.bytes, 0, 1, 0), { code: 'ERR_PGAIO_SETTING' });
    assert.throws(() => backend.allocateIoBuffer(2 ** 21), { code: 'ERR_PGAIO_EXHAUSTED' });
    assert.throws(() => backend.allocateIoBuffer(0), RangeError);
  });

  it(
    'past the page cache, positions and lengths need not be aligned',
    { skip: directIoMissing() },
    async () => {
      const path = fresh();
      const content = Buffer.from(Array.from({ length: 50_001 }, (_, at) => at % 251));
      writeFileSync(path, content);
      await using file = await backend.openFile(path, { direct: true });
      for (const [position, length] of [
        [0, 8192],
        [1, 10],
        [4095, 2],
        [10_000, 30_000],
        [50_000, 5],
        [49_999, 100],
        [60_000, 5],
      ] as const) {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, position);
        assert.deepEqual(buffer.subarray(0, bytesRead), content.subarray(position, position + length));
      }
      using memory = backend.allocateIoBuffer(32_768);
      for (const buffer of [undefined, memory.bytes]) {
        const [a, b] = await file.readMany(
          [
            { position: 5, length: 9000 },
            { position: 45_000, length: 9000 },
          ],
          { buffer },
        );
        assert.deepEqual([a, b], [content.subarray(5, 9005), content.subarray(45_000)]);
      }
      const aligned = [
        { position: 8192, length: 8192 },
        { position: 45_056, length: 8192 },
      ];
      const [c, d] = await file.readMany(aligned, { buffer: memory.bytes });
      assert.deepEqual([c, d], [content.subarray(8192, 16_384), content.subarray(45_056)]);
    },
  );

  it('arguments that make no sense are refused as Node refuses them', async () => {
    const path = fresh();
    await using file = await backend.openFile(path, 'w+');
    await using theirs = await fs.open(path, 'r+');
    const buffer = Buffer.alloc(10);
    for (const given of [[buffer, 11], [buffer, '0'], [buffer, 0.5], [buffer, 0, 11], [5]]) {
      const args = given as [Buffer, number, number];
      const refused = await theirs.read(...args).catch((error: unknown) => error as NodeJS.ErrnoException);
      assert.ok(refused instanceof Error);
      await assert.rejects(file.read(...args), { name: refused.name, code: refused.code });
    }
    for (const position of [-2, 0.5, 2n ** 63n])
      await assert.rejects(file.read(buffer, 0, 1, position), { code: 'ERR_OUT_OF_RANGE' });
    await assert.rejects(file.read(buffer, 0, 1, '0' as never), { code: 'ERR_INVALID_ARG_TYPE' });
    await assert.rejects(file.read(buffer, 0, '1' as never), { code: 'ERR_INVALID_ARG_TYPE' }); // Node aborts
    await assert.rejects(file.write({} as Buffer), TypeError);
    await assert.rejects(file.readv([{}] as unknown as Buffer[]), TypeError);
    await assert.rejects(file.read(buffer, { signal: 5 as never }), TypeError);
    await assert.rejects(file.readMany([{ position: -1, length: 1 }]), RangeError);
    await assert.rejects(file.readMany([{ position: 0, length: -1 }]), RangeError);
    for (const ranges of [5, [null], [{ position: '0', length: 1 }], [{ position: 0, length: '1' }]])
      await assert.rejects(file.readMany(ranges as never), { code: 'ERR_INVALID_ARG_TYPE' });
    for (const options of [5, { signal: 5 }, { buffer: 5 }, { buffer: null }])
      await assert.rejects(file.readMany([{ position: 0, length: 1 }], options as never), {
        code: 'ERR_INVALID_ARG_TYPE',
      });
    await assert.rejects(backend.openFile(fresh(), 'rw'), { code: 'ERR_PGAIO_SETTING' });
    await assert.rejects(backend.openFile(home), { code: 'ERR_PGAIO_NOT_A_FILE' });
    await assert.rejects(backend.openFile('a\0b'), { code: 'ERR_INVALID_ARG_VALUE' });
    await assert.rejects(backend.openFile(5 as never), { code: 'ERR_INVALID_ARG_TYPE' });
    await assert.rejects(backend.openFile(path, { direct: 'yes' as never }), {
      code: 'ERR_INVALID_ARG_TYPE',
    });
    await (await backend.openFile(pathToFileURL(path))).close();
  });

  it('lets the event loop have its turn, however fast the reads are', async () => {
    const path = fresh();
    writeFileSync(path, Buffer.alloc(65_536));
    await using file = await backend.openFile(path);
    await using cached = await backend.openCachedFile(path);
    const buffer = Buffer.alloc(10);
    const ranges = Array.from({ length: 500 }, () => ({ position: 0, length: 10 }));
    const ways: Record<string, () => Promise<unknown>> = {
      read: () => file.read(buffer, 0, 10, 0),
      readMany: () => file.readMany(ranges),
      cached: () => cached.read(buffer, 0, 10, 0),
      prewarm: () => cached.prewarm(),
    };
    for (const [name, way] of Object.entries(ways)) {
      let turned = false;
      setImmediate(() => setImmediate(() => (turned = true)));
      for (let calls = 0; !turned; calls++) {
        assert.ok(calls < 1_000_000, `${name} keeps the loop to itself`);
        await way();
      }
    }
    let turned = false;
    setImmediate(() => setImmediate(() => (turned = true)));
    const many = await file.readMany(Array.from({ length: 40_000 }, () => ({ position: 0, length: 10 })));
    assert.ok(turned, 'one call that takes long does so in parts');
    assert.equal(many.length, 40_000);
  });

  if (ioMethod !== 'sync')
    it('an abort rejects at once; the memory is not anybody’s until the kernel is done, and close waits', async () => {
      const path = fresh();
      writeFileSync(path, TEXT);
      const file = await backend.openFile(path);
      const before = leaksOf(rig.instance.handle, 1).length;
      for (const many of [false, true]) {
        const hold = holdIo(injection, backend, 'workerBeforeReopen');
        const controller = new AbortController();
        const { signal } = controller;
        const buffer = Buffer.alloc(10, '.');
        const reading = many
          ? file.readMany([{ position: 0, length: 10 }], { signal })
          : file.read(buffer, { length: 10, position: 0, signal });
        reading.catch(() => undefined);
        await hold.arrived();
        controller.abort(new Error('no more'));
        await assert.rejects(reading, { name: 'AbortError', code: 'ABORT_ERR' });
        assert.ok(backend.inFlight().some(({ state }) => state === 'SUBMITTED'));
        let isClosed = false;
        const closing = many ? file.close().then(() => (isClosed = true)) : null;
        await new Promise(setImmediate);
        assert.ok(!isClosed);
        hold.release();
        await closing;
        await untilTrue(() => backend.inFlight().every(({ state }) => state !== 'SUBMITTED'));
        assert.equal(buffer.toString(), '..........');
      }
      await untilTrue(() => {
        backend.aio.reclaimCompleted();
        return leaksOf(rig.instance.handle, 1).length <= before;
      });
      await assert.rejects(
        backend
          .openFile(path)
          .then((again) => again.read({ signal: AbortSignal.abort() }).finally(() => again.close())),
        { code: 'ABORT_ERR' },
      );
    });

  if (ioMethod !== 'sync')
    it('an I/O buffer that was released while many are read into it is given back when they are over', async () => {
      const path = fresh();
      writeFileSync(path, TEXT);
      await using file = await backend.openFile(path);
      const { ioMemory } = backend.files;
      const before = ioMemory.unitsInUse;
      const buffer = backend.allocateIoBuffer(8192);
      const hold = holdIo(injection, backend, 'workerBeforeReopen');
      const reading = file.readMany([{ position: 0, length: 26 }], { buffer: buffer.bytes });
      await hold.arrived();
      buffer.release();
      assert.equal(ioMemory.unitsInUse, before + 1);
      hold.release();
      assert.equal(String((await reading)[0]), TEXT);
      assert.equal(ioMemory.unitsInUse, before);
      await assert.rejects(file.readMany([], { buffer: buffer.bytes }), { code: 'ERR_PGAIO_SETTING' });
    });

  if (ioMethod === 'worker')
    it('an abort drops what no worker has begun, and its memory is free while the worker is busy', async () => {
      const one = { ioMethod, ioMinWorkers: 1, ioMaxWorkers: 1, injection: injection.url };
      await withRig(one, async ({ backend: own, instance }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        await using file = await own.openFile(path, 'r+');
        const hold = injection.hold('workerBeforeReopen', { owner: own.number, times: 1 });
        const begun = file.read(Buffer.alloc(10), 0, 10, 0);
        await hold.arrived();
        const { ioMemory } = own.files;
        const before = ioMemory.unitsInUse;
        const controller = new AbortController();
        const { signal } = controller;
        const ranges = Array.from({ length: 500 }, () => ({ position: 0, length: 26 }));
        const dropped: Promise<unknown>[] = [
          file.write(Buffer.from('???'), { position: 0, signal }),
          file.read(Buffer.alloc(5), { position: 0, signal }),
          file.readMany(ranges, { signal }),
        ];
        const submitted = (): number => own.inFlight().filter(({ state }) => state === 'SUBMITTED').length;
        await untilTrue(() => submitted() > 10);
        controller.abort();
        for (const promise of dropped) await assert.rejects(promise, { name: 'AbortError' });
        await untilTrue(() => ioMemory.unitsInUse === before);
        assert.equal(submitted(), 1);
        hold.release();
        assert.equal((await begun).bytesRead, 10);
        assert.equal(readFileSync(path, 'utf8'), TEXT, 'nothing was written');
        const { reads, failures } = instance.stats().io.find(({ object }) => object === 'file') ?? {};
        assert.deepEqual([reads, failures], [1, 0], 'it counts as no I/O');
      });
    });

  it('aborts at any time: each read is read or aborted, what is written stays, and nothing is left over', async (t) => {
    const seed = Number(process.env['PGAIO_STRESS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
    t.diagnostic(`seed ${seed}`);
    const random = seededRandom(seed);
    const path = fresh();
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, at) => (at * 11) % 251));
    writeFileSync(path, content);
    await withRig({ ioMethod, ioMaxConcurrency: 16, ioMemory: '256kB' }, async ({ backend: own }) => {
      if (random.below(2) === 0) alwaysPunt(own);
      await using file = await own.openFile(path);
      const written = Buffer.alloc(4500 * 100);
      const writtenPath = fresh();
      await using other = await own.openFile(writtenPath, 'w');
      await other.write(written);
      let aborted = 0;
      let writes = 0;
      for (let round = 0; round < 150; round++) {
        const controllers = [new AbortController(), new AbortController(), new AbortController()];
        const reads = Array.from({ length: 30 }, async () => {
          const { signal } = random.pick(controllers);
          const position = random.below(content.length);
          const length = random.pick([1, 100, 8192, 20_000]);
          const wanted = content.subarray(position, position + length);
          const way = random.below(5);
          if (way === 0) {
            const at = writes++ * 100;
            const bytes = Buffer.alloc(100, `${at} `);
            await other.write(bytes, { position: at, signal });
            written.set(bytes, at);
          } else if (way === 1) {
            const ranges = Array.from({ length: 20 }, () => ({ position, length }));
            for (const part of await file.readMany(ranges, { signal })) assert.ok(part.equals(wanted));
          } else {
            const { buffer, bytesRead } = await file.read(Buffer.alloc(length), { position, signal });
            assert.ok(buffer.subarray(0, bytesRead).equals(wanted));
          }
        });
        const settled = Promise.allSettled(reads);
        for (const controller of controllers) {
          for (let turns = random.below(4); turns > 0; turns--) await new Promise(setImmediate);
          if (random.below(3) > 0) controller.abort();
        }
        for (const { reason } of (await settled) as { reason?: Error }[]) {
          if (reason === undefined) continue;
          assert.equal(reason.name, 'AbortError', reason.stack);
          aborted++;
        }
      }
      t.diagnostic(`${aborted} of 4500 aborted`);
      await file.close(); // waits for what the kernel had
      await other.close();
      const found = readFileSync(writtenPath);
      for (let at = 0; at < found.length; at += 100)
        if (written[at] !== 0) assert.deepEqual(found.subarray(at, at + 100), written.subarray(at, at + 100));
      assert.equal(own.files.ioMemory.unitsInUse, 0);
      assert.deepEqual(own.inFlight(), []);
    });
  });

  it('who forgets a file is told where it was opened', async () => {
    await withRig({ ioMethod }, async (own) => {
      const path = fresh();
      writeFileSync(path, TEXT);
      await own.backend.openFile(path);
      await own.backend.close();
      assert.match(
        own.warnings.join(),
        /is still open when its backend closes; it was opened at .*file-handle\.test/,
      );
    });
  });
});

for (const ioMethod of supportedMethods())
  it(`${ioMethod}: a file that nobody refers to but what it is doing is not closed; signals are forgotten`, () => {
    const index = new URL('../../src/index.js', import.meta.url).href;
    const program = `
      import { createInstance } from '${index}';
      const log = ({ message }) => console.log(message);
      const instance = await createInstance({ ioMethod: '${ioMethod}', log, ioMemory: '64kB' });
      const { backend } = instance;
      const path = process.execPath;
      const ranges = Array.from({ length: 3000 }, (_, at) => ({ position: at * 4096, length: 4096 }));
      const big = () => Buffer.alloc(2 ** 23);
      const doings = [
        (file) => file.readMany(ranges).then(({ length }) => length),
        (file) => file.read(big(), 0, undefined, 0).then(({ bytesRead }) => bytesRead),
        (file) => file.read(big()).then(({ bytesRead }) => bytesRead),
        (file) => file.readv([big(), big()]).then(({ bytesRead }) => bytesRead),
        (file) =>
          new Response(file.readableWebStream({ end: 2 ** 22 })).arrayBuffer().then(({ byteLength }) => byteLength),
      ];
      for (const doing of doings) {
        let over = false;
        const collect = () => { globalThis.gc(); if (!over) setImmediate(collect); };
        const done = backend.openFile(path).then(doing);
        collect();
        console.log(await done > 0 ? 'done' : 'nothing');
        over = true;
      }
      const lasting = new AbortController();
      const signals = [];
      const file = await backend.openFile(path);
      for (let times = 0; times < 50; times++) {
        const signal = AbortSignal.any([lasting.signal]);
        signals.push(new WeakRef(signal));
        await file.read(Buffer.alloc(10), { position: 0, signal });
      }
      const kept = () => signals.filter((each) => each.deref() !== undefined).length;
      for (let turns = 0; turns < 50 && kept() > 1; turns++) {
        await new Promise(setImmediate);
        globalThis.gc();
      }
      console.log(kept() > 1 ? 'signals are kept' : 'signals are gone');
      await file.close();
      process.exit();`;
    const args = ['--expose-gc', '--input-type=module', '--eval', program];
    const { stdout, status, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      timeout: 50_000,
    });
    assert.equal(status, 0, stderr);
    const lines = stdout
      .trim()
      .split('\n')
      .filter((line) => !line.includes('was never closed'));
    assert.deepEqual(lines, [...Array<string>(5).fill('done'), 'signals are gone']);
  });

it('a file that nothing refers to any more is closed, with a warning that says where it was opened', () => {
  // In a process of its own: only there is it certain that nobody else refers to it.
  const index = new URL('../../src/index.js', import.meta.url).href;
  const program = `
    import { createInstance } from '${index}';
    const instance = await createInstance({ ioMethod: 'sync', log: ({ message }) => {
      console.log(message);
      if (message.includes('was never closed')) over();
    } });
    let over;
    const closed = new Promise((resolve) => (over = resolve));
    for (let times = 0; times < 10; times++) await (await instance.backend.openFile(process.execPath)).stat();
    const collecting = setInterval(() => globalThis.gc(), 10);
    await closed;
    clearInterval(collecting);
    await instance.close();`;
  const args = ['--expose-gc', '--input-type=module', '--eval', program];
  const { stdout, status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000 });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /was never closed; it is now that nothing refers to it any more; it was opened at /);
});
