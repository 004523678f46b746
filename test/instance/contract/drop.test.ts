/**
 * Rows V-01 … V-03 (normal, unlogged and temporary relations) and D-40: what becomes of buffers whose relation is truncated or
 * removed while reads of them are in flight, by whomever; and changes of relations in general.
 */
import assert from 'node:assert/strict';
import { existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { after, afterEach, before, describe, it } from 'node:test';
import type { BuffersPinnedError } from '../../../src/base/buffers-pinned-error.js';
import { Claim } from '../../../src/buffer/buffer-io.js';
import type { ReadBuffersOperation } from '../../../src/buffer/buffer-manager.js';
import type { Backend } from '../../../src/instance/backend.js';
import { Fork } from '../../../src/smgr/relation.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { Casualty } from '../../../testing/casualty.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { stampedPage, stampOf } from '../../../testing/relations.js';
import { untilBackends } from '../../../testing/turns.js';

const BLOCKS = 20;

forEachVariant((variant) => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let b: Backend;
  let last = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url });
    a = rig.backend;
    b = await rig.attach();
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
  });
  after(async () => rig.close());

  interface Both {
    mine: BlockReads;
    theirs: BlockReads;
    file: string;
    number: number;
  }

  function fresh(blocks = BLOCKS): Both {
    const locator = rig.data.write(++last, blocks);
    return {
      mine: new BlockReads(a, rig.data.path, locator),
      theirs: new BlockReads(b, rig.data.path, locator),
      file: rig.data.file(last),
      number: last,
    };
  }

  /** Blocks of the main fork that have a buffer. */
  function present({ mine }: Both, blocks = BLOCKS + 5): number[] {
    const { pool } = a.buffers;
    return [...Array(blocks).keys()].filter((block) => pool.find(mine.reader.tag, block) >= 0);
  }

  const upTo = (count: number): number[] => [...Array(count).keys()];

  const eventOf = (backend: Backend): string | null =>
    backend.waits().find((one) => one.backend === backend.number)?.event ?? null;

  /** Everything else goes through the whole pool, and each page is what it should be. */
  async function useEveryBuffer(): Promise<void> {
    const other = new BlockReads(a, rig.data.path, rig.data.write(++last, 300));
    for (let block = 0; block < 300; block += 10) await other.read(block, 10);
    a.closeRelation(other.relation);
  }

  /** Another version of the relation is made, and read: nothing of the old one comes back. */
  async function makeAgain({ mine, theirs, number }: Both): Promise<void> {
    mine.relation.create(Fork.MAIN);
    for (let block = 0; block < 3; block++)
      await a.extendRelation(mine.relation, stampedPage(number, block, 2));
    for (const { backend, relation } of [mine, theirs]) {
      const seen: number[] = [];
      for await (const buffer of backend.readStream(relation)) {
        const stamp = stampOf(buffer.page);
        assert.equal(stamp.version, 2);
        seen.push(stamp.block);
      }
      assert.deepEqual(seen, [0, 1, 2]);
    }
    assert.equal(await b.dropRelation(theirs.relation), 1);
  }

  describe('nothing in flight', () => {
    it('discards from a block on, and no other buffers', async () => {
      const both = fresh();
      const bystander = fresh();
      await both.mine.read(0, BLOCKS);
      await bystander.mine.read(0, BLOCKS);
      assert.equal(await a.discardBuffers(both.mine.relation, { from: 17 }), 3);
      assert.deepEqual(present(both), upTo(17));
      assert.equal(b.discardBuffersBlocking(both.theirs.relation, { fork: Fork.VM }), 0);
      assert.equal(b.discardBuffersBlocking(both.theirs.relation), 17);
      assert.deepEqual(present(both), []);
      assert.deepEqual(present(bystander), upTo(BLOCKS));
      await both.mine.read(0, BLOCKS);
      await assert.rejects(a.discardBuffers(both.mine.relation, { from: -1 }), RangeError);
      await useEveryBuffer();
    });

    it('truncates: few blocks are looked up, many are scanned for', async () => {
      const both = fresh();
      await both.theirs.read(0, BLOCKS);
      await a.truncateRelation(both.mine.relation, 18);
      assert.deepEqual(present(both), upTo(18));
      a.truncateRelationBlocking(both.mine.relation, 5);
      assert.deepEqual(present(both), upTo(5));
      assert.equal(statSync(both.file).size, 5 * 8192);
      assert.equal(both.theirs.relation.blockCount(Fork.MAIN), 5);
      await assert.rejects(a.truncateRelation(both.mine.relation, 6), RangeError);
      assert.deepEqual(present(both), upTo(5), 'a refused truncation drops nothing');
    });

    it('a read behind the new end fails as a short one, and does not spoil what is added there', async () => {
      const both = fresh();
      await both.theirs.read(0, BLOCKS);
      await a.truncateRelation(both.mine.relation, 4);
      await assert.rejects(b.readBlock(both.theirs.relation, 4), { code: 'ERR_PGAIO_SHORT_READ' });
      assert.equal(await a.extendRelation(both.mine.relation, stampedPage(both.number, 4, 2)), 4);
      assert.equal(a.extendRelationBlocking(both.mine.relation, 2), 5);
      const page = await b.readBlock(both.theirs.relation, 4);
      assert.equal(stampOf(page.page).version, 2);
      page.release();
      const zeroes = await b.readBlock(both.theirs.relation, 6);
      assert.ok(zeroes.page.every((byte) => byte === 0));
      zeroes.release();
      await assert.rejects(a.extendRelation(both.mine.relation, new Uint8Array(100)), RangeError);
      await assert.rejects(a.extendRelation(both.mine.relation, 0), RangeError);
    });

    it('extensions that were asked for together come one behind the other', async () => {
      const both = fresh(2);
      const pages = Buffer.concat([stampedPage(both.number, 2), stampedPage(both.number, 3)]);
      const { relation } = both.mine;
      assert.deepEqual(
        await Promise.all([a.extendRelation(relation, pages), a.extendRelation(relation, 3)]),
        [2, 4],
      );
      assert.equal(both.theirs.relation.blockCount(Fork.MAIN), 7);
      await both.theirs.read(0, 4);
    });

    it('a page of the pool whose file was cut off by others is not taken for what is added', async () => {
      const both = fresh();
      await both.mine.read(0, BLOCKS);
      truncateSync(both.file, 10 * 8192);
      const pages = [10, 11, 12, 13, 14, 15].map((block) => stampedPage(both.number, block, 3));
      assert.equal(await a.extendRelation(both.mine.relation, Buffer.concat(pages)), 10);
      for (let block = 10; block < 16; block++) {
        const buffer = await b.readBlock(both.theirs.relation, block);
        assert.deepEqual(stampOf(buffer.page), { relation: both.number, block, version: 3 });
        buffer.release();
      }
    });

    it('FD-01, D-87: a read of a block that stays is finished whatever becomes of the descriptors', async () => {
      const both = fresh();
      const op = both.mine.start(1);
      await a.truncateRelation(both.mine.relation, 5);
      await both.mine.finish(op);
      await both.theirs.read(0, 5);
    });

    it('a closed backend changes nothing', async () => {
      const both = fresh();
      const leaving = await rig.attach();
      const relation = leaving.openRelation(rig.data.path, { database: 5, relation: both.number });
      await leaving.close();
      await assert.rejects(leaving.truncateRelation(relation, 1), { code: 'ERR_PGAIO_CLOSED' });
      assert.throws(() => leaving.dropRelationBlocking(relation), { code: 'ERR_PGAIO_CLOSED' });
      assert.equal(statSync(both.file).size, BLOCKS * 8192);
    });
  });

  describe('pins', () => {
    it('refuses a buffer that somebody has pinned, says who, and drops nothing', async () => {
      const both = fresh();
      await both.mine.read(0, BLOCKS);
      const pins = [
        await a.readBlock(both.mine.relation, 9),
        await a.readBlock(both.mine.relation, 12),
        await b.readBlock(both.theirs.relation, 7),
      ];
      await assert.rejects(a.dropRelation(both.mine.relation), (error: BuffersPinnedError) => {
        assert.equal(error.code, 'ERR_PGAIO_BUFFERS_PINNED');
        assert.deepEqual([error.block, error.count, error.dropped], [7, 3, 0]);
        assert.deepEqual(error.backends, [a.number, b.number]);
        assert.equal(error.path, rig.data.relativeFile(both.number));
        assert.match(error.hint ?? '', /release/);
        return true;
      });
      pins[0]?.release();
      pins[1]?.release();
      assert.throws(() => a.truncateRelationBlocking(both.mine.relation, 6), {
        code: 'ERR_PGAIO_BUFFERS_PINNED',
        message: new RegExp(`1 of them, from block 7 on, pinned, by backend ${b.number}$`),
      });
      await assert.rejects(a.extendRelation(both.mine.relation, 0), RangeError);
      assert.deepEqual(present(both), upTo(BLOCKS));
      assert.equal(statSync(both.file).size, BLOCKS * 8192);
      await a.truncateRelation(both.mine.relation, 8); // what stays may be pinned
      pins[2]?.release();
      assert.equal(a.dropRelationBlocking(both.mine.relation), 1);
      assert.deepEqual(present(both), []);
    });

    it('waits for who has claimed a buffer and not begun to read', async () => {
      const both = fresh();
      const { pool, bufferIo } = b.buffers;
      const buffer = pool.pinBlock(both.theirs.reader.tag, 3, b.rootScope);
      assert.equal(bufferIo.claim(buffer), Claim.READY);
      const dropping = a.dropRelation(both.mine.relation);
      assert.equal(eventOf(a), 'BufferIo');
      bufferIo.giveUp(buffer);
      pool.unpin(buffer, b.rootScope);
      assert.equal(await dropping, 1);
      await makeAgain(both);
    });

    // The number of handles makes no difference here.
    if (variant.ioMaxConcurrency !== -1) return;

    it('who drops, and ends while it waits, leaves nothing behind', async () => {
      const both = fresh();
      const { pool, bufferIo } = a.buffers;
      const buffer = pool.pinBlock(both.mine.reader.tag, 3, a.rootScope);
      bufferIo.claim(buffer);
      const casualty = await Casualty.start({
        scene: 'while it waits for a claim to drop the buffer',
        handle: rig.instance.handle,
        dataDirectory: rig.data.path,
        locator: { database: 5, relation: both.number },
        ioHandle: 0,
      });
      await casualty.end();
      await untilBackends(rig.instance, 2);
      bufferIo.giveUp(buffer);
      pool.unpin(buffer, a.rootScope);
      await both.theirs.read(0, BLOCKS);
      assert.equal(await a.discardBuffers(both.mine.relation), BLOCKS);
    });
  });

  /** A read of block 1 that nobody waits for. */
  function startAndForget(blocks: BlockReads): void {
    blocks.abandon(blocks.start(1));
  }

  for (const kind of ['normal', 'unlogged'] as const) {
    it(`V-01, V-02, V-03: a ${kind} relation with a read under way is removed`, async () => {
      const both = fresh();
      if (kind === 'unlogged') writeFileSync(`${both.file}_init`, stampedPage(both.number, 0));
      startAndForget(both.mine);
      startAndForget(both.theirs);
      if (kind === 'unlogged') (await b.readBlock(both.theirs.relation, 0, { fork: Fork.INIT })).release();
      assert.equal(await a.dropRelation(both.mine.relation), kind === 'unlogged' ? 2 : 1);
      assert.deepEqual([existsSync(both.file), existsSync(`${both.file}_init`)], [false, false]);
      assert.deepEqual(present(both), []);
      assert.ok(a.buffers.pool.find(a.buffers.reader(both.mine.relation, Fork.INIT).tag, 0) < 0);
      await useEveryBuffer();
      await makeAgain(both);
    });
  }

  it('V-01, V-02, V-03: a temporary relation with a read under way is removed', async () => {
    const locator = rig.data.write(++last, BLOCKS, { backend: a.number });
    const blocks = new BlockReads(a, rig.data.path, locator);
    const { relation, reader } = blocks;
    const { pool } = a.buffersOf(relation);
    const pinned = await a.readBlock(relation, 7);
    await assert.rejects(a.dropRelation(relation), {
      code: 'ERR_PGAIO_BUFFERS_PINNED',
      block: 7,
      backends: [a.number],
    });
    pinned.release();
    startAndForget(blocks);
    assert.equal(await a.dropRelation(relation), 1);
    assert.equal(relation.exists(Fork.MAIN), false);
    for (let block = 0; block < BLOCKS; block++) assert.ok(pool.find(reader.tag, block) < 0);
    relation.create(Fork.MAIN);
    await a.extendRelation(relation, stampedPage(last, 0, 2));
    const again = await a.readBlock(relation, 0);
    assert.equal(stampOf(again.page).version, 2);
    again.release();
    await a.truncateRelation(relation, 0);
    assert.ok(pool.find(reader.tag, 0) < 0);
    assert.equal(a.dropRelationBlocking(relation), 1);
  });

  it('a temporary relation of another backend is left alone', async () => {
    const locator = rig.data.write(++last, BLOCKS, { backend: b.number });
    const relation = a.openRelation(rig.data.path, locator);
    await assert.rejects(a.dropRelation(relation), { name: 'PrivateRelationError' });
    assert.equal(relation.exists(Fork.MAIN), true);
  });

  if (variant.ioMethod === 'sync') return;

  /** Holds reads by `reader`, and starts one of a new relation's first blocks. */
  async function held(
    reader: (both: Both) => BlockReads,
    count = 4,
  ): Promise<{ both: Both; op: ReadBuffersOperation; release: () => void }> {
    const both = fresh();
    const blocks = reader(both);
    const hold = holdIo(injection, blocks.backend, 'beforeSharedCompletion');
    const op = blocks.start(1, count);
    await hold.arrived();
    releaseHeld = () => {
      releaseHeld = () => undefined;
      hold.release();
    };
    return { both, op, release: () => releaseHeld() };
  }
  let releaseHeld = (): void => undefined;
  afterEach(() => releaseHeld());

  for (const whose of ['mine', 'theirs'] as const) {
    const name = whose === 'mine' ? 'its own read' : 'another backend’s read';
    it(`V-01, V-03, D-40: a drop waits for ${name} in flight, then removes`, async () => {
      const { both, op, release } = await held((one) => one[whose]);
      both[whose].abandon(op);
      const dropping = a.dropRelation(both.mine.relation);
      assert.equal(eventOf(a), 'AioIoCompletion');
      assert.ok(existsSync(both.file));
      assert.deepEqual(present(both), [1, 2, 3, 4], 'nothing is removed before');
      release();
      assert.equal(await dropping, 1);
      assert.ok(!existsSync(both.file));
      assert.deepEqual(present(both), []);
      await useEveryBuffer();
      await makeAgain(both);
    });

    it(`V-02: a truncation waits for ${name} behind the new end, and for no other`, async () => {
      const { both, op, release } = await held((one) => one[whose]);
      assert.equal(op.count, 4);
      both[whose].abandon(op);
      await a.discardBuffers(both.mine.relation, { from: 5 });
      const truncating = a.truncateRelation(both.mine.relation, 3);
      assert.equal(eventOf(a), 'AioIoCompletion');
      release();
      await truncating;
      assert.deepEqual(present(both), [1, 2]);
      await both.theirs.read(0, 3);
    });
  }

  it('D-40: a drop waits for another’s read, and then refuses if its reader keeps the page', async () => {
    const { both, op, release } = await held(({ theirs }) => theirs);
    const dropping = a.dropRelation(both.mine.relation);
    const refused = assert.rejects(dropping, (error: BuffersPinnedError) => {
      assert.deepEqual([error.block, error.count, error.dropped], [1, 4, 0]);
      assert.deepEqual(error.backends, [b.number]);
      return true;
    });
    assert.equal(eventOf(a), 'AioIoCompletion');
    release();
    await refused;
    assert.ok(existsSync(both.file));
    await both.theirs.finish(op);
    assert.equal(await a.dropRelation(both.mine.relation), 1);
  });

  it('an extension waits for who reads beyond the end', async () => {
    const both = fresh(4);
    const hold = holdIo(injection, b, 'beforeSharedCompletion');
    releaseHeld = () => hold.release();
    both.theirs.abandon(both.theirs.start(4));
    await hold.arrived();
    const extending = a.extendRelation(both.mine.relation, stampedPage(both.number, 4));
    assert.equal(eventOf(a), 'AioIoCompletion');
    both.theirs.relation.zeroExtend(Fork.MAIN, 4, 1); // against the rules, and yet nothing is overwritten
    hold.release();
    releaseHeld = () => undefined;
    assert.equal(await extending, 5);
    assert.equal(both.mine.relation.blockCount(Fork.MAIN), 6);
  });

  it('refuses at once what it has pinned itself, in flight or not', async () => {
    const { both, op, release } = await held(({ mine }) => mine);
    await assert.rejects(a.dropRelation(both.mine.relation), { code: 'ERR_PGAIO_BUFFERS_PINNED', block: 1 });
    release();
    await both.mine.finish(op);
    assert.equal(await a.dropRelation(both.mine.relation), 1);
  });

  it('drops by two backends at once are one', async () => {
    const { both, op, release } = await held(({ theirs }) => theirs);
    both.theirs.abandon(op);
    const dropping = [a.discardBuffers(both.mine.relation), b.discardBuffers(both.theirs.relation)];
    release();
    await Promise.all(dropping);
    assert.deepEqual(present(both), []);
    await both.mine.read(0, BLOCKS);
  });
});
