/** Dirty pages of the shared pool: changes, locks, write-back, synchronization. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { constants } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { IoMethodName } from '../../../src/base/settings.js';
import { RelationFileError } from '../../../src/base/relation-file-error.js';
import type { PinnedBuffer } from '../../../src/buffer/pinned-buffer.js';
import type { Backend } from '../../../src/instance/backend.js';
import { pageLsn } from '../../../src/page/page-header.js';
import { isFine, pageVerdict } from '../../../src/page/page-verdict.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import { untilTrue } from '../../../testing/turns.js';

const BLOCK = 8192;
const MARK = 100;
const { EIO } = constants.errno;

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let b: Backend;
  let relation: SmgrRelation;
  let theirs: SmgrRelation;
  let number = 5000;
  let path: string;

  before(async () => {
    rig = await openRig({ ioMethod, injection: injection.url, maxBackends: 8 });
    a = rig.backend;
    b = await rig.attach();
  });
  after(() => rig.close());

  /** A relation of its own for each test. */
  function fresh(blocks: number): void {
    const locator = rig.data.write(++number, blocks);
    path = rig.data.file(number);
    relation = a.openRelation(rig.data.path, locator);
    theirs = b.openRelation(rig.data.path, locator);
  }

  function pageOnDisk(block: number): Uint8Array {
    const page = new Uint8Array(BLOCK);
    const fd = openSync(path, 'r');
    assert.equal(readSync(fd, page, 0, BLOCK, block * BLOCK), BLOCK);
    closeSync(fd);
    return page;
  }
  const markOnDisk = (block: number): number => pageOnDisk(block)[MARK] as number;
  const mark =
    (value: number) =>
    (page: Uint8Array): void => {
      page[MARK] = value;
    };

  async function changed(block: number, value: number): Promise<PinnedBuffer> {
    const buffer = await a.readBlock(relation, block);
    await buffer.change(mark(value));
    return buffer;
  }

  it('a change is seen by all at once, and is in the file with a right checksum once it was flushed', async () => {
    fresh(8);
    const mine = await changed(3, 0xa1);
    const other = await b.readBlock(theirs, 3);
    assert.equal(other.page[MARK], 0xa1);
    assert.ok(mine.isDirty && other.isDirty);
    assert.notEqual(markOnDisk(3), 0xa1);
    assert.equal(await b.writes.flushRelation(theirs), 1);
    assert.equal(markOnDisk(3), 0xa1);
    assert.ok(isFine(pageVerdict(pageOnDisk(3), 3), 0));
    assert.ok(!mine.isDirty);
    assert.equal(await a.writes.flushRelation(relation), 0);
    mine.release();
    other.release();
  });

  it('neighbours are written by one I/O', async () => {
    fresh(12);
    for (let block = 2; block < 10; block++) (await changed(block, block)).release();
    const before = a.counters().writes;
    assert.equal(await a.writes.flushRelation(relation), 8);
    assert.equal(a.counters().writes - before, 1);
    for (let block = 0; block < 12; block++) {
      if (block >= 2 && block < 10) assert.equal(markOnDisk(block), block);
      assert.ok(isFine(pageVerdict(pageOnDisk(block), block), 0), `block ${block}`);
    }
  });

  it('an LSN becomes the page’s, as number or bigint, also when it is known only behind the change', async () => {
    fresh(2);
    const buffer = await a.readBlock(relation, 0);
    const lsn = (): number => pageLsn(new DataView(buffer.page.buffer, buffer.page.byteOffset, 24));
    await buffer.change(mark(1), { lsn: 0x12_3456_789a });
    assert.equal(lsn(), 0x12_3456_789a);
    await buffer.change(mark(1), { lsn: 0x1_0000_0001 });
    assert.equal(lsn(), 0x1_0000_0001);
    const lock = await buffer.lockExclusive();
    lock.change(mark(2));
    lock.setLsn(77);
    lock.release();
    assert.equal(lsn(), 77);
    buffer.release();
    assert.equal(await a.writes.flushRelation(relation), 1);
    assert.ok(isFine(pageVerdict(pageOnDisk(0), 0), 0));
  });

  it('what a change throws is thrown, and the page is as it was, and clean', async () => {
    fresh(2);
    const buffer = await a.readBlock(relation, 1);
    const before = buffer.page.slice();
    await assert.rejects(
      buffer.change((page) => {
        page.fill(7);
        throw new RangeError('no');
      }),
      /no/,
    );
    assert.deepEqual(buffer.page.slice(), before);
    assert.ok(!buffer.isDirty);
    await buffer.change(mark(5)); // the lock was given back
    buffer.release();
    await a.writes.flushRelation(relation);
  });

  it('changers wait for each other, sharers only for changers', async () => {
    fresh(2);
    const mine = await a.readBlock(relation, 0);
    const other = await b.readBlock(theirs, 0);
    const shared = await mine.lockShare();
    const sharedToo = await other.lockShare();
    assert.equal(other.tryLock('exclusive'), null);
    let done = false;
    const change = other.change(mark(9)).then(() => (done = true));
    await new Promise(setImmediate);
    assert.ok(!done);
    assert.ok(b.waits().some(({ backend, event }) => backend === b.number && event === 'BufferContent'));
    sharedToo.release();
    shared.release();
    await change;
    const alone = await mine.lockExclusive();
    assert.equal(other.tryLock('share'), null);
    const waiting = other.lockShare();
    alone.release();
    (await waiting).release();
    mine.release();
    other.release();
    await a.writes.flushRelation(relation);
  });

  it('two tasks of one thread wait for each other, too', async () => {
    fresh(2);
    const buffer = await a.readBlock(relation, 0);
    const lock = await buffer.lockExclusive();
    const order: string[] = [];
    const second = buffer.change(() => order.push('second'));
    order.push('first');
    lock.release();
    await second;
    assert.deepEqual(order, ['first', 'second']);
    buffer.release();
    await a.writes.flushRelation(relation);
  });

  it('a scope that ends gives its locks back', async () => {
    fresh(2);
    await a.scope(async (scope) => {
      const buffer = await a.readBlock(relation, 0, { scope });
      await buffer.lockExclusive();
      buffer.release();
    });
    const other = await b.readBlock(theirs, 0);
    const lock = other.tryLock('exclusive');
    assert.ok(lock);
    lock.release();
    other.release();
  });

  it('an error of a write leaves the page dirty, and says which blocks of which file', async () => {
    fresh(8);
    for (const block of [4, 5]) (await changed(block, 0xee)).release();
    injection.answer(-EIO, { relation: number, times: 1 });
    await assert.rejects(a.writes.flushRelation(relation), (error) => {
      assert.ok(error instanceof RelationFileError);
      assert.deepEqual(
        [error.operation, error.firstBlock, error.lastBlock, error.syscode, error.path],
        ['write', 4, 5, 'EIO', rig.data.relativeFile(number)],
      );
      return true;
    });
    injection.disarm('beforeSharedCompletion');
    assert.equal(await a.writes.flushRelation(relation), 2);
    assert.equal(markOnDisk(4), 0xee);
  });

  it('a short write is continued', async () => {
    fresh(12);
    for (let block = 0; block < 8; block++) (await changed(block, 0x40 + block)).release();
    injection.answer(3 * BLOCK + 100, { relation: number, times: 1 });
    assert.equal(await a.writes.flushRelation(relation), 8);
    for (let block = 0; block < 8; block++) assert.equal(markOnDisk(block), 0x40 + block);
  });

  it('a disk that takes nothing more is an error', async () => {
    fresh(2);
    (await changed(1, 1)).release();
    injection.answer(100, { relation: number });
    await assert.rejects(a.writes.flushRelation(relation), { code: 'ERR_PGAIO_WRITE_ENOSPC' });
    injection.disarm('beforeSharedCompletion');
    assert.equal(await a.writes.flushRelation(relation), 1);
  });

  it('a pool full of dirty pages writes them to make room', async () => {
    fresh(400); // the pool has 128 blocks
    for (let block = 0; block < 400; block++) (await changed(block, block & 0xff)).release();
    await a.writes.checkpointBuffers();
    for (let block = 0; block < 400; block++) {
      assert.equal(markOnDisk(block), block & 0xff, `block ${block}`);
      assert.ok(isFine(pageVerdict(pageOnDisk(block), block), 0), `block ${block}`);
    }
  });

  it('rings of loads and maintenance write their own pages', async () => {
    fresh(300);
    for (const kind of ['bulkwrite', 'vacuum', 'bulkread'] as const) {
      const strategy = a.accessStrategy(kind, { ringSize: '128kB' });
      const value = kind.length;
      for await (const buffer of a.readStream(relation, { strategy })) await buffer.change(mark(value));
      await a.writes.checkpointBuffers();
      for (let block = 0; block < 300; block++) assert.equal(markOnDisk(block), value);
    }
  });

  it('victims that cannot be written fail who wants their place, and stay', async () => {
    const { count } = a.buffers.pool.region;
    fresh(2 * count);
    for (let block = 0; block < 2 * count; block++) (await changed(block, 0x77)).release();
    const other = a.openRelation(rig.data.path, rig.data.write(90_000, count));
    injection.answer(-EIO, { relation: number });
    const reading = async (): Promise<void> => {
      for (let block = 0; block < count; block++) (await a.readBlock(other, block)).release();
    };
    await assert.rejects(reading(), { code: 'ERR_PGAIO_WRITE_EIO', path: relation.path(0) });
    const scan = async (): Promise<void> => {
      for await (const buffer of a.readStream(other, { strategy: null })) assert.ok(buffer.page.length > 0);
    };
    await assert.rejects(scan(), { code: 'ERR_PGAIO_WRITE_EIO' });
    injection.disarm('beforeSharedCompletion');
    await reading();
    await a.writes.checkpointBuffers();
    for (let block = 0; block < 2 * count; block++) assert.equal(markOnDisk(block), 0x77);
  });

  it('what is synchronized is synchronized once', async () => {
    fresh(4);
    await a.writes.checkpointBuffers();
    (await changed(0, 1)).release();
    (await changed(3, 1)).release();
    await a.writes.flushRelation(relation);
    assert.equal(await b.writes.processSyncRequests(), 1);
    assert.equal(await a.writes.processSyncRequests(), 0);
  });

  it('a checkpoint of nothing does nothing', async () => {
    await a.writes.checkpointBuffers();
    const before = a.counters();
    await a.writes.checkpointBuffers();
    assert.ok(!a.writes.hasWork);
    assert.deepEqual(a.counters(), before);
  });

  it('an fsync that failed fails for ever, for everybody, until the file is removed', async () => {
    fresh(2);
    await a.writes.checkpointBuffers();
    (await changed(0, 1)).release();
    await a.writes.flushRelation(relation);
    injection.answer(-EIO, { relation: number, times: 1 });
    const isIt = (error: unknown): boolean =>
      error instanceof RelationFileError &&
      error.code === 'ERR_PGAIO_SYNC_EIO' &&
      error.path === rig.data.relativeFile(number);
    await assert.rejects(a.writes.processSyncRequests(), isIt);
    await assert.rejects(b.writes.processSyncRequests(), isIt);
    (await changed(0, 2)).release();
    await assert.rejects(a.writes.checkpointBuffers(), isIt);
    assert.equal(markOnDisk(0), 2);
    await assert.rejects(b.writes.syncRelation(theirs), isIt);
    await a.dropRelation(relation);
    await a.writes.checkpointBuffers();
  });

  it('blocks that are cut off, and relations that are dropped, are not written', async () => {
    fresh(8);
    for (const block of [1, 6]) (await changed(block, 0xcc)).release();
    await a.truncateRelation(relation, 4);
    assert.equal(await a.writes.flushRelation(relation), 1);
    (await changed(2, 0xcd)).release();
    await a.dropRelation(relation);
    const { writes } = a.counters();
    await a.writes.checkpointBuffers();
    assert.equal(a.counters().writes, writes);
  });

  it('whose files are gone is not to be synchronized, also when the thread that removes them ends there', async () => {
    fresh(2);
    (await changed(1, 0xce)).release();
    await a.writes.flushRelation(relation);
    const unlink = relation.unlink.bind(relation);
    relation.unlink = () => {
      unlink();
      throw new Error('ended');
    };
    await assert.rejects(a.dropRelation(relation), { message: 'ended' });
    await b.writes.checkpointBuffers();
  });

  it('a file that was cut, or made longer behind the pool, is synchronized by the next checkpoint', async () => {
    fresh(8);
    await a.writes.checkpointBuffers();
    await a.truncateRelation(relation, 4);
    assert.equal(await b.writes.processSyncRequests(), 1);
    await a.extendRelation(relation, 3);
    assert.equal(await b.writes.processSyncRequests(), 1);
    a.truncateRelationBlocking(relation, 7); // as long as it is
    assert.equal(await b.writes.processSyncRequests(), 0);
    const truncate = relation.truncate.bind(relation);
    relation.truncate = (fork, blocks) => {
      const [request] = a.parts.syncRequests.requests();
      assert.equal(request?.locator.relation, number, 'asked for before the file is cut');
      truncate(fork, blocks);
    };
    await a.truncateRelation(relation, 1);
    assert.equal(await b.writes.processSyncRequests(), 1);
  });

  it('who holds all the share locks that it may can write all the same, and so can others', async () => {
    fresh(40);
    (await changed(39, 0x39)).release();
    const buffers = await Promise.all(Array.from({ length: 33 }, (_, block) => a.readBlock(relation, block)));
    const locks = await Promise.all(buffers.slice(0, 32).map((buffer) => buffer.lockShare()));
    await assert.rejects((buffers[32] as PinnedBuffer).lockShare(), {
      code: 'ERR_PGAIO_EXHAUSTED',
    });
    assert.equal(await a.writes.flushRelation(relation), 1);
    for (const lock of locks) lock.release();
    for (const buffer of buffers) buffer.release();
    await b.writes.checkpointBuffers();
    assert.equal(markOnDisk(39), 0x39);
  });

  it('a relation is synchronized with all that is dirty of it, and nothing else', async () => {
    fresh(4);
    const other = relation;
    (await changed(1, 1)).release();
    fresh(4);
    (await changed(2, 9)).release();
    const { syncs } = a.counters();
    await b.writes.syncRelation(theirs);
    assert.equal(markOnDisk(2), 9);
    assert.equal(a.counters().syncs - syncs, 1);
    assert.equal(await a.writes.flushRelation(other), 1);
    await a.writes.checkpointBuffers();
  });

  if (ioMethod !== 'sync') describe('while a write is held', () => heldWrites(ioMethod));

  function heldWrites(_method: IoMethodName): void {
    it('readers and changers go on, and a page that was changed meanwhile stays dirty', async () => {
      fresh(4);
      const mine = await changed(1, 0x11);
      const hold = holdIo(injection, a, 'workerDequeued');
      const flush = a.writes.flushRelation(relation);
      await hold.arrived();
      const other = await b.readBlock(theirs, 1);
      assert.equal(other.page[MARK], 0x11);
      await other.change(mark(0x22));
      hold.release();
      assert.equal(await flush, 1);
      assert.equal(markOnDisk(1), 0x11);
      assert.ok(mine.isDirty);
      assert.equal(await b.writes.flushRelation(theirs), 1);
      assert.equal(markOnDisk(1), 0x22);
      mine.release();
      other.release();
    });

    it('a second flusher waits for it, and writes nothing if nothing has changed', async () => {
      fresh(4);
      (await changed(1, 0x33)).release();
      const hold = holdIo(injection, a, 'workerDequeued');
      const flush = a.writes.flushRelation(relation);
      await hold.arrived();
      let done = false;
      const second = b.writes.flushRelation(theirs).then((count) => {
        done = true;
        return count;
      });
      await untilTrue(() => b.waits().some(({ backend, event }) => backend === b.number && event !== null));
      assert.ok(!done);
      hold.release();
      assert.deepEqual([await flush, await second], [1, 0]);
      assert.equal(markOnDisk(1), 0x33);
    });

    it('a truncation waits for it', async () => {
      fresh(4);
      (await changed(3, 0x44)).release();
      const hold = holdIo(injection, a, 'workerDequeued');
      const flush = a.writes.flushRelation(relation);
      await hold.arrived();
      const truncation = b.truncateRelation(theirs, 2);
      await untilTrue(() => b.waits().some(({ backend, event }) => backend === b.number && event !== null));
      hold.release();
      await Promise.all([flush, truncation]);
      assert.equal(readFileSync(path).length, 2 * BLOCK);
    });
  }
});
