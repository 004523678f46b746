/** Rows S-*, D-40 … D-43, JN-04, JN-06, RS-06, RS-07 of the contract: claims, and what others hold up. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, it } from 'node:test';
import { Claim } from '../../../src/buffer/buffer-io.js';
import type { Backend } from '../../../src/instance/backend.js';
import type { BackendWait } from '../../../src/instance/views.js';
import { BlockedReader } from '../../../testing/blocked-reader.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { RawReads } from '../../../testing/raw-reads.js';
import { untilTrue } from '../../../testing/turns.js';

const { EIO } = constants.errno;

forEachVariant((variant) => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let b: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url });
    a = rig.backend;
    b = await rig.attach();
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
  });
  after(async () => rig.close());

  /** A relation that nobody has read yet, as both backends see it. */
  function fresh(): { mine: BlockReads; theirs: BlockReads } {
    const locator = rig.data.write(++lastRelation, 20);
    return {
      mine: new BlockReads(a, rig.data.path, locator),
      theirs: new BlockReads(b, rig.data.path, locator),
    };
  }

  /** Pins a block's buffer without reading it: PostgreSQL's toy buffer. */
  function toy(
    { mine, theirs }: ReturnType<typeof fresh>,
    block: number,
  ): { buffer: number; unpin: () => void } {
    const buffer = a.buffers.pool.pinBlock(mine.reader.tag, block, a.rootScope);
    assert.equal(b.buffers.pool.pinBlock(theirs.reader.tag, block, b.rootScope), buffer);
    const unpin = (): void => {
      a.buffers.pool.unpin(buffer, a.rootScope);
      b.buffers.pool.unpin(buffer, b.rootScope);
    };
    return { buffer, unpin };
  }

  /** How often b's wait was ended by its time slice: never, when it is woken. */
  function countSlices(): () => number {
    const { hooks } = b.aio.waits;
    const { checkSupervised } = hooks;
    let slices = 0;
    hooks.checkSupervised = () => {
      slices++;
    };
    return () => {
      hooks.checkSupervised = checkSupervised;
      return slices;
    };
  }

  const waitOf = (backend: Backend): BackendWait | undefined =>
    backend.waits().find((one) => one.backend === backend.number);
  const eventOf = (backend: Backend): string | null => waitOf(backend)?.event ?? null;

  it('S-01 … S-04, D-41: a claim is exclusive, also for who has it', () => {
    const { buffer, unpin } = toy(fresh(), 1);
    assert.ok(!a.buffers.bufferIo.isValid(buffer));
    assert.equal(a.buffers.bufferIo.claim(buffer), Claim.READY);
    assert.equal(a.buffers.bufferIo.claim(buffer), Claim.IN_PROGRESS);
    assert.equal(b.buffers.bufferIo.claim(buffer), Claim.IN_PROGRESS);
    assert.ok(!b.buffers.bufferIo.hasReference);
    a.buffers.bufferIo.giveUp(buffer);
    unpin();
  });

  it('S-05, S-06, S-07, D-42: who waits for a claim without a reference waits on the buffer, and gets the right', async () => {
    const { buffer, unpin } = toy(fresh(), 1);
    a.buffers.bufferIo.claim(buffer);
    const waiting = b.aio.waits.until(() => b.buffers.bufferIo.waitForClaim(b.aio.waits, buffer));
    assert.equal(eventOf(b), 'BufferIo');
    a.buffers.bufferIo.giveUp(buffer);
    const slices = countSlices();
    await waiting;
    assert.equal(slices(), 0);
    assert.equal(eventOf(b), null);
    assert.equal(b.buffers.bufferIo.claim(buffer), Claim.READY);
    b.buffers.bufferIo.giveUp(buffer);
    assert.equal(a.buffers.bufferIo.claim(buffer), Claim.READY, 'D-43: claimable again');
    a.buffers.bufferIo.giveUp(buffer);
    unpin();
  });

  it('S-08: after a success there is nothing left to do for the waiter', async () => {
    const { buffer, unpin } = toy(fresh(), 1);
    a.buffers.bufferIo.claim(buffer);
    a.buffers.bufferIo.attach(buffer, 0, 0x0fff_ffff);
    const waiting = b.aio.waits.until(() => b.buffers.bufferIo.waitForClaim(b.aio.waits, buffer));
    a.buffers.bufferIo.terminate(buffer, 0, 0, true);
    assert.ok(!a.buffers.bufferIo.isValid(buffer), 'another I/O’s end is none of the buffer’s business');
    a.buffers.bufferIo.terminate(buffer, 0, 0x0fff_ffff, true);
    const slices = countSlices();
    await waiting;
    assert.equal(slices(), 0);
    assert.equal(b.buffers.bufferIo.claim(buffer), Claim.ALREADY_DONE);
    unpin();
  });

  it('D-43: a read that cannot be started gives back its claims and its handle', async () => {
    const { mine, theirs } = fresh();
    mine.relation.startReadv = () => {
      throw new Error('no descriptor left');
    };
    await assert.rejects(mine.read(1, 4), /^Error: no descriptor left$/);
    Reflect.deleteProperty(mine.relation, 'startReadv');
    assert.deepEqual(a.inFlight(), []);
    await theirs.read(1, 4);
    await mine.read(1, 4);
  });

  it('JN-04: a claim by hand splits a read; after its failure the rest is read in one', async () => {
    const both = fresh();
    const { buffer, unpin } = toy(both, 3);
    b.buffers.bufferIo.claim(buffer);
    const started = both.mine.startAll(1, 5);
    await untilTrue(() => eventOf(a) === 'BufferIo', started);
    b.buffers.bufferIo.giveUp(buffer);
    const { operations, finish } = await started;
    assert.deepEqual(operations, [
      { offset: 0, block: 1, io: 'own', count: 2 },
      { offset: 2, block: 3, io: 'own', count: 3 },
    ]);
    await finish();
    unpin();
  });

  if (variant.ioMethod === 'sync') return;

  it('JN-06, D-60: somebody else’s read is joined; the other blocks are under way before it is done', async () => {
    const { mine, theirs } = fresh();
    const reads = a.counters().reads;
    const hold = holdIo(injection, b, 'beforeSharedCompletion');
    const held = theirs.start(1);
    await hold.arrived();
    const { operations, finish } = await mine.startAll(1, 4);
    assert.deepEqual(operations, [
      { offset: 0, block: 1, io: 'foreign', count: 1 },
      { offset: 1, block: 2, io: 'own', count: 3 },
    ]);
    const finished = finish();
    assert.equal(eventOf(a), 'AioIoCompletion');
    hold.release();
    await finished;
    await theirs.finish(held);
    assert.equal(a.counters().reads, reads + 2);
  });

  it('D-60: who joins a read that fails reads for itself', async () => {
    const { mine, theirs } = fresh();
    const reads = a.counters().reads;
    const hold = holdIo(injection, b, 'workerBeforeReopen');
    const held = theirs.start(5);
    await hold.arrived();
    injection.answer(-EIO, { owner: b.number });
    const { operations, finish } = await mine.startAll(5, 1);
    assert.equal(operations[0]?.io, 'foreign');
    hold.release();
    await finish();
    await assert.rejects(theirs.finish(held), { code: 'ERR_PGAIO_READ_EIO', firstBlock: 5, lastBlock: 5 });
    assert.equal(a.counters().reads, reads + 2);
  });

  it('D-40: a buffer under I/O has a pin of its own, and cannot be evicted', async () => {
    const { mine, theirs } = fresh();
    const hold = holdIo(injection, b, 'beforeSharedCompletion');
    const op = theirs.start(1);
    const buffer = op.buffer(0);
    await hold.arrived();
    theirs.abandon(op);
    // Everything else is read through the pool twice: the buffer stays what it is.
    const other = new BlockReads(a, rig.data.path, rig.data.write(++lastRelation, 300));
    for (let round = 0; round < 2; round++) {
      for (let block = 0; block < 300; block += 10) await other.read(block, 10);
    }
    assert.equal(a.buffers.pool.pinBlock(mine.reader.tag, 1, a.rootScope), buffer);
    a.buffers.pool.unpin(buffer, a.rootScope);
    hold.release();
    await mine.read(1, 1);
  });

  for (const [row, fails] of [
    ['RS-06', false],
    ['RS-07', true],
  ] as const) {
    it(`${row}: a stream over a block that another is reading${fails ? ', and fails to read' : ''}`, async () => {
      const { mine, theirs } = fresh();
      const readsBefore = a.counters().reads;
      const hold = holdIo(injection, b, 'workerBeforeReopen');
      const held = theirs.start(5);
      await hold.arrived();
      if (fails) injection.answer(-EIO, { owner: b.number });
      const blocks = [0, 2, 5, 7];
      let at = 0;
      const seen: number[] = [];
      const streaming = (async () => {
        for await (const buffer of a.readStream(mine.relation, {
          nextBlock: () => blocks[at++] ?? -1,
          full: true,
        })) {
          seen.push(buffer.block);
        }
      })();
      await untilTrue(() => seen.length === 2 && eventOf(a) === 'AioIoCompletion', streaming);
      assert.deepEqual(seen, [0, 2], 'it goes no further than the block that is held');
      const ioOfB = a.inFlight().find(({ owner, result }) => owner === b.number && result === null);
      assert.equal(waitOf(a)?.object, ioOfB?.id, 'and says for whose I/O it waits');
      const behind = a.buffers.pool.lookup(mine.reader.tag, 7, a.rootScope);
      assert.notEqual(behind, -1, 'the read of the block behind it has begun');
      a.buffers.pool.unpin(behind, a.rootScope);
      hold.release();
      await streaming;
      assert.deepEqual(seen, blocks);
      assert.equal(a.counters().reads - readsBefore, fails ? 5 : 4, 'it is read again only when that failed');
      if (fails) await assert.rejects(theirs.finish(held), { code: 'ERR_PGAIO_READ_EIO' });
      else await theirs.finish(held);
    });
  }

  if (variant.ioMaxConcurrency === 1)
    it('what a blocked thread waits for is seen by others', async () => {
      const reader = await BlockedReader.start(rig.instance.handle);
      const waitOfReader = (): BackendWait | undefined =>
        b.waits().find(({ backend }) => backend === reader.slot);
      const raw = new RawReads(a, rig.data.path);
      const hold = holdIo(injection, a, 'workerBeforeReopen');
      const reference = raw.start();
      await hold.arrived();
      const waiting = reader.waitFor(reference);
      await untilTrue(() => waitOfReader()?.event !== null, waiting);
      const event = 'AioIoCompletion';
      assert.deepEqual(waitOfReader(), { backend: reader.slot, event, object: reference.index });
      hold.release();
      await waiting;
      assert.equal(waitOfReader()?.event, null);
      raw.wait(reference);
      raw.close();
      await reader.close();
    });
});
