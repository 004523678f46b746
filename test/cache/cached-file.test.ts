/** Plain files through the shared pool: what is read, by whom, how often, and what stays. */
import assert from 'node:assert/strict';
import {
  existsSync,
  linkSync,
  mkdtempSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { attachInstance, type Backend, type CachedFile } from '../../src/index.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { forEachMethod, openRig, type Rig } from '../../testing/instances.js';
import { seededRandom } from '../../testing/random.js';
import { untilTrue } from '../../testing/turns.js';

const { EIO } = constants.errno;
const BLOCK = 8192;
/** Buffers of the pool. */
const POOL = 128;

function noise(bytes: number, seed = 1): Buffer {
  const random = seededRandom(seed);
  return Buffer.from(Array.from({ length: bytes }, () => random.below(256)));
}

/** Where files may have any length; on most disks they may not. */
const MEMORY = '/dev/shm';

function hugeFilesMissing(): string | false {
  return existsSync(MEMORY) ? false : `no ${MEMORY}`;
}

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let other: Backend;
  let home: string;
  let count = 0;
  before(async () => {
    home = mkdtempSync(join(tmpdir(), 'pgaio-cache-'));
    rig = await openRig({ ioMethod, injection: injection.url, sharedBuffers: POOL * BLOCK });
    ({ backend } = rig);
    other = await attachInstance(rig.instance.handle);
  });
  after(async () => {
    await other.close();
    await rig.close();
    rmSync(home, { recursive: true });
  });
  const fresh = (content: Uint8Array): string => {
    const path = join(home, `file${count++}`);
    writeFileSync(path, content);
    return path;
  };
  const physicalReads = (): number => backend.counters().reads;
  const readAll = async (file: CachedFile): Promise<Buffer> => {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(file.size + 10, '.'), 0, undefined, 0);
    assert.equal(bytesRead, file.size);
    return buffer.subarray(0, bytesRead);
  };

  it('reads whatever bytes a file has, wherever it ends', async () => {
    for (const size of [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77]) {
      const content = noise(size);
      await using file = await backend.openCachedFile(fresh(content));
      assert.deepEqual([file.size, file.blocks], [size, Math.ceil(size / BLOCK)]);
      assert.ok((await readAll(file)).equals(content));
      const random = seededRandom(size);
      for (let times = 0; times < 30; times++) {
        const position = random.below(size + 100);
        const length = random.pick([1, 100, BLOCK, 3 * BLOCK]);
        const { bytesRead, buffer } = await file.read(Buffer.alloc(length), { position });
        const expected = content.subarray(position, position + length);
        assert.equal(bytesRead, expected.length);
        assert.ok(buffer.subarray(0, bytesRead).equals(expected));
      }
    }
  });

  it('goes on where the read before ended', async () => {
    await using file = await backend.openCachedFile(fresh(Buffer.from('abcdefgh')));
    const texts = [];
    for (let times = 0; times < 4; times++) {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(3));
      texts.push(buffer.toString('utf8', 0, bytesRead));
    }
    assert.deepEqual(texts, ['abc', 'def', 'gh', '']);
  });

  it('has each block once, whoever reads it, under whatever path', async () => {
    const content = noise(20 * BLOCK + 5);
    const path = fresh(content);
    linkSync(path, `${path}-link`);
    await using file = await backend.openCachedFile(path);
    await readAll(file);
    await using same = await other.openCachedFile(`${path}-link`);
    const before = physicalReads();
    assert.ok((await readAll(same)).equals(content));
    assert.equal(physicalReads(), before);
    assert.deepEqual(same.residency(), { blocks: 21, resident: 21, pinned: 0 });
  });

  it('takes a file that was changed or replaced for another one', async () => {
    const path = fresh(noise(3 * BLOCK, 1));
    await using file = await backend.openCachedFile(path);
    const old = await readAll(file);
    writeFileSync(`${path}-new`, noise(3 * BLOCK, 2));
    renameSync(`${path}-new`, path);
    await using replaced = await backend.openCachedFile(path);
    assert.ok((await readAll(replaced)).equals(noise(3 * BLOCK, 2)));
    assert.ok((await readAll(file)).equals(old));
    assert.ok(file.isUnchanged());
    assert.notEqual(file.identity, replaced.identity);
    // In place, with the times that it had.
    assert.ok(replaced.isUnchanged());
    writeFileSync(path, noise(3 * BLOCK, 3));
    utimesSync(path, new Date(0), new Date(0));
    assert.ok(!replaced.isUnchanged());
    await using changed = await backend.openCachedFile(path);
    assert.ok((await readAll(changed)).equals(noise(3 * BLOCK, 3)));
  });

  it('is read in beforehand, and put out, wholly or in part', async () => {
    const content = noise(40 * BLOCK - 9);
    await using file = await backend.openCachedFile(fresh(content));
    assert.equal(await file.prewarm({ start: 2 * BLOCK, end: 4 * BLOCK }), 3);
    assert.equal(file.residency().resident, 3);
    assert.equal(await file.prewarm(), 40);
    const before = physicalReads();
    assert.ok((await readAll(file)).equals(content));
    assert.equal(physicalReads(), before);
    assert.equal(await file.evict({ start: 0, end: 10 * BLOCK - 1 }), 10);
    assert.equal(file.residency().resident, 30);
    assert.equal(await file.evict(), 30);
    assert.equal(file.residency().resident, 0);
    assert.ok((await readAll(file)).equals(content));
    await assert.rejects(file.prewarm({ start: -2 }), RangeError);
    await assert.rejects(file.evict({ end: 1.5 }), RangeError);
    assert.equal(await file.prewarm({ start: 41 * BLOCK }), 0);
  });

  it('is read in beyond what the pool has room for', async () => {
    await using file = await backend.openCachedFile(fresh(noise(2 * POOL * BLOCK)));
    assert.equal(await file.prewarm(), 2 * POOL);
    const { resident } = file.residency();
    assert.ok(resident > POOL / 2 && resident <= POOL, `${resident}`);
  });

  it('is kept, whatever others read, until it is released', async () => {
    const content = noise(30 * BLOCK);
    await using file = await backend.openCachedFile(fresh(content));
    const kept = await file.keep({ end: 20 * BLOCK - 1 });
    assert.equal(kept.blocks, 20);
    await using large = await other.openCachedFile(fresh(noise(3 * POOL * BLOCK)));
    await large.prewarm();
    assert.ok(file.residency().resident >= 20);
    assert.equal(file.residency().pinned, 20);
    await assert.rejects(file.evict(), { name: 'BuffersPinnedError' });
    assert.ok(file.residency().resident >= 20, 'none was put out');
    kept.release();
    kept.release();
    assert.equal(file.residency().pinned, 0);
    await file.evict();
    await assert.rejects(large.keep(), { name: 'ResourceExhaustedError', message: /half of the pool is 64/ });
  });

  it('streams, and stays open unless it is told otherwise', async () => {
    const content = noise(60 * BLOCK + 3);
    const file = await backend.openCachedFile(fresh(content));
    const chunks: Buffer[] = [];
    for await (const chunk of file.createReadStream({ start: 100, end: 50 * BLOCK }))
      chunks.push(chunk as Buffer);
    assert.ok(Buffer.concat(chunks).equals(content.subarray(100, 50 * BLOCK + 1)));
    for await (const _ of file.createReadStream()) break;
    assert.equal(file.isUnchanged(), true);
    for await (const _ of file.createReadStream({ autoClose: true }));
    assert.throws(() => file.isUnchanged(), { name: 'ClosedError' });
  });

  it('says what could not be read, and leaves nothing pinned', async () => {
    const path = fresh(noise(20 * BLOCK));
    await using file = await backend.openCachedFile(path);
    injection.answer(-EIO, { times: 1 });
    await assert.rejects(readAll(file), { name: 'ReadFailedError', path, errno: EIO });
    injection.disarm('beforeSharedCompletion');
    assert.equal(file.residency().pinned, 0);
    injection.answer(3 * BLOCK + 5, { times: 2 }); // and goes on where a read stops early
    assert.ok((await readAll(file)).equals(noise(20 * BLOCK)));
    await file.evict();
    truncateSync(path, 12 * BLOCK + 100);
    await assert.rejects(readAll(file), { name: 'ShortReadError', path });
    assert.equal(file.residency().pinned, 0);
    assert.ok(!file.isUnchanged());
  });

  if (ioMethod !== 'sync')
    it('an abort rejects at once, whatever I/O is in flight; nothing stays pinned', async () => {
      const file = await backend.openCachedFile(fresh(noise(50 * BLOCK)));
      const hold = holdIo(injection, backend, 'workerBeforeReopen');
      const controller = new AbortController();
      const reading = file.read(Buffer.alloc(50 * BLOCK), { position: 0, signal: controller.signal });
      reading.catch(() => undefined);
      await hold.arrived();
      controller.abort();
      await assert.rejects(reading, { name: 'AbortError' });
      hold.release();
      await file.close();
      await untilTrue(() => {
        backend.aio.reclaimCompleted(); // nobody waits for it any more
        return backend.inFlight().length === 0;
      });
      await using again = await backend.openCachedFile(file.path);
      assert.equal(again.residency().pinned, 0);
    });

  it('a file with more blocks than there are numbers is refused', { skip: hugeFilesMissing() }, async () => {
    const directory = mkdtempSync(join(MEMORY, 'pgaio-cache-'));
    const path = join(directory, 'huge');
    try {
      writeFileSync(path, '');
      truncateSync(path, 2 ** 45);
      await assert.rejects(backend.openCachedFile(path), { code: 'EFBIG', syscall: 'open', path });
      truncateSync(path, 2 ** 45 - 2 * BLOCK);
      await using file = await backend.openCachedFile(path);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(100, 'x'), 0, 100, 2 ** 45 - 3 * BLOCK);
      assert.deepEqual([bytesRead, buffer], [100, Buffer.alloc(100)]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('may be aborted, and closed while it is read', async () => {
    const file = await backend.openCachedFile(fresh(noise(50 * BLOCK)));
    const buffer = Buffer.alloc(50 * BLOCK);
    await assert.rejects(file.read(buffer, { position: 0, signal: AbortSignal.abort() }), {
      name: 'AbortError',
    });
    await assert.rejects(file.prewarm({ signal: AbortSignal.abort() }), { name: 'AbortError' });
    const reading = file.read(buffer, { position: 0 });
    const closing = file.close();
    assert.equal((await reading).bytesRead, 50 * BLOCK);
    await closing;
    await file.close();
    await assert.rejects(file.read(buffer), { name: 'ClosedError' });
    await assert.rejects(file.evict(), { name: 'ClosedError' });
    await assert.rejects(backend.openCachedFile(join(home, 'none')), { code: 'ENOENT', syscall: 'open' });
    await assert.rejects(backend.openCachedFile(home), { code: 'ERR_PGAIO_NOT_A_FILE' });
  });
});
