/**
 * The WAL that we write on a real PostgreSQL 18's cluster: the server starts on it, after a shutdown of ours and after
 * a crash, reads our records, and goes on; and we go on with what it leaves behind.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { PinnedBuffer } from '../../src/buffer/pinned-buffer.js';
import { createInstance, type Instance } from '../../src/instance/instance.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { formatLsn } from '../../src/wal/lsn.js';
import { giveToPostgres } from '../../testing/postgres/account.js';
import { embeddedPostgresMissing } from '../../testing/postgres/binaries.js';
import { createCluster, type Cluster } from '../../testing/postgres/cluster.js';

describe(
  'a PostgreSQL 18 on whose cluster we wrote WAL',
  { skip: embeddedPostgresMissing() ?? false },
  () => {
    let cluster: Cluster;

    before(async () => {
      cluster = await createCluster({
        initdbArguments: ['--wal-segsize=1'],
        settings: { wal_keep_size: '64MB' },
      });
      await cluster.start();
      await cluster.query(
        'CREATE EXTENSION pg_walinspect; CREATE TABLE things AS SELECT generate_series(1, 100) n',
      );
      await cluster.stop();
    });
    after(() => cluster.remove());

    const open = (): Promise<Instance> =>
      createInstance({
        ioMethod: 'sync',
        wal: { dataDirectory: cluster.directory, keepSize: 'all' },
        log: () => undefined,
      });

    /** We may be root, and the server is not. */
    function giveBack(): void {
      const wal = join(cluster.directory, 'pg_wal');
      for (const name of readdirSync(wal)) giveToPostgres(join(wal, name));
    }

    async function messages(prefix: string, start: number, end: number): Promise<string[]> {
      const rows = await cluster.query<{ description: string }>(
        `SELECT description FROM pg_get_wal_records_info($1, $2)
        WHERE resource_manager = 'LogicalMessage' AND description LIKE $3 ORDER BY start_lsn`,
        { values: [formatLsn(start), formatLsn(end), `%prefix "${prefix}"%`] },
      );
      return rows.map(({ description }) => description);
    }

    it('starts where our shutdown checkpoint is, and pg_walinspect prints our messages', async () => {
      const instance = await open();
      assert.equal(instance.recovery?.wasNeeded, false);
      const start = instance.backend.wal.insertedUpTo;
      const { wal } = instance.backend;
      await wal.commit('first', 'hello');
      // Over several pages, and over a segment's end.
      for (let at = 0; at < 20; at++) await wal.commit('large', Buffer.alloc(100_000, at));
      const end = await wal.commit('last', 'good bye');
      await instance.close();
      giveBack();
      await cluster.start();
      assert.match(cluster.log, /database system was shut down at/);
      assert.deepEqual(await messages('first', start, end), [
        'non-transactional, prefix "first"; payload (5 bytes): 68 65 6C 6C 6F',
      ]);
      assert.equal((await messages('large', start, end)).length, 20);
      assert.equal((await messages('last', start, end)).length, 1);
      const [row] = await cluster.query<{ count: string }>('SELECT count(*) FROM things');
      assert.equal(row?.count, '100');
      await cluster.query('INSERT INTO things VALUES (101)');
      await cluster.stop();
    });

    it('recovers our WAL after a crash of ours, and goes on', async () => {
      const copy = mkdtempSync(join(tmpdir(), 'pgaio-crashed-'));
      try {
        const instance = await open();
        const start = instance.backend.wal.insertedUpTo;
        await instance.backend.wal.commit('before', 'a checkpoint');
        await instance.backend.wal.checkpoint();
        const end = await instance.backend.wal.commit('after', 'a checkpoint');
        cpSync(cluster.directory, copy, { recursive: true });
        await instance.close();
        rmSync(cluster.directory, { recursive: true });
        cpSync(copy, cluster.directory, { recursive: true });
        rmSync(join(cluster.directory, 'postmaster.pid'));
        for (const name of readdirSync(cluster.directory, { recursive: true, encoding: 'utf8' }))
          giveToPostgres(join(cluster.directory, name));
        giveToPostgres(cluster.directory);
        await cluster.start();
        assert.match(cluster.log, /was not properly shut down; automatic recovery in progress/);
        assert.match(cluster.log, /redo done at/);
        assert.equal((await messages('before', start, end)).length, 1);
        assert.equal((await messages('after', start, end)).length, 1);
        const [row] = await cluster.query<{ count: string }>('SELECT count(*) FROM things');
        assert.equal(row?.count, '101');
        await cluster.stop();
      } finally {
        rmSync(copy, { recursive: true });
      }
    });

    it('redoes our changes of its pages, images and differences, and what we cut off', async () => {
      await cluster.start();
      await cluster.query(
        `CREATE TABLE notes AS SELECT n, repeat('x', 500) AS note FROM generate_series(1, 40) n`,
      );
      await cluster.query(
        `CREATE TABLE cut AS SELECT n, repeat('x', 500) AS note FROM generate_series(1, 80) n`,
      );
      const [files] = await cluster.query<{ database: number; notes: number; cut: number }>(
        `SELECT oid::int AS database, pg_relation_filenode('notes')::int AS notes, pg_relation_filenode('cut')::int AS cut
        FROM pg_database WHERE datname = current_database()`,
      );
      assert.ok(files !== undefined);
      await cluster.stop();
      const cutFile = join(cluster.directory, 'base', String(files.database), String(files.cut));
      const uncut = readFileSync(cutFile);
      const copy = mkdtempSync(join(tmpdir(), 'pgaio-crashed-'));
      try {
        const instance = await open();
        const { backend } = instance;
        const start = backend.wal.insertedUpTo;
        const { database } = files;
        const notes = backend.openRelation(cluster.directory, { database, relation: files.notes });
        const pages = [await backend.readBlock(notes, 0), await backend.readBlock(notes, 1)];
        const write =
          (from: string, to: string) =>
          (...both: Uint8Array[]): void => {
            for (const page of both) {
              const at = Buffer.from(page).indexOf(from);
              assert.ok(at > 0);
              page.set(Buffer.from(to), at);
            }
          };
        await backend.wal.change(pages, write('xxxx', 'WE, '));
        await backend.wal.change(pages, write('xxxx', 'too.'));
        await backend.wal.change(pages[1] as PinnedBuffer, write('xxxx', 'here'));
        for (const page of pages) page.release();
        await backend.truncateRelation(
          backend.openRelation(cluster.directory, { database, relation: files.cut }),
          2,
        );
        const end = backend.wal.insertedUpTo;
        cpSync(cluster.directory, copy, { recursive: true });
        await instance.close();
        rmSync(cluster.directory, { recursive: true });
        cpSync(copy, cluster.directory, { recursive: true });
        rmSync(join(cluster.directory, 'postmaster.pid'));
        assert.equal(readFileSync(cutFile).length, 2 * 8192);
        writeFileSync(cutFile, uncut); // as if the crash had come before the file was cut
        for (const name of readdirSync(cluster.directory, { recursive: true, encoding: 'utf8' }))
          giveToPostgres(join(cluster.directory, name));
        giveToPostgres(cluster.directory);
        await cluster.start();
        assert.match(cluster.log, /redo done at/);
        const ours = await cluster.query<{ note: string }>(
          `SELECT rtrim(note, 'x') AS note FROM notes WHERE note LIKE 'WE,%' ORDER BY ctid`,
        );
        assert.deepEqual(
          ours.map(({ note }) => note),
          ['WE, too.', 'WE, too.here'],
        );
        const [count] = await cluster.query<{ notes: string; size: string; cut: string }>(
          `SELECT (SELECT count(*) FROM notes) AS notes, pg_relation_size('cut') AS size, (SELECT count(*) FROM cut) AS cut`,
        );
        assert.deepEqual(count, { notes: '40', size: String(2 * 8192), cut: '30' });
        const records = await cluster.query<{ resource_manager: string; fpi_length: number }>(
          `SELECT resource_manager, fpi_length FROM pg_get_wal_records_info($1, $2)
          WHERE resource_manager IN ('Generic', 'Storage') ORDER BY start_lsn`,
          { values: [formatLsn(start), formatLsn(end)] },
        );
        assert.deepEqual(
          records.map(({ resource_manager: name, fpi_length: images }) => `${name} ${images > 0}`),
          ['Generic true', 'Generic false', 'Generic false', 'Storage false'],
        );
        await cluster.stop();
      } finally {
        rmSync(copy, { recursive: true });
      }
    });

    for (const ioMethod of supportedMethods()) {
      it(`finds nothing wrong with pages that we wrote through the pool: ${ioMethod}`, async () => {
        await cluster.start();
        await cluster.query('DROP TABLE IF EXISTS written');
        await cluster.query(
          `CREATE TABLE written AS SELECT n, repeat('x', 500) AS note FROM generate_series(1, 2000) n`,
        );
        await cluster.query('CREATE EXTENSION IF NOT EXISTS amcheck');
        const [checksums] = await cluster.query<{ data_checksums: string }>('SHOW data_checksums');
        assert.equal(checksums?.data_checksums, 'on');
        const path = await cluster.relationPath('written');
        const [, database, relation] = /base\/(\d+)\/(\d+)$/.exec(path) ?? [];
        await cluster.stop();
        const instance = await createInstance({ ioMethod, sharedBuffers: '512kB', ioMemory: '1MB' });
        const { backend } = instance;
        const table = backend.openRelation(cluster.directory, {
          database: Number(database),
          relation: Number(relation),
        });
        const blocks = table.blockCount(0);
        assert.ok(blocks > 64, 'more than the pool has');
        for (let block = 0; block < blocks; block++) {
          const buffer = await backend.readBlock(table, block);
          await buffer.change((page) => {
            const bytes = Buffer.from(page);
            for (let at = bytes.indexOf('xxxxxx'); at >= 0; at = bytes.indexOf('xxxxxx', at + 500))
              page.set(Buffer.from('pgaio '), at);
          });
          buffer.release();
        }
        for (const buffer of await backend.writes.extendRelation(table, 5)) buffer.release();
        await instance.close();
        giveToPostgres(path);
        await cluster.start();
        const [row] = await cluster.query<{ written: string; all: string; size: string }>(
          `SELECT count(*) FILTER (WHERE note = 'pgaio ' || repeat('x', 494)) AS written, count(*) AS all,
          pg_relation_size('written') / 8192 AS size FROM written`,
        );
        assert.deepEqual(row, { written: '2000', all: '2000', size: String(blocks + 5) });
        assert.deepEqual(await cluster.query(`SELECT * FROM verify_heapam('written')`), []);
        await cluster.query(`INSERT INTO written SELECT n, 'new' FROM generate_series(1, 500) n`);
        await cluster.stop();
      });
    }

    it('is not redone by us: it did not shut down', async () => {
      await cluster.start();
      await cluster.query('INSERT INTO things VALUES (102)');
      await cluster.stop('immediate');
      rmSync(join(cluster.directory, 'postmaster.pid'), { force: true });
      await assert.rejects(open(), { code: 'ERR_PGAIO_RECOVERY' });
      await cluster.start();
      const [row] = await cluster.query<{ count: string }>('SELECT count(*) FROM things');
      assert.equal(row?.count, '102');
    });
  },
);
