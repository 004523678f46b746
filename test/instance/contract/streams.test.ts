/** Rows RS-*, D-100 … D-115, X-10 of the contract: read streams. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import fc from 'fast-check';
import type { Backend } from '../../../src/instance/backend.js';
import type { StreamOptions } from '../../../src/instance/relation-options.js';
import { ReadStream } from '../../../src/read-stream/read-stream.js';
import { END_OF_STREAM } from '../../../src/read-stream/stream-options.js';
import { Fork } from '../../../src/smgr/relation.js';
import { listedBlocks } from '../../../src/read-stream/block-sources.js';
import type { BufferStream } from '../../../src/read-stream/buffer-stream.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { forEachVariant, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { leaksOf } from '../../../testing/leaks.js';
import { RawReads } from '../../../testing/raw-reads.js';
import { stampOf } from '../../../testing/relations.js';

const BLOCKS = 60;
const POOL_BLOCKS = 64;

forEachVariant((variant) => {
  let rig: Rig;
  let backend: Backend;
  let lastRelation = 100;

  before(async () => {
    // A share of 16 pins for a stream, and reads of up to 4 blocks.
    rig = await openRig({ ...variant, sharedBuffers: POOL_BLOCKS * 8192, ioCombineLimit: '32kB' });
    backend = rig.backend;
  });
  after(async () => rig.close());

  const fresh = (): SmgrRelation =>
    backend.openRelation(rig.data.path, rig.data.write(++lastRelation, BLOCKS));
  const physicalReads = (): number => backend.counters().reads;
  const listed = (
    relation: SmgrRelation,
    blocks: Iterable<number>,
    options: StreamOptions = {},
  ): BufferStream => backend.readStream(relation, { ...options, nextBlock: listedBlocks(blocks) });

  /** Pulls everything, checks every page, and returns the blocks. */
  async function pull(stream: BufferStream): Promise<number[]> {
    const blocks: number[] = [];
    for await (const buffer of stream) {
      const stamp = stampOf(buffer.page);
      assert.equal(stamp.block, buffer.block);
      assert.equal(stamp.relation, lastRelation);
      blocks.push(stamp.block);
    }
    return blocks;
  }

  it('RS-00, D-107: exactly as many buffers as blocks, then the end, again and again; the callback is not asked again', async () => {
    let asked = 0;
    const stream = backend.readStream(fresh(), { nextBlock: () => (asked++ < 3 ? asked : END_OF_STREAM) });
    assert.deepEqual(await pull(stream), [1, 2, 3]);
    for (let round = 0; round < 3; round++)
      assert.deepEqual(await stream.next(), { value: undefined, done: true });
    assert.equal(asked, 4);
  });

  it('RS-01, RS-02: the same block twice within the look-ahead is read once; then all are hits', async () => {
    const relation = fresh();
    const blocks = [0, 2, 2, 4, 4];
    const reads = physicalReads();
    assert.deepEqual(await pull(listed(relation, blocks)), blocks);
    assert.equal(physicalReads(), reads + 3);
    assert.deepEqual(await pull(listed(relation, blocks)), blocks);
    assert.equal(physicalReads(), reads + 3);
  });

  it('RS-03: misses, then hits of blocks that are still pinned or in flight', async () => {
    const blocks = [0, 1, 2, 3, 4, 5, 6, 5, 4, 3, 2, 1, 0];
    const { misses } = backend.buffers;
    assert.deepEqual(await pull(listed(fresh(), blocks)), blocks);
    assert.equal(backend.buffers.misses - misses, 7);
  });

  it('a scan reads every block once, in order, in I/Os of the combine limit', async () => {
    const reads = physicalReads();
    const stream = backend.readStream(fresh());
    assert.deepEqual(
      await pull(stream),
      Array.from({ length: BLOCKS }, (_, block) => block),
    );
    assert.equal(physicalReads(), reads + BLOCKS / 4);
    assert.equal(stream.stats.ios, BLOCKS / 4);
  });

  /** The sizes of a stream's I/Os. `full`: as for the scan of a whole relation. */
  async function ioSizes(blocks: readonly number[], full: boolean): Promise<number[]> {
    const sizes: number[] = [];
    const reader = backend.buffers.reader(fresh(), Fork.MAIN);
    const start = reader.relation.startReadv.bind(reader.relation);
    reader.relation.startReadv = (io, fork, block, count) => {
      sizes.push(count);
      start(io, fork, block, count);
    };
    await backend.scope(async (scope) => {
      const options = {
        ioConcurrency: 4,
        combineLimit: 4,
        full,
        batchMode: true,
        deferred: variant.ioMethod === 'sync',
        advice: false,
        mayBlock: true,
        strategy: null,
        perBufferData: null,
      };
      const stream = new ReadStream(backend.buffers, reader, scope, listedBlocks(blocks), options);
      for (;;) {
        const buffer = await backend.aio.waits.until(() => stream.next());
        if (buffer === END_OF_STREAM) return;
        backend.buffers.pool.unpin(buffer, scope);
      }
    });
    return sizes;
  }

  it('D-100, D-102: begins with one block and doubles; for a whole scan, with a full I/O', async () => {
    const blocks = Array.from({ length: 12 }, (_, block) => block);
    assert.deepEqual(await ioSizes(blocks, false), [1, 2, 4, 4, 1]);
    assert.deepEqual(await ioSizes(blocks, true), [4, 4, 4]);
  });

  it('D-101: never pins more than its budget, and never more than its I/Os are in flight', async () => {
    const stream = backend.readStream(fresh(), { ioConcurrency: 2 });
    assert.equal(stream.stats.distanceCapacity, 12);
    let most = 0;
    for await (const buffer of stream) {
      assert.equal(stampOf(buffer.page).block, buffer.block);
      most = Math.max(most, backend.buffers.pool.pins.buffersPinned);
    }
    assert.ok(most <= 12 + 4, `${most} buffers were pinned`);
  });

  it('D-103: a long run of hits ends at a distance of one', async () => {
    const relation = fresh();
    await pull(backend.readStream(relation));
    const cached = Array.from({ length: 300 }, (_, at) => BLOCKS - 1 - (at % 10));
    const stream = listed(relation, cached);
    await pull(stream);
    assert.equal(stream.stats.ios, 0);
    assert.equal(stream.stats.distanceSum, 300, 'it never looked ahead');
    const scan = backend.readStream(relation, { nextBlock: listedBlocks([0, 20, 40, ...cached]) });
    await pull(scan);
    const { distanceSum, buffers } = scan.stats;
    assert.ok(distanceSum < buffers * 2, 'and after misses it came back');
  });

  it('D-104: without concurrency it reads one I/O at a time, growing to the combine limit', async () => {
    const relation = fresh();
    const stream = listed(
      relation,
      Array.from({ length: 40 }, (_, block) => block),
      { ioConcurrency: 0 },
    );
    assert.equal((await pull(stream)).length, 40);
    assert.ok(stream.stats.ios <= 12, `${stream.stats.ios} I/Os`);
    assert.equal(stream.stats.inFlightSum, stream.stats.ios, 'never two in flight');
  });

  it('D-105: neighbours are one I/O, a jump forces it out', async () => {
    assert.deepEqual(await ioSizes([10, 42, 43, 44, 59], true), [1, 3, 1]);
  });

  it('D-106: with one I/O at a time no block is lost, repeated or reordered', async () => {
    const blocks = Array.from({ length: BLOCKS }, (_, at) => (at * 17) % BLOCKS);
    const stream = listed(fresh(), blocks, { ioConcurrency: 1 });
    assert.deepEqual(await pull(stream), blocks);
    assert.equal(stream.stats.inFlightSum, stream.stats.ios);
  });

  it('D-109: any list of blocks, over any wrap of the queue, comes as it was given', async () => {
    const relation = fresh();
    const run = fc.record({ first: fc.nat(BLOCKS - 1), count: fc.integer({ min: 1, max: 9 }) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(run, { maxLength: 30 }),
        fc.nat(5),
        fc.boolean(),
        async (runs, ioConcurrency, blocking) => {
          const blocks = runs.flatMap(({ first, count }) =>
            Array.from({ length: Math.min(count, BLOCKS - first) }, (_, at) => first + at),
          );
          const stream = listed(relation, blocks, { ioConcurrency });
          if (blocking) {
            for (const block of blocks)
              assert.equal(stampOf(stream.nextBlocking()?.page ?? new Uint8Array()).block, block);
            assert.equal(stream.nextBlocking(), null);
          } else assert.deepEqual(await pull(stream), blocks);
          assert.equal(backend.buffers.pool.pins.buffersPinned, 0);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('D-110: completes though hardly any buffer is free', async () => {
    const relation = fresh();
    const { pool } = backend.buffers;
    const pinner = backend.buffers.reader(fresh(), 0);
    lastRelation--;
    for (const free of [1, 2, 5]) {
      const pinned = Array.from({ length: POOL_BLOCKS - free }, (_, at) =>
        pool.pinBlock(pinner.tag, 1000 + at, backend.rootScope),
      );
      const seen = await pull(backend.readStream(relation)).finally(() => {
        for (const buffer of pinned) pool.unpin(buffer, backend.rootScope);
      });
      assert.equal(seen.length, BLOCKS, `${free} free`);
    }
    lastRelation++;
  });

  it('no buffer at all is an error that says who has them, not an endless wait', async () => {
    const relation = fresh();
    const { pool } = backend.buffers;
    const pinner = backend.buffers.reader(fresh(), 0);
    const pinned = Array.from({ length: POOL_BLOCKS }, (_, at) =>
      pool.pinBlock(pinner.tag, 2000 + at, backend.rootScope),
    );
    await assert.rejects(backend.readBlock(relation, 0), {
      code: 'ERR_PGAIO_NO_UNPINNED_BUFFERS',
      detail: /Of 64 buffers 64 are pinned: 64 by this backend/,
    });
    for (const buffer of pinned) pool.unpin(buffer, backend.rootScope);
  });

  it('D-111: a stream over cached blocks does no queue work; a hole in them is read right', async () => {
    const relation = fresh();
    const blocks = Array.from({ length: 30 }, (_, block) => block);
    await pull(
      listed(
        relation,
        blocks.filter((block) => block !== 13),
      ),
    );
    const stream = listed(relation, blocks);
    assert.deepEqual(await pull(stream), blocks);
    assert.equal(stream.stats.ioBlocks, 1);
  });

  it('D-115: left early, it keeps no pin and no I/O', async () => {
    for (const leave of ['break', 'throw', 'return'] as const) {
      const stream = backend.readStream(fresh());
      const consume = async (): Promise<void> => {
        for await (const buffer of stream) {
          if (buffer.block < 5) continue;
          if (leave === 'throw') throw new Error('enough');
          if (leave === 'break') break;
          await stream.return();
        }
      };
      if (leave === 'throw') await assert.rejects(consume(), /enough/);
      else await consume();
      assert.equal(backend.buffers.pool.pins.buffersPinned, 0);
      assert.equal((await stream.next()).done, true);
    }
    await backend.aio.waits.until(() => backend.aio.drain());
    assert.deepEqual(backend.inFlight(), []);
  });

  it('a stream of a backend that was closed says so', async () => {
    await withRig({ ...variant }, async (own) => {
      const relation = own.backend.openRelation(own.data.path, own.data.write(100, BLOCKS));
      const stream = own.backend.readStream(relation);
      await stream.next();
      await own.instance.close();
      const refusal = { name: 'ClosedError', message: 'this backend is closed' };
      await assert.rejects(stream.next(), refusal);
      await assert.rejects(
        own.backend.scope(() => undefined),
        refusal,
      );
      await stream.return();
    });
  });

  it('a stream whose scope has ended gives nothing more, and closing it is harmless', async () => {
    rig.log.length = 0;
    const relation = fresh();
    const stream = await backend.scope(async (scope) => {
      const inner = backend.readStream(relation, { scope });
      await inner.next();
      return inner;
    });
    assert.match(rig.warnings.join(), /pin\(s\) were not released/);
    await assert.rejects(stream.next(), /this scope has ended/);
    await stream.return();
    assert.equal(backend.buffers.pool.pins.buffersPinned, 0);
  });

  it('an error of the block callback comes in its place, behind all blocks that it gave before', async () => {
    const relation = fresh();
    let asked = 0;
    const failing = (): number => {
      if (asked === 6) throw new Error('the callback failed');
      return asked++;
    };
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const buffer of backend.readStream(relation, { nextBlock: failing }))
        seen.push(buffer.block);
    }, /the callback failed/);
    assert.deepEqual(seen, [0, 1, 2, 3, 4, 5]);
    assert.equal(backend.buffers.pool.pins.buffersPinned, 0);
    for (const bad of [1.5, Number.NaN, -3, 2 ** 32]) {
      await assert.rejects(pull(listed(relation, [bad])), /no block number/);
    }
  });

  it('a page is not to be had after its turn', async () => {
    const stream = backend.readStream(fresh());
    const first = await stream.next();
    await stream.next();
    assert.throws(() => first.value?.page, { code: 'ERR_PGAIO_CLOSED' });
    await stream.return();
  });

  // Without limits, a stream has more than it can use.
  if (variant.ioMaxConcurrency !== -1) it('X-10: many rounds leave nothing behind', manyRounds);

  async function manyRounds(): Promise<void> {
    await withRig({ ...variant, sharedBuffers: '128kB' }, async (small) => {
      const { backend: one, data } = small;
      const relation = one.openRelation(data.path, data.write(1, 20)); // 16 buffers
      const raw = new RawReads(one, data.path);
      for (let round = 0; round < 500; round++) {
        let sum = 0;
        for await (const buffer of one.readStream(relation)) sum += stampOf(buffer.page).block;
        assert.equal(sum, (20 * 19) / 2);
        if (round % 50 > 0) continue;
        const references = one.aio.batch(one.rootScope, () => [raw.start(), raw.start()]);
        for (const reference of references) raw.wait(reference);
        await (await small.attach()).close();
      }
      raw.close();
      assert.deepEqual(one.inFlight(), []);
      assert.deepEqual(leaksOf(small.instance.handle, 1), []);
    });
  }
});
