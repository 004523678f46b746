/** Relations that grow through the pool; what becomes of dirty pages when an instance or a thread ends; private relations. */
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { after, before, it } from 'node:test';
import { InstanceCrashedError } from '../../../src/base/errors.js';
import { createInstance } from '../../../src/instance/instance.js';
import type { Backend } from '../../../src/instance/backend.js';
import { makePage } from '../../../testing/pages.js';
import { isFine, pageVerdict } from '../../../src/page/page-verdict.js';
import { Casualty } from '../../../testing/casualty.js';
import { Injection } from '../../../testing/injection.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import { DataDirectory } from '../../../testing/relations.js';
import { untilBackends, untilTrue } from '../../../testing/turns.js';

const BLOCK = 8192;
const MARK = 100;

const mark =
  (value: number) =>
  (page: Uint8Array): void => {
    page[MARK] = value;
  };

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let number = 7000;

  before(async () => {
    rig = await openRig({ ioMethod, injection: injection.url, maxBackends: 8 });
    a = rig.backend;
  });
  after(() => rig.close());

  it('new blocks are zero, in the pool and in the file, and can be changed at once', async () => {
    const locator = rig.data.write(++number, 3);
    const relation = a.openRelation(rig.data.path, locator);
    const { reads } = a.counters();
    const added = await a.writes.extendRelation(relation, 4);
    assert.deepEqual(
      added.map(({ block }) => block),
      [3, 4, 5, 6],
    );
    assert.equal(relation.blockCount(0), 7);
    for (const buffer of added) assert.ok(buffer.page.every((byte) => byte === 0));
    await added[1]?.change((page) => page.set(makePage(4)));
    for (const buffer of added) buffer.release();
    (await a.readBlock(relation, 5)).release();
    assert.equal(a.counters().reads, reads);
    await a.writes.checkpointBuffers();
    const file = readFileSync(rig.data.file(number));
    assert.equal(file.length, 7 * BLOCK);
    for (let block = 0; block < 7; block++)
      assert.ok(isFine(pageVerdict(file.subarray(block * BLOCK, (block + 1) * BLOCK), block), 0), `${block}`);
    assert.equal(file[4 * BLOCK + 100], 0x5a);
  });

  it('several backends get blocks of their own, also when the pool is full of dirty pages', async () => {
    const locator = rig.data.write(++number, 1);
    const backends = [a, await rig.attach(), await rig.attach()];
    const taken: number[] = [];
    await Promise.all(
      backends.map(async (backend, at) => {
        const relation = backend.openRelation(rig.data.path, locator);
        for (let round = 0; round < 20; round++) {
          for (const buffer of await backend.writes.extendRelation(relation, 1 + (round % 4))) {
            await buffer.change((page) => page.set(makePage(buffer.block, { fill: at + 1 })));
            taken.push(buffer.block);
            buffer.release();
          }
        }
      }),
    );
    taken.sort((x, y) => x - y);
    assert.deepEqual(
      taken,
      Array.from({ length: 150 }, (_, at) => at + 1),
    );
    await a.writes.checkpointBuffers();
    const file = readFileSync(rig.data.file(number));
    for (let block = 1; block <= 150; block++) {
      const page = file.subarray(block * BLOCK, (block + 1) * BLOCK);
      assert.ok(isFine(pageVerdict(page, block), 0) && page.some((byte) => byte !== 0), `block ${block}`);
    }
  });

  it('more blocks than the pool can hold are refused, and nothing is left behind', async () => {
    const relation = a.openRelation(rig.data.path, rig.data.write(++number, 2));
    await assert.rejects(a.writes.extendRelation(relation, 500), { code: 'ERR_PGAIO_NO_UNPINNED_BUFFERS' });
    assert.equal(relation.blockCount(0), 2);
    const added = await a.writes.extendRelation(relation, 1);
    assert.equal(added[0]?.block, 2);
    added[0]?.release();
  });

  it('an extension that fails leaves no blocks and no claims', async () => {
    const relation = a.openRelation(rig.data.path, rig.data.write(++number, 2));
    rmSync(rig.data.file(number)); // so there is no file to extend
    await assert.rejects(a.writes.extendRelation(relation, 2), { syscode: 'ENOENT' });
    relation.create(0);
    for (const buffer of await a.writes.extendRelation(relation, 2)) buffer.release();
  });

  it('private pages are written when their buffers are wanted, and never synchronized', async () => {
    const blocks = 300; // the private pool has 100
    const locator = rig.data.write(++number, blocks, { backend: a.number });
    const relation = a.openRelation(rig.data.path, locator);
    const { syncs } = a.counters();
    for (let block = 0; block < blocks; block++) {
      const buffer = await a.readBlock(relation, block);
      await buffer.change(mark(block & 0xff));
      buffer.release();
    }
    for (let block = 0; block < blocks; block++) {
      const buffer = await a.readBlock(relation, block);
      assert.equal(buffer.page[MARK], block & 0xff);
      buffer.release();
    }
    await a.writes.flushRelation(relation);
    await a.writes.syncRelation(relation);
    assert.equal(a.counters().syncs, syncs);
    const file = readFileSync(rig.data.file(number, a.number));
    for (let block = 0; block < blocks; block++) {
      const page = file.subarray(block * BLOCK, (block + 1) * BLOCK);
      assert.ok(page[MARK] === (block & 0xff) && isFine(pageVerdict(page, block), 0), `block ${block}`);
    }
    for (const buffer of await a.writes.extendRelation(relation, 2)) buffer.release();
    await a.dropRelation(relation);
  });

  for (const scene of [
    'with claims of a write',
    'half way through staging a write',
    'with a write submitted',
    'half way through completing a write',
    'with content locks',
    'with the extension lock',
  ]) {
    it(`a thread that ends ${scene} leaves nothing behind, and its page dirty`, async () => {
      const locator = rig.data.write(++number, 8);
      const casualty = await Casualty.start({
        scene,
        handle: rig.instance.handle,
        dataDirectory: rig.data.path,
        locator,
        ioHandle: 0,
      });
      const attached = countBackends();
      await casualty.end();
      await untilBackends(rig.instance, attached - 1);
      const relation = a.openRelation(rig.data.path, locator);
      for (const block of [3, 4, 5]) {
        const buffer = await a.readBlock(relation, block);
        assert.equal(buffer.page[MARK], 0xab);
        await buffer.change(mark(0xac));
        buffer.release();
      }
      for (const buffer of await a.writes.extendRelation(relation, 1)) buffer.release();
      await a.writes.checkpointBuffers();
      const file = readFileSync(rig.data.file(number));
      for (const block of [3, 4, 5]) assert.equal(file[block * BLOCK + MARK], 0xac);
    });
  }

  it('an fsync whose thread ends in it has failed: nobody knows what the kernel said', async () => {
    const locator = rig.data.write(++number, 8);
    const { path: dataDirectory } = rig.data;
    const { handle } = rig.instance;
    await a.writes.checkpointBuffers(); // so that its file is the only one to synchronize
    const casualty = await Casualty.start({
      scene: 'in an fsync',
      handle,
      dataDirectory,
      locator,
      ioHandle: 0,
    });
    const attached = countBackends();
    await casualty.end();
    await untilBackends(rig.instance, attached - 1);
    for (let time = 0; time < 2; time++)
      await assert.rejects(a.writes.checkpointBuffers(), { code: 'ERR_PGAIO_SYNC_EIO' });
    await a.dropRelation(a.openRelation(dataDirectory, locator));
    await a.writes.checkpointBuffers();
  });

  function countBackends(): number {
    const { slots } = a.parts.memory;
    let count = 0;
    for (let slot = 0; slot < slots.region.maxBackends; slot++) if (slots.status(slot) !== 0) count++;
    return count;
  }

  it('a thread that ends in the middle of a change crashes the instance; close says that pages were lost', async () => {
    using data = new DataDirectory();
    const instance = await createInstance({
      ioMethod,
      sharedBuffers: '1MB',
      ioMemory: '1MB',
      log: () => undefined,
    });
    const relation = instance.backend.openRelation(data.path, data.write(2, 4));
    const buffer = await instance.backend.readBlock(relation, 2);
    await buffer.change(mark(1));
    buffer.release();
    const casualty = await Casualty.start({
      scene: 'in the middle of a change',
      handle: instance.handle,
      dataDirectory: data.path,
      locator: data.write(1, 8),
      ioHandle: 0,
    });
    await casualty.end();
    const { header } = instance.backend.parts.memory;
    await untilTrue(() => header.isCrashed);
    await assert.rejects(instance.close(), InstanceCrashedError);
  });

  it('closing an instance writes and synchronizes what is dirty, also when its backend was closed before', async () => {
    using data = new DataDirectory();
    for (const early of [false, true]) {
      const instance = await createInstance({ ioMethod, sharedBuffers: '1MB', ioMemory: '1MB' });
      const relation = instance.backend.openRelation(data.path, data.write(1, 4));
      const buffer = await instance.backend.readBlock(relation, 2);
      await buffer.change(mark(0x99));
      buffer.release();
      if (early) await instance.backend.close();
      await instance.close();
      assert.equal(readFileSync(data.file(1))[2 * BLOCK + MARK], 0x99);
    }
  });

  it('what cannot be written at the end is told by close', async () => {
    using data = new DataDirectory();
    const instance = await createInstance({ ioMethod, sharedBuffers: '1MB', ioMemory: '1MB' });
    const relation = instance.backend.openRelation(data.path, data.write(1, 4));
    const buffer = await instance.backend.readBlock(relation, 2);
    await buffer.change(mark(1));
    buffer.release();
    rmSync(data.file(1));
    instance.backend.closeRelation(relation);
    await assert.rejects(instance.close(), { code: 'ERR_PGAIO_WRITE_ENOENT' });
  });
});
