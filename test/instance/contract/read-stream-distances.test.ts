/** Rows RS-01 … RS-03, D-101 … D-104, D-111 … D-113: how far a read stream looks ahead, how it reads, and whom it tells. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import type { StreamOptions } from '../../../src/instance/relation-options.js';
import { loadAddon } from '../../../src/native/addon.js';
import type { ReadStream } from '../../../src/read-stream/read-stream.js';
import { END_OF_STREAM } from '../../../src/read-stream/stream-options.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../../testing/instances.js';
import {
  ioDone,
  noteEvents,
  pullAll,
  pullOne,
  range,
  rawStreamOver,
  readSizes,
} from '../../../testing/streams.js';

const BLOCKS = 300;
const ONE = { lookAhead: 1, combine: 1 };

forEachMethod((ioMethod) => {
  let rig: Rig;
  let backend: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({
      ioMethod,
      sharedBuffers: '4MB',
      ioCombineLimit: '32kB',
      maintenanceIoConcurrency: 1,
    });
    backend = rig.backend;
  });
  after(async () => rig.close());

  const fresh = (): SmgrRelation =>
    backend.openRelation(rig.data.path, rig.data.write(++lastRelation, BLOCKS));
  const pinned = (): number => backend.buffers.pool.pins.buffersPinned;
  const inline = (): number => backend.counters().inlineExecutions;

  it('D-102: storage that is never waited for is hardly read ahead of, in I/Os of the combine limit', async () => {
    const relation = fresh();
    const events = noteEvents(relation);
    const stream = rawStreamOver(backend, relation, range(0, 100));
    assert.deepEqual(await pullAll(backend, stream, true), range(0, 100));
    assert.deepEqual(readSizes(events).slice(0, 6), [1, 2, 4, 4, 4, 4]);
    if (ioMethod === 'sync') return; // its reads are made when they are waited for
    assert.ok(stream.distance.lookAhead <= 2 && stream.stats.waits <= 1);
    assert.equal(stream.distance.combine, 4);
  });

  it('D-102: each wait doubles the look-ahead, up to the budget', async () => {
    const stream = rawStreamOver(backend, fresh(), range(0, 200), {
      ioConcurrency: ioMethod === 'sync' ? 16 : 0,
    });
    const seen: number[] = [];
    while ((await pullOne(backend, stream)) !== END_OF_STREAM) {
      if (seen.at(-1) !== stream.distance.lookAhead) seen.push(stream.distance.lookAhead);
    }
    assert.deepEqual(seen, ioMethod === 'sync' ? [2, 4, 8, 16, 32, 64, 68] : [2, 4]);
  });

  it('D-103: one miss in ten keeps it looking ahead; a long run of hits ends that', async () => {
    const relation = fresh();
    await pullAll(backend, rawStreamOver(backend, relation, range(0, 90)));
    const mixed = range(0, 200).map((at) => (at % 10 === 9 ? 100 + at : (at * 7) % 90));
    const cached = range(0, 300).map((at) => (at * 7) % 90);
    let at = 0;
    const list = [...mixed, ...cached];
    const stream = backend.rawReadStream(relation, () => list[at++] ?? END_OF_STREAM, { ioConcurrency: 4 });
    for (const block of mixed) assert.equal(await pullOne(backend, stream), block);
    assert.ok(
      stream.distance.combine === 4 && stream.distance.lookAhead > 1,
      JSON.stringify(stream.distance),
    );
    for (const block of cached) assert.equal(await pullOne(backend, stream), block);
    assert.deepEqual(stream.distance, ONE);
    assert.equal(stream.stats.ios, 20);
  });

  it('D-104: with concurrency 0, one I/O at a time, executed by this thread, growing to the combine limit', async () => {
    const relation = fresh();
    const events = noteEvents(relation);
    const before = inline();
    const stream = rawStreamOver(backend, relation, range(0, 40), { ioConcurrency: 0 });
    assert.deepEqual(await pullAll(backend, stream), range(0, 40));
    assert.deepEqual(readSizes(events), [1, 2, ...range(0, 9).fill(4), 1]);
    assert.equal(inline() - before, 12);
    assert.equal(stream.stats.inFlightSum, 12);
    assert.equal(stream.stats.waits, 12);
  });

  it('D-101: what it pins is bounded by concurrency, ring, and the backend’s share of the pool', async () => {
    const capacity = (options: StreamOptions): number =>
      rawStreamOver(backend, relation, [], options).stats.distanceCapacity;
    const relation = fresh();
    assert.equal(capacity({ ioConcurrency: 3 }), 16);
    assert.equal(capacity({ ioConcurrency: 0 }), 4);
    assert.equal(capacity({}), 68);
    assert.equal(capacity({ maintenance: true }), 8);
    assert.equal(
      capacity({ ioConcurrency: 1000 }),
      256,
      'half of 512 buffers: one backend, and some for others',
    );
    assert.equal(
      capacity({ ioConcurrency: 1000, strategy: 'bulkread' }),
      63,
      'an eighth of the pool, but for one',
    );
    assert.equal(capacity({ ioConcurrency: 1000, strategy: 'vacuum' }), 32, 'half the ring');
    const others = [await rig.attach(), await rig.attach()];
    assert.equal(capacity({ ioConcurrency: 1000 }), 128, 'a quarter: three backends');
    for (const other of others) await other.close();
    for (const strategy of [null, 'bulkread', 'vacuum'] as const) {
      const stream = rawStreamOver(backend, fresh(), range(0, 200), { ioConcurrency: 100, strategy });
      let most = 0;
      for (let block = 0; block < 200; block++) {
        assert.equal(await pullOne(backend, stream), block);
        most = Math.max(most, pinned());
      }
      stream.close();
      assert.ok(most <= stream.stats.distanceCapacity + 4, `${most} of ${stream.stats.distanceCapacity}`);
    }
  });

  it('D-101: streams of a backend share its limit, and each gets on with one buffer', async () => {
    const { pool } = backend.buffers;
    const streams = range(0, 6).map((first) =>
      rawStreamOver(backend, fresh(), range(first, first + 200), { ioConcurrency: 1000, full: true }),
    );
    for (let at = 0; at < 200; at++) {
      for (const [first, stream] of streams.entries())
        assert.equal(await pullOne(backend, stream), first + at);
      assert.ok(pool.lookAheadPins <= pool.pinLimit + streams.length * 4, `${pool.lookAheadPins} pins`);
    }
    for (const stream of streams) stream.close();
    assert.equal(pool.lookAheadPins, 0);
  });

  it('D-101: a scope that ends with a stream in it gives its share back', async () => {
    rig.log.length = 0;
    await backend.scope(async (scope) => {
      await pullOne(backend, rawStreamOver(backend, fresh(), range(0, 50), { scope, full: true }));
      assert.ok(scope.lookAheadPins[0] > 0);
    });
    assert.equal(backend.buffers.pool.lookAheadPins, 0);
    assert.match(rig.warnings.join(), /pin\(s\) were not released/);
    await ioDone(backend);
  });

  it('D-111: a hole in what is cached is read by the thread that blocks anyway, and the fast path left', async () => {
    const relation = fresh();
    const hits = range(0, 30).filter((block) => block !== 13);
    await pullAll(backend, rawStreamOver(backend, relation, hits));
    const before = inline();
    const stream = rawStreamOver(backend, relation, range(0, 30));
    for (let block = 0; block < 13; block++) assert.equal(await pullOne(backend, stream), block);
    assert.deepEqual(stream.distance, ONE);
    assert.equal(await pullOne(backend, stream), 13);
    assert.equal(inline() - before, 1);
    assert.deepEqual(stream.distance, { lookAhead: 2, combine: 2 });
    assert.deepEqual(await pullAll(backend, stream), range(14, 30));
    assert.deepEqual([stream.stats.ios, stream.stats.ioBlocks, stream.stats.waits], [1, 1, 1]);
    // An event loop is not blocked for it; the method sync has no other way.
    await pullAll(backend, rawStreamOver(backend, relation, range(40, 60)));
    const blocks: number[] = [];
    const list = range(40, 62);
    for await (const { block } of backend.readStream(relation, {
      nextBlock: () => list.shift() ?? END_OF_STREAM,
    }))
      blocks.push(block);
    assert.deepEqual(blocks, range(40, 62));
  });

  it('D-113: several I/Os are submitted in one call only if the callback allows for it', async () => {
    const { ops } = backend.aio;
    const submit = ops.submit.bind(ops);
    const sizes: number[] = [];
    ops.submit = (staged, count) => {
      sizes.push(count);
      submit(staged, count);
    };
    try {
      const scattered = range(0, 20).map((at) => at * 10);
      for (const batchMode of [false, true]) {
        sizes.length = 0;
        const stream = rawStreamOver(backend, fresh(), scattered, { batchMode, full: true });
        assert.deepEqual(await pullAll(backend, stream), scattered);
        if (ioMethod === 'sync') assert.deepEqual(sizes, []);
        else assert.equal(Math.max(...sizes) > 1, batchMode, sizes.join());
      }
    } finally {
      ops.submit = submit;
    }
  });

  it('D-112: method sync advises the kernel of reads that it cannot foresee, and of nothing else', async (t) => {
    if (ioMethod === 'sync' && loadAddon() === null) {
      t.skip('the addon, which gives the advice, is not there');
      return;
    }
    const jumps = [5, 100, 50, 150, 20, 250, 200, 30];
    const run = range(260, 300);
    const eventsOf = async (
      blocks: readonly number[],
      options: StreamOptions = {},
    ): Promise<{ events: ReturnType<typeof noteEvents>; stream: ReadStream }> => {
      const relation = fresh();
      const events = noteEvents(relation);
      const stream = rawStreamOver(backend, relation, blocks, options);
      assert.deepEqual(await pullAll(backend, stream), blocks);
      return { events, stream };
    };
    const { events, stream } = await eventsOf([...jumps, ...run]);
    const advised = events.filter(({ what }) => what === 'advise').map(({ block }) => block);
    assert.equal(stream.stats.advices, advised.length);
    for (const options of [{ sequential: true }, { ioConcurrency: 0 }])
      assert.equal((await eventsOf(jumps, options)).stream.stats.advices, 0);
    assert.equal((await eventsOf(range(0, 100))).stream.stats.advices, 0, 'a run that begins with a read');
    if (ioMethod !== 'sync') {
      assert.deepEqual(advised, []);
      return;
    }
    assert.ok(!advised.includes(5), 'the first is read at once');
    assert.ok(advised.includes(250) && advised.includes(200) && advised.includes(260), advised.join());
    const order = (what: string, block: number): number =>
      events.findIndex((event) => event.what === what && event.block === block);
    for (const block of advised) assert.ok(order('advise', block) < order('read', block), `block ${block}`);
    const caughtUp = order('read', 260);
    assert.ok(
      events.slice(caughtUp).every(({ what }) => what === 'read'),
      'the kernel has seen the run by then',
    );
  });

  it('RS-01, RS-02, RS-03: blocks that come again within the look-ahead, in flight and as hits, are read once', async () => {
    const rows = [
      [0, 2, 2, 4, 4],
      [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0],
    ];
    await withRig({ ioMethod, ioCombineLimit: '8kB' }, async (small) => {
      for (const [relation, blocks] of rows.entries()) {
        const opened = small.backend.openRelation(small.data.path, small.data.write(relation + 1, 8));
        const events = noteEvents(opened);
        for (const round of ['miss', 'hit']) {
          const stream = rawStreamOver(small.backend, opened, blocks, { full: true });
          assert.deepEqual(stream.distance, ONE);
          assert.deepEqual(await pullAll(small.backend, stream), blocks, round);
          assert.equal(readSizes(events).length, new Set(blocks).size, round);
        }
      }
    });
  });

  it('a whole scan takes a ring of its own if the pool cannot keep the relation', async () => {
    await withRig({ ioMethod, sharedBuffers: '1MB', ioCombineLimit: '32kB' }, async (small) => {
      const { pool } = small.backend.buffers;
      const open = (relation: number, blocks: number): SmgrRelation =>
        small.backend.openRelation(small.data.path, small.data.write(relation, blocks));
      const hot = open(1, 64);
      const large = open(2, 300);
      for await (const { block } of small.backend.readStream(hot)) assert.ok(block < 64);
      assert.equal(small.backend.readStream(large).stats.distanceCapacity, 15, 'an eighth of the pool');
      let count = 0;
      for await (const { block } of small.backend.readStream(large)) assert.equal(block, count++);
      assert.equal(count, 300);
      const { evictions } = pool;
      const { misses } = small.backend.buffers;
      for await (const { block } of small.backend.readStream(hot)) assert.ok(block < 64);
      assert.equal(small.backend.buffers.misses, misses, 'the scan has pushed nothing out');
      assert.equal(pool.evictions, evictions);
    });
  });
});
