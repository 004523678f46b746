/** Changes of pages that are logged: what recovery makes of them, and that no page is in its file before its record. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import type { WalSettings } from '../../src/base/settings.js';
import type { PinnedBuffer } from '../../src/buffer/pinned-buffer.js';
import type { Backend } from '../../src/instance/backend.js';
import { attachInstance, createInstance, type Instance } from '../../src/instance/instance.js';
import { PageChangeError } from '../../src/instance/logged-change.js';
import { initPage, setPageLower } from '../../src/page/init-page.js';
import { isFine, pageVerdict } from '../../src/page/page-verdict.js';
import { RecoveryError } from '../../src/recovery/recovery-error.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { genericRecord, pageDelta } from '../../src/wal/generic-record.js';
import { forEachMethod } from '../../testing/instances.js';
import { seededRandom } from '../../testing/random.js';
import { DataDirectory } from '../../testing/relations.js';

const MB = 1 << 20;
const BLOCK = 8192;
const RELATION = 16384;

forEachMethod((ioMethod) => {
  let home: string;
  let count = 0;
  before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-wal-pages-'))));
  after(() => rmSync(home, { recursive: true }));

  const fresh = (): string => join(home, `data${count++}`);

  const open = (dataDirectory: string, wal: Partial<WalSettings> = {}): Promise<Instance> =>
    createInstance({
      ioMethod,
      sharedBuffers: '1MB',
      ioMemory: '1MB',
      ioMinWorkers: 1, // a second thread for each of so many instances costs more than all it does
      wal: { dataDirectory, checkpointer: false, ...wal },
      log: () => undefined,
    });

  /** As a crash would leave it now: nothing but what is in the files. */
  function crash(dataDirectory: string): string {
    const copy = fresh();
    cpSync(dataDirectory, copy, { recursive: true });
    rmSync(join(copy, 'postmaster.pid'));
    return copy;
  }

  const file = (dataDirectory: string, relation = RELATION): string =>
    join(dataDirectory, 'base', '1', String(relation));
  const opened = (backend: Backend, dataDirectory: string): SmgrRelation =>
    backend.openRelation(dataDirectory, { database: 1, relation: RELATION });

  /** An instance with a relation of empty pages, which are in their file. */
  async function create(
    blocks: number,
  ): Promise<{ data: string; instance: Instance; backend: Backend; relation: SmgrRelation }> {
    const data = fresh();
    const instance = await open(data, { segmentSize: MB });
    const { backend } = instance;
    const relation = opened(backend, data);
    relation.create(0);
    for (const buffer of await backend.writes.extendRelation(relation, blocks)) {
      await backend.wal.change(buffer, empty);
      buffer.release();
    }
    return { data, instance, backend, relation };
  }

  function empty(page: Uint8Array): void {
    initPage(page);
    setPageLower(page, 200);
  }

  const put =
    (value: number, at = 100) =>
    (page: Uint8Array): void => {
      page[at] = value;
    };

  async function changeBlock(
    backend: Backend,
    relation: SmgrRelation,
    block: number,
    change: (page: Uint8Array) => void,
  ): Promise<number> {
    using buffer = await backend.readBlock(relation, block);
    return await backend.wal.change(buffer, change);
  }

  async function values(instance: Instance, data: string, blocks: number, at = 100): Promise<number[]> {
    const relation = opened(instance.backend, data);
    const found: number[] = [];
    for (let block = 0; block < blocks; block++) {
      using buffer = await instance.backend.readBlock(relation, block);
      found.push(buffer.page[at] ?? -1);
    }
    return found;
  }

  function assertAllFine(dataDirectory: string): void {
    const bytes = readFileSync(file(dataDirectory));
    for (let block = 0; block < bytes.length / BLOCK; block++) {
      const verdict = pageVerdict(bytes.subarray(block * BLOCK, (block + 1) * BLOCK), block);
      assert.ok(isFine(verdict, 0), `block ${block}: ${verdict}`);
    }
  }

  it('what was flushed is there after a crash, and what was only appended is there or not', async () => {
    const { data, instance, backend, relation } = await create(4);
    for (let block = 0; block < 4; block++)
      await backend.wal.flush(await changeBlock(backend, relation, block, put(block + 1)));
    const crashed = crash(data);
    assert.ok(
      readFileSync(file(crashed)).every((byte) => byte === 0),
      'no page was written yet',
    );
    await instance.close();
    assertAllFine(data);
    const next = await open(crashed);
    assert.deepEqual(await values(next, crashed, 4), [1, 2, 3, 4]);
    await next.close();
    assertAllFine(crashed);
    assert.deepEqual(readFileSync(file(crashed)), readFileSync(file(data)), 'byte for byte the same');
  });

  it('a page that is torn, or not there any more, comes back from its image, and the changes behind it', async () => {
    const { data, instance, backend, relation } = await create(3);
    await backend.wal.checkpoint();
    await changeBlock(backend, relation, 1, put(7));
    await changeBlock(backend, relation, 1, put(8, 101));
    await backend.wal.flush(await changeBlock(backend, relation, 2, put(9)));
    const crashed = crash(data);
    await instance.close();
    const fd = openSync(file(crashed), 'r+');
    writeSync(fd, Buffer.alloc(4096, 0xee), 0, 4096, BLOCK + 2048);
    closeSync(fd);
    const next = await open(crashed);
    assert.deepEqual(await values(next, crashed, 3), [0, 7, 9]);
    assert.deepEqual(await values(next, crashed, 3, 101), [0, 8, 0]);
    await next.close();
    assertAllFine(crashed);
    // From the first checkpoint on, the file is not even needed.
    const { data: other, instance: second } = await create(2);
    await second.backend.wal.flush();
    const lost = crash(other);
    await second.close();
    rmSync(file(lost));
    const third = await open(lost);
    assert.deepEqual(await values(third, lost, 2), [0, 0]);
    await third.close();
  });

  it('images are made once behind each checkpoint, and differences are small', async () => {
    const { data, instance, backend, relation } = await create(1);
    const sizes: number[] = [];
    for (let round = 0; round < 6; round++) {
      if (round === 3) await backend.wal.checkpoint();
      const start = backend.wal.insertedUpTo;
      sizes.push((await changeBlock(backend, relation, 0, put(round + 1))) - start);
    }
    // A page of 200 bytes before its free space.
    const small = sizes.map((size) => size < 150);
    assert.deepEqual(small, [true, true, true, false, true, true], sizes.join(' '));
    await instance.close();
    assert.equal(readFileSync(file(data))[100], 6);
  });

  it('no page is written before its record is durable', async () => {
    const { data, instance, backend, relation } = await create(2);
    const lsn = await changeBlock(backend, relation, 0, put(5));
    assert.ok(backend.wal.flushedUpTo < lsn);
    assert.equal(await backend.writes.flushRelation(relation), 2);
    assert.ok(backend.wal.flushedUpTo >= lsn);
    assert.equal(readFileSync(file(data))[100], 5);
    await instance.close();
  });

  it('a page that claims to be from the future is not written, and says so', async () => {
    const { data, instance, backend, relation } = await create(1);
    using buffer = await backend.readBlock(relation, 0);
    const end = backend.wal.insertedUpTo;
    await buffer.change(put(1), { lsn: end + 1_000_000 });
    await assert.rejects(backend.wal.checkpoint(), { code: 'ERR_PGAIO_WAL_POSITION' });
    await buffer.change(put(1), { lsn: end });
    await backend.wal.checkpoint();
    assert.equal(readFileSync(file(data))[100], 1);
    buffer.release();
    await instance.close();
  });

  it('what the change throws changes nothing; unfit pages are refused; without a difference there is no record', async () => {
    const { instance, backend, relation } = await create(2);
    const buffers = [await backend.readBlock(relation, 0), await backend.readBlock(relation, 1)] as const;
    const [one, two] = buffers;
    const { insertedUpTo } = backend.wal;
    const thrown = new Error('no');
    const change = backend.wal.change(buffers, (a) => {
      a[100] = 1;
      throw thrown;
    });
    await assert.rejects(change, thrown);
    await assert.rejects(
      backend.wal.change(one, (page) => page.fill(0)),
      (error: unknown) => error instanceof PageChangeError && error.block === 0,
    );
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- JavaScript has nobody to warn
    const asynchronous = backend.wal.change(one, () => Promise.resolve());
    await assert.rejects(asynchronous, TypeError);
    await assert.rejects(
      backend.wal.change([one, one], () => undefined),
      /block 0 is there twice/,
    );
    await assert.rejects(
      backend.wal.change(one, 5 as never),
      /a function that changes pages is needed, not 5/,
    );
    await assert.rejects(
      backend.wal.change(7 as never, () => undefined),
      /a pinned buffer is needed, not 7/,
    );
    await assert.rejects(
      backend.wal.change([], () => undefined),
      RangeError,
    );
    const last = await backend.wal.change(buffers, () => undefined);
    assert.ok(last > 0 && last <= insertedUpTo);
    assert.equal(backend.wal.insertedUpTo, insertedUpTo);
    assert.equal(one.page[100], 0);
    assert.equal(backend.wal.changeBlocking(two, put(3)), backend.wal.insertedUpTo);
    for (const buffer of buffers) buffer.release();
    await instance.close();
  });

  it('a relation of another data directory is none of this WAL’s business', async () => {
    const { instance, backend } = await create(1);
    using other = new DataDirectory();
    const relation = backend.openRelation(other.path, other.write(1, 2));
    using buffer = await backend.readBlock(relation, 0);
    await assert.rejects(backend.wal.change(buffer, put(1)), PageChangeError);
    // Its LSNs are not ours, so they hold nothing up.
    await buffer.change(put(1), { lsn: 2 ** 40 });
    await backend.wal.checkpoint();
    assert.equal(readFileSync(other.file(1))[100], 1);
    buffer.release();
    await instance.close();
  });

  it('what was cut off or removed does not come back', async () => {
    const { data, instance, backend, relation } = await create(6);
    await backend.wal.checkpoint();
    for (let block = 0; block < 6; block++) await changeBlock(backend, relation, block, put(block + 1));
    await backend.truncateRelation(relation, 2);
    for (const buffer of await backend.writes.extendRelation(relation, 1)) {
      await backend.wal.change(buffer, empty);
      await backend.wal.flush(await backend.wal.change(buffer, put(33)));
      buffer.release();
    }
    const crashed = crash(data);
    const dropped = await backend.dropRelation(relation).then(() => crash(data));
    await instance.close();
    const next = await open(crashed);
    assert.equal(opened(next.backend, crashed).blockCount(0), 3);
    assert.deepEqual(await values(next, crashed, 3), [1, 2, 33]);
    await next.close();
    const last = await open(dropped);
    assert.equal(opened(last.backend, dropped).blockCount(0), 0);
    await last.close();
  });

  it('a change of a block that is not there is an error, unless the block is cut off later', async () => {
    const { data, instance, backend, relation } = await create(3);
    await backend.wal.checkpoint();
    const { wal } = backend.wal.parts;
    const after = new Uint8Array(BLOCK);
    empty(after);
    const place = { tablespace: 1663, database: 1, relation: RELATION, fork: 0, block: 9 };
    const change = { ...place, lsn: 1, after, delta: pageDelta(new Uint8Array(BLOCK), after) };
    await backend.aio.waits.until(wal.inserting(genericRecord([change], 0, Infinity).bytes));
    await backend.wal.flush();
    const missing = crash(data);
    await backend.truncateRelation(relation, 2);
    const cut = crash(data);
    await instance.close();
    await assert.rejects(
      open(missing),
      (error: unknown) => error instanceof RecoveryError && /block 9 of relation 16384/.test(error.message),
    );
    await (await open(cut)).close();
  });

  it('changes of several pages by several backends, with checkpoints between: all of each or nothing', async () => {
    const PAGES = 8;
    const { data, instance, backend, relation } = await create(PAGES);
    const others = await Promise.all([attachInstance(instance.handle), attachInstance(instance.handle)]);
    const draw = seededRandom(11);
    const crashes: string[] = [];
    const add = (page: Uint8Array, amount: number): void => {
      const view = new DataView(page.buffer, page.byteOffset);
      view.setInt32(100, view.getInt32(100, true) + amount, true);
      view.setInt32(104, view.getInt32(104, true) + 1, true);
    };
    const transfer = async (by: Backend): Promise<void> => {
      const mine = opened(by, data);
      for (let round = 0; round < 40; round++) {
        const from = draw.below(PAGES);
        const to = (from + 1 + draw.below(PAGES - 1)) % PAGES;
        const pages: PinnedBuffer[] = [await by.readBlock(mine, from), await by.readBlock(mine, to)];
        const amount = draw.below(1000);
        await by.wal.change(pages, (one, two) => {
          add(one, -amount);
          add(two, amount);
        });
        for (const page of pages) page.release();
      }
    };
    const checkpoints = async (): Promise<void> => {
      for (let round = 0; round < 3; round++) {
        await backend.wal.checkpoint();
        crashes.push(crash(data));
      }
    };
    await Promise.all([...[backend, ...others].map(transfer), checkpoints()]);
    await Promise.all(others.map((other) => other.close()));
    await backend.wal.flush();
    crashes.push(crash(data));
    await instance.close();
    assert.equal(relation.blockCount(0), PAGES);
    for (const crashed of crashes) {
      const next = await open(crashed);
      const again = opened(next.backend, crashed);
      let sum = 0;
      let changes = 0;
      for (let block = 0; block < PAGES; block++) {
        using buffer = await next.backend.readBlock(again, block);
        const view = new DataView(buffer.page.buffer, buffer.page.byteOffset);
        sum += view.getInt32(100, true);
        changes += view.getInt32(104, true);
      }
      assert.equal(sum, 0);
      assert.equal(changes % 2, 0);
      if (crashed === crashes.at(-1)) assert.equal(changes, 3 * 40 * 2);
      await next.close();
      assertAllFine(crashed);
    }
  });
});
