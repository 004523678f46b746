import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { makeForkTag } from '../../src/buffer/descriptor.js';
import { Fork, SEGMENT_BLOCKS, relationPath, segmentPath } from '../../src/smgr/relation.js';
import { openRig, withRig } from '../../testing/instances.js';
import { DataDirectory, stampOf, stampedPage } from '../../testing/relations.js';
import { BlockReads } from '../../testing/block-reads.js';

describe('paths of relations', () => {
  it('are PostgreSQL’s', () => {
    const locator = { tablespace: 1663, database: 5, relation: 16384 };
    assert.equal(relationPath(locator, Fork.MAIN, ''), 'base/5/16384');
    assert.equal(relationPath(locator, Fork.FSM, ''), 'base/5/16384_fsm');
    assert.equal(relationPath({ ...locator, tablespace: 1664, database: 0 }, Fork.VM, ''), 'global/16384_vm');
    assert.equal(
      relationPath({ ...locator, tablespace: 20000 }, Fork.INIT, 'PG_18_202506291'),
      'pg_tblspc/20000/PG_18_202506291/5/16384_init',
    );
    assert.equal(relationPath({ ...locator, backend: 3 }, Fork.MAIN, ''), 'base/5/t3_16384');
    assert.equal(
      segmentPath(relationPath({ ...locator, backend: 0 }, Fork.FSM, ''), 2),
      'base/5/t0_16384_fsm.2',
    );
    assert.equal(segmentPath('base/5/1', 0), 'base/5/1');
    assert.equal(segmentPath('base/5/1', 12), 'base/5/1.12');
  });
});

describe('the storage manager', () => {
  it('reads on beyond the first gigabyte, and splits a read at the segment’s end', async () => {
    await withRig({ ioMethod: 'worker' }, async ({ backend, data }) => {
      const path = data.file(100);
      for (const [segment, first] of [
        [0, SEGMENT_BLOCKS - 2],
        [1, SEGMENT_BLOCKS],
      ] as const) {
        const fd = openSync(segmentPath(path, segment), 'w'); // sparse
        for (let block = first; block < first + 2; block++) {
          writeSync(fd, stampedPage(100, block), 0, 8192, (block % SEGMENT_BLOCKS) * 8192);
        }
        if (segment === 0) ftruncateSync(fd, SEGMENT_BLOCKS * 8192);
        closeSync(fd);
      }
      const relation = backend.openRelation(data.path, { database: 5, relation: 100 });
      assert.equal(relation.blockCount(Fork.MAIN), SEGMENT_BLOCKS + 2);
      assert.equal(relation.blockCount(Fork.VM), 0);
      let block = SEGMENT_BLOCKS - 2;
      const stream = backend.readStream(relation, {
        nextBlock: () => (block < SEGMENT_BLOCKS + 2 ? block++ : -1),
      });
      const seen: number[] = [];
      for await (const buffer of stream) seen.push(stampOf(buffer.page).block);
      assert.deepEqual(
        seen,
        [-2, -1, 0, 1].map((at) => SEGMENT_BLOCKS + at),
      );
      await new BlockReads(backend, data.path, { database: 5, relation: 100 }).read(SEGMENT_BLOCKS - 2, 4);
    });
  });

  it('reads the other forks', async () => {
    await withRig({ ioMethod: 'sync' }, async ({ backend, data }) => {
      data.write(100, 3);
      writeFileSync(`${data.file(100)}_vm`, stampedPage(7, 0));
      const relation = backend.openRelation(data.path, { database: 5, relation: 100 });
      assert.equal(relation.blockCount(Fork.VM), 1);
      const buffer = await backend.readBlock(relation, 0, { fork: Fork.VM });
      assert.equal(stampOf(buffer.page).relation, 7);
      buffer.release();
      const main = await backend.readBlock(relation, 0);
      assert.equal(stampOf(main.page).relation, 100);
      main.release();
    });
  });

  it('finds a tablespace’s directory of this version, and says what is missing', async () => {
    await withRig({ ioMethod: 'sync' }, ({ backend, data }) => {
      const locator = { tablespace: 20_000, database: 5, relation: 100 };
      assert.throws(() => backend.openRelation(data.path, locator), {
        code: 'ERR_PGAIO_NO_TABLESPACE',
        message: /PG_18_/,
      });
      mkdirSync(join(data.path, 'pg_tblspc/20000/PG_17_1'), { recursive: true });
      mkdirSync(join(data.path, 'pg_tblspc/20000/PG_18_2/5'), { recursive: true });
      writeFileSync(join(data.path, 'pg_tblspc/20000/PG_18_2/5/100'), stampedPage(100, 0));
      const relation = backend.openRelation(data.path, locator);
      assert.equal(relation.path(Fork.MAIN), 'pg_tblspc/20000/PG_18_2/5/100');
      assert.equal(relation.blockCount(Fork.MAIN), 1);
    });
  });

  it('refuses what is no data directory, as often as it likes: it costs nothing', async () => {
    await withRig({ ioMethod: 'sync' }, ({ backend, data }) => {
      for (let attempt = 0; attempt < 100; attempt++) {
        assert.throws(() => backend.openRelation(join(data.path, `no-${attempt}`), { relation: 1 }), {
          code: 'ERR_PGAIO_NOT_A_CLUSTER',
        });
      }
      backend.openRelation(data.path, { database: 5, relation: 1 });
    });
  });

  it('keeps two clusters with the same relation numbers apart', async () => {
    const rig = await openRig({ ioMethod: 'sync' });
    using other = new DataDirectory();
    const relations = [rig.data, other].map((data, version) =>
      rig.backend.openRelation(data.path, data.write(100, 5, { version })),
    );
    for (const [version, relation] of relations.entries()) {
      const buffer = await rig.backend.readBlock(relation, 2);
      assert.equal(stampOf(buffer.page).version, version);
      buffer.release();
    }
    await rig.close();
  });

  it('has numbers for so many data directories, and says when they are used up', async () => {
    await withRig({ ioMethod: 'sync' }, ({ backend }) => {
      const directories = Array.from({ length: 65 }, () => new DataDirectory());
      try {
        const open = (data: DataDirectory): number =>
          backend.openRelation(data.path, { relation: 1 }).directoryNumber;
        assert.equal(new Set(directories.slice(0, 64).map(open)).size, 64);
        assert.throws(() => open(directories[64]!), { code: 'ERR_PGAIO_EXHAUSTED' });
      } finally {
        for (const data of directories) data[Symbol.dispose]();
      }
    });
  });

  it('tags relations of different places differently', () => {
    const tags = [
      makeForkTag(0, 1663, 5, 1, 0),
      makeForkTag(1, 1663, 5, 1, 0),
      makeForkTag(0, 1664, 5, 1, 0),
      makeForkTag(0, 1663, 5, 1, 1),
    ];
    assert.equal(new Set(tags.map((tag) => JSON.stringify(tag))).size, tags.length);
  });
});
