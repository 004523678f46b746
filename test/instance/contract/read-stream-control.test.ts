/** Rows, D-61, D-62, D-107, D-108, D-114 … D-116, D-118: what callers do with a read stream. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import { ReadStream } from '../../../src/read-stream/read-stream.js';
import { END_OF_STREAM, YIELD, type ReadStreamOptions } from '../../../src/read-stream/stream-options.js';
import { PENDING } from '../../../src/shmem/wait.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import {
  callbackOver,
  ioDone,
  noteEvents,
  pullAll,
  pullOne,
  range,
  rawStreamOver,
  readSizes,
} from '../../../testing/streams.js';

const BLOCKS = 120;

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ioMethod, sharedBuffers: '4MB', ioCombineLimit: '32kB', injection: injection.url });
    backend = rig.backend;
  });
  after(async () => rig.close());

  const fresh = (): SmgrRelation =>
    backend.openRelation(rig.data.path, rig.data.write(++lastRelation, BLOCKS));
  const pinned = (): number => backend.buffers.pool.pins.buffersPinned;

  for (const cached of [false, true]) {
    it(`X-05: paused by its callback every third call, ${cached ? 'a hit' : 'a miss'}: two buffers, the end twice, on`, async () => {
      const relation = fresh();
      if (cached) await pullAll(backend, rawStreamOver(backend, relation, [7]));
      let calls = 0;
      const stream: ReadStream = backend.rawReadStream(relation, () =>
        ++calls % 3 === 0 ? stream.pause() : 7,
      );
      for (let round = 1; round <= 3; round++) {
        assert.equal(await pullOne(backend, stream), 7);
        assert.equal(await pullOne(backend, stream), 7);
        assert.equal(await pullOne(backend, stream), END_OF_STREAM);
        assert.equal(await pullOne(backend, stream), END_OF_STREAM);
        assert.equal(calls, round * 3, 'while it is paused, it is not asked');
        stream.resume();
      }
      stream.close();
      assert.equal(pinned(), 0);
    });
  }

  it('X-06: a callback that yields every third call gives control back early', async () => {
    const relation = fresh();
    await pullAll(backend, rawStreamOver(backend, relation, [7]));
    let calls = 0;
    let given = 0;
    const yielding = (): number => (++calls % 3 === 2 ? YIELD : (given++, 7));
    // With data a cached stream is looked ahead one block, which is what PostgreSQL's always does.
    const stream = backend.rawReadStream<object>(relation, yielding, { perBufferData: () => ({}) });
    const seen: [number, number][] = [];
    for (let pull = 0; pull < 6; pull++) {
      assert.equal(await pullOne(backend, stream), 7);
      seen.push([given, stream.stats.yields]);
    }
    assert.deepEqual(
      seen,
      [1, 3, 3, 5, 5, 7].map((blocks, at) => [blocks, [1, 1, 2, 2, 3, 3][at]]),
    );
    stream.close();
  });

  it('X-06: without look-ahead a yield costs a question; one that never ends is a mistake', async () => {
    const relation = fresh();
    let calls = 0;
    const stream = backend.rawReadStream(relation, () => (++calls % 2 === 1 ? YIELD : calls));
    for (const block of [2, 4, 6]) assert.equal(await pullOne(backend, stream), block);
    stream.close();
    const stuck = backend.rawReadStream(relation, () => YIELD);
    await assert.rejects(pullOne(backend, stuck), /yields again and again/);
    assert.equal(pinned(), 0);
  });

  it('D-114: a pause keeps the distances, what is read ahead still comes, and a new loop goes on', async () => {
    const stream = backend.readStream(fresh(), { nextBlock: callbackOver(range(0, BLOCKS)) });
    const seen: number[] = [];
    for await (const buffer of stream) {
      seen.push(buffer.block);
      if (seen.length === 20) stream.pause();
    }
    const { distance } = stream;
    assert.ok(seen.length >= 20 && seen.length < BLOCKS, `${seen.length} blocks came`);
    assert.ok(distance.combine === 4);
    assert.equal((await stream.next()).done, true);
    assert.equal(pinned(), 0);
    stream.resume();
    assert.deepEqual(stream.distance, distance);
    for await (const buffer of stream) seen.push(buffer.block);
    assert.deepEqual(seen, range(0, BLOCKS));
    stream.resume(); // not paused: it has ended
    assert.equal((await stream.next()).done, true);
  });

  it('D-115: reset unpins what was read ahead, begins with distances of one, and asks again', async () => {
    const relation = fresh();
    let asked = 0;
    const nextBlock = (): number => (asked < 60 ? asked++ : END_OF_STREAM);
    const stream = backend.readStream(relation, { nextBlock, full: true });
    const first = await stream.next();
    assert.equal(first.value?.block, 0);
    assert.ok(pinned() > 1 && asked > 1);
    stream.reset();
    assert.equal(pinned(), 1, 'only the buffer that is in use');
    assert.deepEqual(stream.distance, { lookAhead: 1, combine: 1 });
    const rest = asked;
    const seen: number[] = [];
    for await (const buffer of stream) seen.push(buffer.block);
    assert.deepEqual(seen, range(rest, 60), 'the blocks that were given up are not asked for again');
    asked = 10;
    stream.reset(); // also forgets the end
    assert.equal((await stream.next()).value?.block, 10);
    stream.close();
    assert.equal(pinned(), 0);
    assert.throws(() => stream.reset(), { code: 'ERR_PGAIO_CLOSED' });
    await ioDone(backend);
    assert.deepEqual(backend.inFlight(), []);
  });

  it('D-62: buffers pinned behind a hit are forwarded, and given back if the stream stops there', async () => {
    const blocks = new BlockReads(backend, rig.data.path, rig.data.write(++lastRelation, BLOCKS));
    await blocks.read(2, 1);
    const op = blocks.start(0, 4);
    assert.deepEqual([op.count, op.pinned], [2, 3]);
    blocks.abandon(op);
    assert.equal(pinned(), 0);
    await ioDone(backend);
    if (ioMethod === 'sync') return; // the next read would be made at once
    await blocks.read(12, 1);
    const { pool } = backend.buffers;
    for (const stop of ['close', 'reset'] as const) {
      const held = new BlockReads(backend, rig.data.path, rig.data.write(++lastRelation, BLOCKS));
      await held.read(12, 1);
      const hold = holdIo(injection, backend, 'beforeSharedCompletion');
      const stream = rawStreamOver(backend, held.relation, range(10, 20), { full: true, ioConcurrency: 1 });
      assert.equal(stream.next(), PENDING);
      await hold.arrived();
      assert.deepEqual(
        [pinned(), pool.lookAheadPins],
        [3, 3],
        'blocks 10 and 11, and 12 for the next operation',
      );
      stream[stop]();
      assert.deepEqual([pinned(), pool.lookAheadPins], [0, 0]);
      hold.release();
      await ioDone(backend);
      stream.close();
    }
  });

  it('D-61: the waiting call says whether it had to wait; a read that must be continued counts', async () => {
    const blocks = new BlockReads(backend, rig.data.path, rig.data.write(++lastRelation, BLOCKS));
    const { buffers } = backend;
    const whole = blocks.start(0, 2);
    await ioDone(backend);
    assert.equal(buffers.wait(whole), false);
    blocks.abandon(whole);
    injection.answer(8192, { block: 10, times: 1 });
    const partial = blocks.start(10, 2);
    await ioDone(backend);
    assert.equal(await backend.aio.waits.until(() => buffers.wait(partial)), true);
    blocks.check(partial);
    blocks.abandon(partial);
    const deferred = blocks.begin(20);
    deferred.deferred = true;
    blocks.startStep(deferred, 2);
    assert.ok(deferred.needsWait && !deferred.inFlight);
    assert.equal(await backend.aio.waits.until(() => buffers.wait(deferred)), true);
    blocks.check(deferred);
    blocks.abandon(deferred);
    assert.equal(pinned(), 0);
  });

  it('D-108: what the callback says about a block is beside its buffer until the next pull', async () => {
    interface Note {
      block: number;
      order: number;
    }
    const notes = new Set<Note>();
    const list = [...range(0, 50), ...range(10, 30), 7, 7, 90, 3];
    let order = 0;
    const options = {
      perBufferData: (): Note => {
        const note = { block: -1, order: -1 };
        notes.add(note);
        return note;
      },
      nextBlock: (note: Note): number => {
        const block = list[order] ?? END_OF_STREAM;
        note.block = block;
        note.order = order++;
        return block;
      },
    };
    const relation = fresh();
    for (const ioConcurrency of [0, 1, 16]) {
      order = 0;
      notes.clear();
      const stream = backend.readStream(relation, { ...options, ioConcurrency });
      let pulled = 0;
      for await (const buffer of stream) {
        assert.deepEqual(stream.data, { block: buffer.block, order: pulled });
        assert.ok(notes.has(stream.data));
        assert.equal(buffer.block, list[pulled++]);
      }
      assert.equal(pulled, list.length);
      assert.ok(notes.size <= 256, 'slots are used again');
    }
  });

  it('D-108, D-115: what was said about the buffer in use stays beside it through reset and close', async () => {
    let asked = 0;
    const options = {
      full: true,
      perBufferData: () => ({ block: -1 }),
      nextBlock: (note: { block: number }): number => (note.block = asked++),
    };
    for (const stop of ['reset', 'close'] as const) {
      asked = 0;
      const stream = backend.readStream(fresh(), options);
      assert.equal((await stream.next()).value?.block, 0);
      assert.ok(asked > 1);
      const before = stream.data;
      assert.equal(before.block, 0);
      if (stop === 'reset') stream.reset();
      else stream.close();
      assert.equal(stream.data, before);
      stream.close();
    }
    await ioDone(backend);
  });

  it('D-114: what went wrong with blocks read ahead is not passed over by resuming', async () => {
    const missing = 131_072; // in a segment that is not there
    const list = [0, 2, missing, 'pause', 5, 6, END_OF_STREAM] as const;
    let asked = 0;
    const stream: ReadStream = backend.rawReadStream(
      fresh(),
      () => {
        const next = list[asked++] ?? END_OF_STREAM;
        return next === 'pause' ? stream.pause() : next;
      },
      { full: true },
    );
    assert.equal(await pullOne(backend, stream), 0);
    stream.resume();
    assert.equal(await pullOne(backend, stream), 2);
    await assert.rejects(pullOne(backend, stream), /ENOENT/);
    assert.equal(pinned(), 0);
    await ioDone(backend);
  });

  it('D-118: a stream that is closed, by its callback too, is over: no block, no error, no pin', async () => {
    let asked = 0;
    const stream: ReadStream = backend.rawReadStream(
      fresh(),
      () => {
        if (asked === 3) stream.close();
        return asked++;
      },
      { full: true },
    );
    assert.equal(await pullOne(backend, stream), END_OF_STREAM);
    assert.equal(pinned(), 0);
    const failing = rawStreamOver(backend, fresh(), [0, 2, 131_072], { full: true });
    assert.equal(await pullOne(backend, failing), 0);
    failing.close();
    assert.equal(await pullOne(backend, failing), END_OF_STREAM);
    assert.equal(pinned(), 0);
    await ioDone(backend);
  });

  it('D-107: at its end it does not look ahead any more, and its distance stays', async () => {
    let asked = 0;
    const relation = fresh();
    const list = callbackOver(range(0, 9));
    const stream = backend.rawReadStream(relation, () => (asked++, list()), { full: true });
    while (asked < 10) await pullOne(backend, stream);
    const { distance } = stream;
    await pullAll(backend, stream);
    assert.equal(await pullOne(backend, stream), END_OF_STREAM);
    assert.equal(asked, 10);
    assert.deepEqual(stream.distance, distance);
  });

  it('D-116: concurrency and combine limit are those of when it was made', async () => {
    const relation = fresh();
    const events = noteEvents(relation);
    const options: ReadStreamOptions = {
      ioConcurrency: 2,
      combineLimit: 4,
      full: true,
      batchMode: false,
      deferred: ioMethod === 'sync',
      advice: false,
      mayBlock: true,
      strategy: null,
      perBufferData: null,
    };
    const reader = backend.buffers.reader(relation, 0);
    const nextBlock = callbackOver(range(0, 40));
    const stream = new ReadStream(backend.buffers, reader, backend.rootScope, nextBlock, options);
    await pullOne(backend, stream);
    options.combineLimit = 1;
    options.ioConcurrency = 30;
    await pullAll(backend, stream);
    assert.deepEqual(readSizes(events), range(0, 10).fill(4));
    assert.equal(stream.stats.distanceCapacity, 12);
    assert.ok(stream.stats.inFlightSum <= 2 * stream.stats.ios);
  });

  it('D-118: it counts what it did', async () => {
    const stream = rawStreamOver(backend, fresh(), range(0, 40), { ioConcurrency: 0 });
    await pullAll(backend, stream);
    const { stats } = stream;
    assert.equal(stats.buffers, 40);
    assert.equal(stats.distanceCapacity, 4);
    assert.deepEqual([stats.ios, stats.ioBlocks, stats.waits, stats.inFlightSum], [12, 40, 12, 12]);
    assert.ok(stats.distanceMax === 4 && stats.distanceSum >= 40 && stats.distanceSum <= 160);
    assert.deepEqual([stats.advices, stats.yields], [0, 0]);
    const cached = rawStreamOver(backend, fresh(), [5, 5, 5, 5]);
    await pullAll(backend, cached);
    assert.deepEqual([cached.stats.buffers, cached.stats.ios, cached.stats.ioBlocks], [4, 1, 1]);
  });

  it('a loop over cached blocks lets others have their turn', async () => {
    const relation = fresh();
    let left = 3_000_000;
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    for await (const buffer of backend.readStream(relation, {
      nextBlock: () => (left-- > 0 ? 3 : END_OF_STREAM),
    })) {
      assert.equal(buffer.block, 3);
      if (turned) break;
    }
    assert.ok(turned, 'three million buffers without a turn of the loop');
  });
});
