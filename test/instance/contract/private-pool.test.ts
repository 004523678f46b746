/**
 * Rows S-10 … S-13, RS-04, RS-05, D-44 … D-46, D-73 and D-117 of the contract: private pools. What reads through them
 * have in common with reads through the shared pool is in block-reads.test.ts.
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, it } from 'node:test';
import type { WaitReference } from '../../../src/aio/handle.js';
import { Ring } from '../../../src/aio/method/io-uring/ring.js';
import { HandleState } from '../../../src/aio/states.js';
import { Claim } from '../../../src/buffer/buffer-io.js';
import type { Pending } from '../../../src/shmem/wait.js';
import type { Backend } from '../../../src/instance/backend.js';
import { listedBlocks } from '../../../src/read-stream/block-sources.js';
import { Fork } from '../../../src/smgr/relation.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { stampOf } from '../../../testing/relations.js';
import { untilTrue } from '../../../testing/turns.js';

const { EAGAIN, EIO } = constants.errno;
const BLOCKS = 20;
const POOL_BLOCKS = 100;

forEachVariant((variant) => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let b: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url, tempBuffers: POOL_BLOCKS * 8192 });
    a = rig.backend;
    b = await rig.attach();
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
    injection.disarm('workerDequeued');
  });
  after(async () => rig.close());

  /** A private relation of a backend's that nobody has read yet. */
  function fresh(owner = a, blocks = BLOCKS): BlockReads {
    const locator = rig.data.write(++lastRelation, blocks, { backend: owner.number });
    return new BlockReads(owner, rig.data.path, locator);
  }
  const physicalReads = (): number => a.counters().reads;

  async function pull(relation: SmgrRelation, blocks: readonly number[]): Promise<void> {
    const seen: number[] = [];
    for await (const buffer of a.readStream(relation, { nextBlock: listedBlocks(blocks) })) {
      assert.deepEqual(stampOf(buffer.page), {
        relation: relation.locator.relation,
        block: buffer.block,
        version: 0,
      });
      seen.push(buffer.block);
    }
    assert.deepEqual(seen, blocks);
  }

  it('the pool is made at its first use, as large as tempBuffers', async () => {
    const owner = await rig.attach();
    const blocks = rig.data.write(++lastRelation, BLOCKS, { backend: owner.number });
    const relation = owner.openRelation(rig.data.path, blocks);
    assert.equal(relation.blockCount(Fork.MAIN), BLOCKS);
    const made = (): number | undefined => owner.parts.privatePool?.pool.region.count;
    assert.equal(made(), undefined);
    (await owner.readBlock(relation, 3)).release();
    assert.equal(made(), POOL_BLOCKS);
    owner.pinCached(relation, 3)?.release();
    assert.equal(owner.pinCached(relation, 4), null);
    assert.equal(owner.buffers.misses, 0, 'the shared pool has nothing to do with it');
  });

  it('D-117: a relation that is private to another backend is not read; it can be opened and looked at', async () => {
    const { relation } = fresh();
    const theirs = b.openRelation(rig.data.path, relation.locator);
    const path = `base/5/t${a.number}_${lastRelation}`;
    const error = {
      name: 'PrivateRelationError',
      code: 'ERR_PGAIO_PRIVATE_RELATION',
      message: `relation "${path}" is private to backend ${a.number}; backend ${b.number} cannot read it`,
      path,
    };
    assert.throws(() => b.readStream(theirs), error);
    assert.throws(() => b.rawReadStream(theirs, () => 0), error);
    assert.throws(() => b.pinCached(theirs, 0), error);
    await assert.rejects(b.readBlock(theirs, 0), error);
    assert.equal(theirs.blockCount(Fork.MAIN), BLOCKS);
    b.closeRelation(theirs);
    assert.throws(() => a.buffers.reader(relation, Fork.MAIN), { name: 'AssertionFailure' });
    assert.throws(() => a.openRelation(rig.data.path, { relation: 1, tablespace: 1664, backend: 0 }), {
      name: 'RangeError',
    });
  });

  it('G-04: messages name the path of the private relation', async () => {
    const damaged = rig.data.write(++lastRelation, 4, { backend: a.number, damaged: { 1: 'header' } });
    const relation = a.openRelation(rig.data.path, damaged);
    const path = `base/5/t${a.number}_${lastRelation}`;
    await assert.rejects(a.readBlock(relation, 1), {
      message: `invalid page in block 1 of relation "${path}"`,
      path,
    });
    await assert.rejects(a.readBlock(relation, 9), { name: 'ShortReadError', path });
    await untilTrue(() => rig.log.some(({ message }) => message.includes(path))); // the log's reader is not in a hurry
  });

  it('S-10 … S-13: claims on private buffers; a second one is refused, also without an I/O', () => {
    const { buffers, reader } = fresh();
    const { bufferIo, pool } = buffers;
    const buffer = pool.pinBlock(reader.tag, 3, a.rootScope);
    assert.equal(bufferIo.claim(buffer), Claim.READY, 'S-10');
    assert.equal(bufferIo.claim(buffer), Claim.IN_PROGRESS, 'S-11');
    assert.ok(!bufferIo.hasReference);
    bufferIo.giveUp(buffer);
    assert.equal(bufferIo.claim(buffer), Claim.READY, 'S-12');
    bufferIo.attach(buffer, 0, 0x0fff_ffff);
    bufferIo.terminate(buffer, 0, 0x0fff_ffff, true);
    assert.equal(bufferIo.claim(buffer), Claim.ALREADY_DONE, 'S-13');
    assert.equal(bufferIo.waitForClaim(a.aio.waits, buffer), true);
    pool.unpin(buffer, a.rootScope);
  });

  it('S-11: a task waits for the claim of another task of its thread; the thread itself does not', async () => {
    const { buffers, reader } = fresh();
    const { bufferIo, pool } = buffers;
    const buffer = pool.pinBlock(reader.tag, 3, a.rootScope);
    bufferIo.claim(buffer);
    const step = (): true | Pending => bufferIo.waitForClaim(a.aio.waits, buffer);
    assert.throws(() => a.aio.waits.block(step), /would wait for this thread itself/);
    const { hooks } = a.aio.waits;
    const { checkSupervised } = hooks;
    let slices = 0;
    hooks.checkSupervised = () => {
      slices++;
    };
    const waiting = a.aio.waits.until(step);
    bufferIo.giveUp(buffer);
    await waiting;
    hooks.checkSupervised = checkSupervised;
    assert.equal(slices, 0, 'it was woken');
    pool.unpin(buffer, a.rootScope);
  });

  it('D-46: with an I/O in flight a second claim gets its reference, and nothing is read twice', async () => {
    const blocks = fresh();
    const { bufferIo, misses } = blocks.buffers;
    const first = blocks.start(3, 2);
    assert.equal(bufferIo.claim(first.buffer(1)), Claim.IN_PROGRESS);
    assert.deepEqual(
      [bufferIo.hasReference, bufferIo.ioHandle, bufferIo.ioGeneration],
      [true, first.ioHandle, first.ioGeneration],
    );
    const streams = [blocks.relation, blocks.relation].map((relation) => a.readStream(relation));
    const seen: number[][] = [[], []];
    for (let block = 0; block < BLOCKS; block++) {
      for (const [at, stream] of streams.entries()) {
        const { value } = await stream.next();
        seen[at]?.push(value === undefined ? -1 : stampOf(value.page).block);
      }
    }
    const all = Array.from({ length: BLOCKS }, (_, block) => block);
    assert.deepEqual(seen, [all, all]);
    for (const stream of streams) assert.equal((await stream.next()).done, true);
    await blocks.finish(first);
    assert.equal(blocks.buffers.misses - misses, BLOCKS);
    const before = physicalReads();
    await blocks.read(0, BLOCKS);
    assert.equal(physicalReads(), before);
  });

  it('RS-04, RS-05: the same private block twice within the look-ahead is read once; then all are hits', async () => {
    const { relation } = fresh();
    const reads = physicalReads();
    await pull(relation, [0, 2, 2, 4, 4]);
    assert.equal(physicalReads(), reads + 3);
    await pull(relation, [0, 2, 2, 4, 4]);
    assert.equal(physicalReads(), reads + 3);
  });

  it('D-44: tasks that want the same private blocks with few handles do not deadlock', async () => {
    const blocks = fresh();
    const { misses } = blocks.buffers;
    await Promise.all(Array.from({ length: 12 }, (_, at) => blocks.read(at % 4, 16)));
    assert.equal(blocks.buffers.misses - misses, 19);
  });

  it('reads that nobody waited for give their buffers back when the pool needs them', async () => {
    const blocks = fresh(a, 3 * POOL_BLOCKS);
    for (let block = 0; block < 3 * POOL_BLOCKS; block += 10) blocks.abandon(blocks.start(block, 10));
    await blocks.read(0, 10);
  });

  it('a full pool is an error that says who has it', async () => {
    const blocks = fresh(a, POOL_BLOCKS + 1);
    await assert.rejects(
      a.scope(async (scope) => {
        for (let block = 0; block <= POOL_BLOCKS; block++)
          await a.readBlock(blocks.relation, block, { scope });
      }),
      { code: 'ERR_PGAIO_NO_UNPINNED_BUFFERS', detail: /100 are pinned: 100 by this backend/ },
    );
    await blocks.read(0, 10);
  });

  it('pins on private and shared buffers belong to one scope, and are missed one pool at a time', async () => {
    const mine = fresh();
    const shared = new BlockReads(a, rig.data.path, rig.data.write(++lastRelation, BLOCKS));
    const warned = rig.warnings.length;
    await a.scope(async (scope) => {
      for (const block of [1, 2, 3]) await a.readBlock(mine.relation, block, { scope });
      await a.readBlock(shared.relation, 1, { scope });
    });
    assert.deepEqual(rig.warnings.slice(warned), [
      '1 buffer pin(s) were not released by their scope',
      '3 private buffer pin(s) were not released by their scope',
    ]);
    assert.equal(mine.buffers.pool.pins.buffersPinned, 0);
  });

  it('a backend that closes finishes its private reads first', async () => {
    const owner = await rig.attach();
    const blocks = fresh(owner);
    for (let block = 0; block < BLOCKS; block += 5) blocks.abandon(blocks.start(block, 5));
    const { pool, bufferIo } = blocks.buffers;
    await owner.close();
    for (let block = 0; block < BLOCKS; block++) {
      const buffer = pool.lookup(blocks.reader.tag, block, a.rootScope);
      assert.ok(buffer >= 0 && bufferIo.isValid(buffer), `block ${block}`);
      pool.unpin(buffer, a.rootScope);
    }
  });

  if (variant.ioMethod !== 'io_uring') {
    it('D-73: private reads run in their issuer, inside the start call, whatever is queued or in a batch', async () => {
      const blocks = fresh();
      const { inlineExecutions, submissions } = a.counters();
      injection.throwAt('workerDequeued', { owner: a.number });
      const op = a.aio.batch(a.rootScope, () => {
        const started = blocks.start(2, 3);
        assert.equal(a.aio.thread.table.handle(started.ioHandle).state, HandleState.COMPLETED_SHARED);
        return started;
      });
      assert.ok(
        !blocks.buffers.bufferIo.isValid(op.buffer(0)),
        'D-45: its buffers are ended when it is reclaimed',
      );
      await blocks.finish(op);
      assert.equal(a.counters().inlineExecutions, inlineExecutions + 1);
      assert.equal(a.counters().submissions, submissions);
    });
    return;
  }

  /** b waits for an I/O of a's, whose ring it may have to reap; a does not look meanwhile. */
  const waitAsOther = (reference: WaitReference): Promise<true> =>
    b.aio.waits.until(() => b.aio.waitForReference(reference));

  it('D-45: whoever takes the answers from the ring leaves private frames to their owner', async () => {
    if (variant.ioMaxConcurrency === 1) return; // it takes two handles
    const mine = fresh();
    const shared = new BlockReads(a, rig.data.path, rig.data.write(++lastRelation, BLOCKS));
    const theirs = fresh(b, POOL_BLOCKS);
    for (let block = 0; block < POOL_BLOCKS; block += 10) await theirs.read(block, 10);
    const hold = holdIo(injection, a, 'beforeSharedCompletion');
    injection.answer(-EIO, { owner: a.number, block: 7, times: 1 });
    const op = mine.start(7, 4);
    const other = shared.start(1);
    hold.release();
    await waitAsOther({ index: other.ioHandle, generation: other.ioGeneration });
    const io = a.aio.thread.table.handle(op.ioHandle);
    assert.equal(io.state, HandleState.COMPLETED_SHARED);
    assert.equal(mine.buffers.bufferIo.isRunning(op.buffer(0), op.ioHandle, op.ioGeneration), true);
    assert.ok(!mine.buffers.bufferIo.isValid(op.buffer(0)));
    await shared.finish(other);
    await assert.rejects(mine.finish(op), { code: 'ERR_PGAIO_READ_EIO', firstBlock: 7, lastBlock: 10 });
    // What the hook wipes in memory of this number would have been b's own.
    for (let block = 0; block < POOL_BLOCKS; block++) {
      const buffer = b.pinCached(theirs.relation, block);
      assert.equal(buffer === null ? -1 : stampOf(buffer.page).block, block);
      buffer?.release();
    }
    await mine.read(7, 4);
  });

  it('D-46: what another has only staged of its private I/O, nobody takes over', async () => {
    const blocks = fresh();
    a.aio.enterBatch(a.rootScope);
    const op = blocks.start(2, 2);
    const io = a.aio.thread.table.handle(op.ioHandle);
    const { takenOver } = a.counters();
    const waiting = waitAsOther({ index: op.ioHandle, generation: op.ioGeneration });
    const row = b.inFlight().find(({ id }) => id === io.index);
    a.aio.exitBatch();
    assert.deepEqual(
      [row?.state, row?.referencesLocal, row?.targetDescription],
      ['STAGED', true, `base/5/t${a.number}_${lastRelation}`],
    );
    await waiting;
    assert.equal(a.counters().takenOver, takenOver);
    await blocks.finish(op);
  });

  it('D-45: what the kernel gives back as it was is left to its issuer, whoever takes it from the ring', async (t) => {
    const blocks = fresh();
    const hold = holdIo(injection, a, 'beforeSharedCompletion');
    const op = blocks.start(2, 3);
    const io = a.aio.thread.table.handle(op.ioHandle);
    const reference = { index: op.ioHandle, generation: op.ioGeneration };
    hold.release();
    const answer = t.mock.method(Ring.prototype, 'completedResult', () => -EAGAIN);
    const waiting = waitAsOther(reference);
    await untilTrue(() => io.ring < 0, waiting);
    answer.mock.restore();
    assert.deepEqual([io.state, io.executor], [HandleState.SUBMITTED, -1]);
    await blocks.finish(op);
    await waiting;
  });
});
