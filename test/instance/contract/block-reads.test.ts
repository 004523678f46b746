/**
 * Rows RB-*, JN-01 … JN-03, G-*, C-01, Z-*, D-44, D-52, D-60 and FD-* of relations: reads through the shared pool,
 * and, but for those that take several backends, through a private one.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { InvalidPageError } from '../../../src/base/errors.js';
import type { Backend } from '../../../src/instance/backend.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { Fork } from '../../../src/smgr/relation.js';
import { stampOf, type RelationOptions } from '../../../testing/relations.js';

forEachVariant((variant) => {
  let rig: Rig;
  let backend: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, sharedBuffers: '2MB' });
    backend = rig.backend;
  });
  after(async () => rig.close());

  /** A relation that nobody has read yet. */
  function fresh(options: RelationOptions = {}, by = backend): BlockReads {
    return new BlockReads(by, rig.data.path, rig.data.write(++lastRelation, 20, options));
  }
  const physicalReads = (): number => backend.counters().reads;

  for (const kind of ['shared', 'private'] as const) {
    describe(`${kind} pool`, () => {
      readsThroughPool(
        kind === 'shared' ? fresh : (options) => fresh({ ...options, backend: backend.number }),
        kind === 'shared' ? 'G-01, G-03, C-01' : 'G-04, G-06, C-01',
        kind === 'shared' ? 'G-02' : 'G-05',
      );
    });
  }

  function readsThroughPool(
    fresh: (options?: RelationOptions) => BlockReads,
    rowsOfDamage: string,
    rowOfScan: string,
  ): void {
    it('RB-01, RB-02: neighbouring misses are one I/O, hits are handed out one by one', async () => {
      const blocks = fresh();
      const reads = physicalReads();
      assert.deepEqual(await blocks.read(0, 2), [{ offset: 0, block: 0, io: 'own', count: 2 }]);
      assert.deepEqual(await blocks.read(0, 2), [
        { offset: 0, block: 0, io: 'none', count: 1 },
        { offset: 1, block: 1, io: 'none', count: 1 },
      ]);
      assert.equal(physicalReads(), reads + 1);
    });

    it('RB-03, RB-04: a hit splits a run', async () => {
      const blocks = fresh();
      await blocks.read(0, 2);
      assert.deepEqual(await blocks.read(3, 1), [{ offset: 0, block: 3, io: 'own', count: 1 }]);
      assert.deepEqual(await blocks.read(2, 4), [
        { offset: 0, block: 2, io: 'own', count: 1 },
        { offset: 1, block: 3, io: 'none', count: 1 },
        { offset: 2, block: 4, io: 'own', count: 2 },
      ]);
    });

    it('RB-05 … RB-09: single misses, then hits from separate I/Os', async () => {
      const blocks = fresh();
      for (const block of [0, 1]) {
        assert.deepEqual(await blocks.read(block, 1), [{ offset: 0, block, io: 'own', count: 1 }]);
        assert.deepEqual(await blocks.read(block, 1), [{ offset: 0, block, io: 'none', count: 1 }]);
      }
      assert.deepEqual(
        (await blocks.read(0, 2)).map(({ io }) => io),
        ['none', 'none'],
      );
    });

    it('RB-13: no I/O exceeds the combine limit', async () => {
      assert.deepEqual(await fresh().read(1, 5, 3), [
        { offset: 0, block: 1, io: 'own', count: 3 },
        { offset: 3, block: 4, io: 'own', count: 2 },
      ]);
    });

    /** What is already under way, by this very backend, is joined or found finished: it is not read again. */
    const own = [
      { row: 'JN-01', busy: 1, expected: ['1+1', 'IO 2+2'] },
      { row: 'JN-02', busy: 2, expected: ['IO 1+1', '2+1', 'IO 3+1'] },
      { row: 'JN-03', busy: 3, expected: ['IO 1+2', '3+1'] },
    ];
    for (const { row, busy, expected } of own) {
      it(`${row}: running into an own read of block ${busy}`, async () => {
        const blocks = fresh();
        const reads = physicalReads();
        const first = blocks.start(busy);
        const { operations, finish } = await blocks.startAll(1, 3);
        assert.deepEqual(
          operations.map(({ io, block, count }) => `${io === 'own' ? 'IO ' : ''}${block}+${count}`),
          expected,
        );
        await finish();
        await blocks.finish(first);
        assert.equal(physicalReads() - reads, expected.filter((text) => text.startsWith('IO')).length + 1);
      });
    }

    it(`${rowsOfDamage}: a damaged page is an error, each time anew, and its neighbours are not`, async () => {
      const blocks = fresh({ damaged: { 1: 'header', 3: 'checksum' } });
      const path = blocks.relation.path(Fork.MAIN);
      for (const block of [1, 3]) {
        for (let attempt = 0; attempt < 2; attempt++) {
          await assert.rejects(backend.readBlock(blocks.relation, block), {
            name: 'InvalidPageError',
            code: 'ERR_PGAIO_INVALID_PAGE',
            message: `invalid page in block ${block} of relation "${path}"`,
            block,
            path,
          });
        }
      }
      const fine = await backend.readBlock(blocks.relation, 2);
      assert.equal(stampOf(fine.page).block, 2);
      fine.release();
    });

    it(`${rowOfScan}: a scan fails when it gets to the damaged block, not before`, async () => {
      const blocks = fresh({ damaged: { 7: 'checksum' } });
      const seen: number[] = [];
      await assert.rejects(
        async () => {
          for await (const buffer of backend.readStream(blocks.relation))
            seen.push(stampOf(buffer.page).block);
        },
        { name: 'InvalidPageError', block: 7 },
      );
      assert.ok(seen.length <= 7);
      assert.deepEqual(
        seen,
        Array.from({ length: seen.length }, (_, block) => block),
      );
    });

    it('Z-05, D-52, D-53: several damaged pages in one read are one error; the good ones become valid', async () => {
      const blocks = fresh({ damaged: { 2: 'header', 3: 'checksum' } });
      await assert.rejects(blocks.read(1, 4), (error: InvalidPageError) => {
        assert.equal(
          error.message,
          `2 invalid pages among blocks 1..4 of relation "${blocks.relation.path(Fork.MAIN)}"`,
        );
        assert.match(error.detail ?? '', /Block 2 is the first/);
        assert.match(error.hint ?? '', /the other 1 invalid/);
        return error.firstBlock === 1 && error.lastBlock === 4 && error.count === 2;
      });
      const reads = physicalReads();
      await blocks.read(1, 1);
      await blocks.read(4, 1);
      assert.equal(physicalReads(), reads);
    });

    it('Z-03, D-57: a page of zeroes is valid', async () => {
      const blocks = fresh({ damaged: { 5: 'zero' } });
      const buffer = await backend.readBlock(blocks.relation, 5);
      assert.ok(buffer.page.every((byte) => byte === 0));
      buffer.release();
    });

    it('a block beyond the end is a short read; one in a segment that is not there, a missing file', async () => {
      const blocks = fresh();
      const message = `could not read blocks 20..20 in file "${blocks.relation.path(Fork.MAIN)}": read only 0 of 8192 bytes`;
      await assert.rejects(backend.readBlock(blocks.relation, 20), {
        name: 'ShortReadError',
        message,
        got: 0,
        wanted: 8192,
      });
      const path = blocks.relation.path(Fork.MAIN);
      await assert.rejects(backend.readBlock(blocks.relation, 131_072), {
        code: 'ERR_PGAIO_READ_ENOENT',
        message: `could not read blocks 131072..131072 in file "${path}": ENOENT: no such file or directory`,
        detail: `The file "${rig.data.path}/${path}.1" cannot be opened.`,
        path,
        firstBlock: 131_072,
        lastBlock: 131_072,
      });
      for (const block of [-1, 0.5, 2 ** 32])
        await assert.rejects(backend.readBlock(blocks.relation, block), { name: 'RangeError' });
      await assert.rejects(blocks.read(18, 4), { name: 'ShortReadError', firstBlock: 20, lastBlock: 21 });
    });

    it('FD-01, FD-02, FD-03: closing every descriptor between staging and waiting harms nothing', async () => {
      const blocks = fresh();
      for (const [block, awaited] of [
        [1, true],
        [2, false],
      ] as const) {
        const op = backend.aio.batch(backend.rootScope, () => {
          const staged = blocks.start(block);
          backend.parts.vfds.closeDescriptors();
          return staged;
        });
        if (awaited) await blocks.finish(op);
        else blocks.abandon(op);
      }
      assert.deepEqual(
        (await blocks.read(1, 2)).map(({ count }) => count),
        [1, 1],
      );
    });
  }

  it('F-01: a read that its issuer never awaits is there for another backend', async () => {
    const other = await rig.attach();
    const blocks = fresh();
    const reads = physicalReads();
    const first = blocks.start(1);
    const theirs = new BlockReads(other, rig.data.path, { ...blocks.relation.locator });
    await theirs.read(1, 1);
    assert.equal(physicalReads(), reads + 1);
    blocks.abandon(first);
  });

  it('F-02: so is one whose issuer has left', async () => {
    const issuer = await rig.attach();
    const blocks = fresh({}, issuer);
    blocks.abandon(blocks.start(1));
    const before = backend.counters().reads;
    await issuer.close();
    const mine = new BlockReads(backend, rig.data.path, { ...blocks.relation.locator });
    await mine.read(1, 1);
    assert.ok(backend.counters().reads - before <= 1);
  });

  it('F-03: somebody else’s failure is not ours: the read is made again, and fails with our own error', async () => {
    const other = await rig.attach();
    const blocks = fresh({ damaged: { 1: 'header' } });
    const first = blocks.start(1);
    const theirs = new BlockReads(other, rig.data.path, { ...blocks.relation.locator });
    await assert.rejects(theirs.read(1, 1), { name: 'InvalidPageError', block: 1 });
    blocks.abandon(first); // its failure is nobody’s unhandled rejection
  });

  it('D-44: many who want the same blocks with few handles do not deadlock', async () => {
    const blocks = fresh();
    const others = [await rig.attach(), await rig.attach()];
    const all = [backend, ...others].map(
      (one) => new BlockReads(one, rig.data.path, { ...blocks.relation.locator }),
    );
    const reads = physicalReads();
    await Promise.all(all.flatMap((one) => Array.from({ length: 8 }, (_, at) => one.read(at % 4, 16))));
    assert.ok(physicalReads() - reads <= 20, 'no block was read twice');
  });
});
