/** What is under way with a file: whose memory it is, what comes after what, and what `close` waits for. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ResourceExhaustedError, type IoBuffer } from '../../src/index.js';
import { directIoMissing } from '../../testing/direct-io.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { forEachMethod, openRig, withRig } from '../../testing/instances.js';
import { untilTrue } from '../../testing/turns.js';

const TEXT = 'abcdefghijklmnopqrstuvwxyz';

let home: string;
let count = 0;
before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-files-'))));
after(() => rmSync(home, { recursive: true }));
const fresh = (): string => join(home, `file${count++}`);

/** Whether it is over by the time that the event loop has turned. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const settle = (): void => void (settled = true);
  promise.then(settle, settle);
  for (let turns = 0; turns < 3; turns++) await new Promise(setImmediate);
  return settled;
}

forEachMethod((ioMethod) => {
  const injection = new Injection();
  const options = { ioMethod, injection: injection.url };
  const mayBeHeld = ioMethod !== 'sync';

  describe('close', () => {
    it('waits for what was asked for before it', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        const file = await backend.openFile(path, 'w+');
        const pieces = Buffer.alloc(3_000_000, 'pieces ');
        const writes = [file.write('one '), file.write('two '), file.write(pieces), file.write('end')];
        await file.close();
        assert.equal(readFileSync(path, 'utf8'), `one two ${pieces.toString()}end`);
        await Promise.all(writes);
        await assert.rejects(file.write('late'), { code: 'EBADF' });
        await assert.rejects(file.writev([Buffer.from('late')]), { code: 'EBADF' });
      });
    });

    it('of the backend lets nothing read into memory any more', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        const file = await backend.openFile(path);
        const { ioMemory } = backend.files;
        await backend.close();
        for (const late of [
          () => file.read(Buffer.alloc(5), 0, 5, 0),
          () => file.read(Buffer.alloc(5)),
          () => file.readMany([{ position: 0, length: 5 }]),
        ])
          await assert.rejects(late(), { code: 'ERR_PGAIO_CLOSED' });
        await file.close();
        assert.equal(ioMemory.unitsInUse, 0);
      });
    });
  });

  describe('an I/O buffer', () => {
    it('that is released is given back when what was asked for before is over, also what waits for its turn', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        await using file = await backend.openFile(path);
        const { ioMemory } = backend.files;
        const buffer = backend.allocateIoBuffer(8192);
        const { bytes } = buffer;
        const reads = [0, 5, 10].map((offset) => file.read(bytes, offset, 5));
        buffer.release();
        assert.equal(ioMemory.unitsInUse, 1);
        await Promise.all(reads);
        assert.equal(Buffer.from(bytes.subarray(0, 15)).toString(), TEXT.slice(0, 15));
        assert.equal(ioMemory.unitsInUse, 0);
        // What is refused is not waited for.
        await assert.rejects(file.read(bytes, 0, 5), { code: 'ERR_PGAIO_SETTING' });
        await assert.rejects(file.read(bytes, 0, 5, 0), { code: 'ERR_PGAIO_SETTING' });
        await assert.rejects(file.writev([bytes]), { code: 'ERR_PGAIO_SETTING' });
      });
    });

    it('leaves room for whole pieces, however many there are and wherever they lie', async () => {
      await withRig({ ...options, ioMemory: '256kB' }, async ({ backend }) => {
        const path = fresh();
        const content = Buffer.alloc(300_000, 'room ');
        writeFileSync(path, content);
        await using file = await backend.openFile(path);
        const buffers: IoBuffer[] = [];
        try {
          for (;;) buffers.push(backend.allocateIoBuffer(8192));
        } catch (error) {
          assert.ok(error instanceof ResourceExhaustedError);
          assert.match(error.message, /262144 in all, of which I\/O buffers may take 188416/);
        }
        assert.equal(buffers.length, 188_416 / 8192);
        buffers.forEach((buffer, at) => at % 2 === 0 && buffer.release());
        const { buffer } = await file.read(Buffer.alloc(300_000), 0, 300_000, 0);
        assert.ok(buffer.equals(content));
        const [many] = await file.readMany([{ position: 0, length: 300_000 }]);
        assert.ok(many?.equals(content));
      });
    });

    it('has an end', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        await using file = await backend.openFile(path);
        using buffer = backend.allocateIoBuffer(8192);
        const { bytes } = buffer;
        const behind = Buffer.from(bytes.buffer, bytes.byteOffset + 8000, 8192);
        await assert.rejects(file.read(behind, 0, 1000, 0), { code: 'ERR_PGAIO_SETTING' });
        assert.equal((await file.read(bytes.subarray(8192), 0, 0, 0)).bytesRead, 0);
      });
    });
  });

  describe('readMany', () => {
    it('that cannot go on waits for what it has begun', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        const file = await backend.openFile(path);
        const { vfds, ioMemory } = backend.files;
        const hold = mayBeHeld ? holdIo(injection, backend, 'workerBeforeReopen', 2) : null;
        const useOrThrow = vfds.useOrThrow.bind(vfds);
        let uses = 0;
        vfds.useOrThrow = (vfd) => {
          return ++uses === 3
            ? assert.fail('its descriptor was closed, and its path leads nowhere')
            : useOrThrow(vfd);
        };
        const ranges = Array.from({ length: 10 }, (_, position) => ({ position, length: 1 }));
        const reading = file.readMany(ranges);
        if (hold !== null) {
          reading.catch(() => undefined);
          await hold.arrived();
          assert.ok(!(await isSettled(reading)));
          assert.ok(ioMemory.unitsInUse > 0);
          hold.release();
        }
        await assert.rejects(reading, /leads nowhere/);
        assert.equal(ioMemory.unitsInUse, 0);
        assert.deepEqual(backend.inFlight(), []);
        await file.close();
      });
    });

    it('goes on with reads that stop early where others have the handles', async () => {
      await withRig({ ...options, ioMaxConcurrency: 4, ioMemory: '64kB' }, async ({ backend }) => {
        const path = fresh();
        const content = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));
        writeFileSync(path, content);
        await using file = await backend.openFile(path);
        injection.answer(1000, { times: 60 });
        const ranges = Array.from({ length: 40 }, (_, at) => ({ position: at * 4000, length: 4000 }));
        const many = [1, 2, 3].map(() => file.readMany(ranges));
        const others = ranges.map(({ position }) => file.read(Buffer.alloc(3000), 0, 3000, position));
        for (const parts of await Promise.all(many))
          assert.ok(Buffer.concat(parts).equals(content.subarray(0, 160_000)));
        for (const [at, { buffer }] of (await Promise.all(others)).entries())
          assert.ok(buffer.equals(content.subarray(at * 4000, at * 4000 + 3000)));
        injection.disarm('beforeSharedCompletion');
        assert.equal(backend.files.ioMemory.unitsInUse, 0);
      });
    });

    it('reads the ranges that it was given', async () => {
      await withRig(options, async ({ backend }) => {
        const path = fresh();
        writeFileSync(path, TEXT);
        await using file = await backend.openFile(path);
        const ranges = Array.from({ length: 300 }, (_, at) => ({ position: at % 20, length: 3 }));
        const reading = file.readMany(ranges);
        for (const range of ranges) Object.assign(range, { position: 25, length: 1000 });
        ranges.length = 1;
        for (const [at, part] of (await reading).entries())
          assert.equal(part.toString(), TEXT.slice(at % 20, (at % 20) + 3));
      });
    });
  });

  if (mayBeHeld)
    describe('what has no position', () => {
      it('waits for I/O that an abort has forgotten, and comes after it', async () => {
        await withRig(options, async ({ backend }) => {
          const path = fresh();
          const file = await backend.openFile(path, 'w+');
          const hold = holdIo(injection, backend, 'workerBeforeReopen');
          const controller = new AbortController();
          const aborted = file.write(Buffer.from('aborted'), { position: null, signal: controller.signal });
          aborted.catch(() => undefined);
          await hold.arrived();
          await untilTrue(() => backend.inFlight().some(({ state }) => state === 'SUBMITTED'));
          controller.abort();
          await assert.rejects(aborted, { name: 'AbortError' });
          const next = file.write(Buffer.from('written'));
          assert.ok(!(await isSettled(next)));
          hold.release();
          assert.equal((await next).bytesWritten, 7);
          assert.equal(readFileSync(path, 'utf8'), 'written');
          await file.close();
        });
      });

      it('is aborted at once while it waits for its turn', async () => {
        await withRig(options, async ({ backend }) => {
          const path = fresh();
          writeFileSync(path, TEXT);
          await using file = await backend.openFile(path);
          const hold = holdIo(injection, backend, 'workerBeforeReopen');
          const controller = new AbortController();
          const first = file.read(Buffer.alloc(5), 0, 5);
          const second = file.read(Buffer.alloc(5), { signal: controller.signal });
          const third = file.read(Buffer.alloc(5), 0, 5);
          await hold.arrived();
          controller.abort();
          await assert.rejects(second, { name: 'AbortError' });
          hold.release();
          assert.equal((await first).buffer.toString(), 'abcde');
          assert.equal((await third).buffer.toString(), 'fghij');
        });
      });
    });

  it('a write past the page cache is aligned, or refused', { skip: directIoMissing() }, async () => {
    await withRig(options, async ({ backend }) => {
      const path = fresh();
      writeFileSync(path, Buffer.alloc(16_384, 'x'));
      await using file = await backend.openFile(path, { flags: 'r+', direct: true });
      const refused = { code: 'EINVAL', syscall: 'write', path, hint: /multiples of/ };
      await assert.rejects(file.write(Buffer.alloc(100), 0, 100, 4096), refused);
      await assert.rejects(file.write(Buffer.alloc(4096), 0, 4096, 5), refused);
      await assert.rejects(file.write(Buffer.alloc(300_001), 0, 300_001, 0), refused);
      assert.deepEqual(readFileSync(path), Buffer.alloc(16_384, 'x'));
      await file.write(Buffer.alloc(4096, 'y'), 0, 4096, 4096);
      assert.equal(readFileSync(path, 'latin1'), 'x'.repeat(4096) + 'y'.repeat(4096) + 'x'.repeat(8192));
    });
  });

  it('whose descriptor was closed behind the scenes, and whose path leads elsewhere by now, is not read', async () => {
    await withRig(options, async ({ backend }) => {
      const path = fresh();
      writeFileSync(path, TEXT);
      await using file = await backend.openFile(path);
      const range = { position: 0, length: 5 };
      for (const replace of [
        () => renameSync(path, `${path}.old`),
        () => writeFileSync(path, 'another one'),
      ]) {
        backend.files.vfds.closeDescriptors();
        replace();
        const failure = { name: 'FileError', code: 'ENOENT', path };
        await assert.rejects(file.read(Buffer.alloc(5), 0, 5, 0), { ...failure, syscall: 'open' });
        await assert.rejects(file.readMany([range, range]), { ...failure, syscall: 'open' });
        await assert.rejects(file.stat(), { ...failure, syscall: 'fstat' });
        await assert.rejects(file.sync(), { ...failure, syscall: 'open' });
      }
      assert.equal(backend.files.ioMemory.unitsInUse, 0);
    });
  });

  it('whose path leads to a pipe by now: nobody waits for its other end', async () => {
    await withRig(options, async ({ backend }) => {
      const path = fresh();
      writeFileSync(path, TEXT);
      await using file = await backend.openFile(path);
      backend.files.vfds.closeDescriptors();
      rmSync(path);
      execFileSync('mkfifo', [path]);
      await assert.rejects(file.read(Buffer.alloc(5), 0, 5, 0), { code: 'ENOENT' });
    });
  });

  it('when a submission fails, each of its reads is told', async () => {
    const rig = await openRig(options);
    const { backend } = rig;
    const path = fresh();
    writeFileSync(path, TEXT);
    const file = await backend.openFile(path);
    backend.aio.ops.submit = () => {
      throw new Error('no submission');
    };
    const reads = Array.from({ length: 5 }, () => file.read(Buffer.alloc(5), 0, 5, 0));
    const settled = await Promise.allSettled(reads);
    if (mayBeHeld)
      for (const { reason } of settled as { reason?: Error }[]) assert.match(String(reason), /no submission/);
    await file.close().catch(() => undefined); // it may say that the instance has crashed
    await rig.close().catch(() => undefined);
  });

  it('with the least memory there can be, past the page cache', { skip: directIoMissing() }, async () => {
    await withRig({ ...options, ioMemory: '16kB' }, async ({ backend }) => {
      const path = fresh();
      const content = Buffer.from(Array.from({ length: 50_001 }, (_, at) => at % 251));
      writeFileSync(path, content);
      await using file = await backend.openFile(path, { direct: true });
      const { buffer, bytesRead } = await file.read(Buffer.alloc(45_000), 0, 45_000, 4097);
      assert.deepEqual([bytesRead, buffer], [45_000, content.subarray(4097, 49_097)]);
      const [many] = await file.readMany([{ position: 1, length: 50_100 }]);
      assert.deepEqual(many, content.subarray(1));
      assert.throws(() => backend.allocateIoBuffer(1), { code: 'ERR_PGAIO_EXHAUSTED' });
    });
  });

  it('a pipe is no file, and nobody waits for its other end', async () => {
    await withRig(options, async ({ backend }) => {
      const path = fresh();
      execFileSync('mkfifo', [path]);
      for (const open of [() => backend.openFile(path), () => backend.openCachedFile(path)])
        await assert.rejects(open(), { code: 'ERR_PGAIO_NOT_A_FILE' });
    });
  });
});
