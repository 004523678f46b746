/**
 * The WAL that we write on a real PostgreSQL 18's cluster: the server starts on it, after a shutdown of ours and after
 * a crash, reads our records, and goes on; and we go on with what it leaves behind.
 */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { createInstance, type Instance } from '../../src/instance/instance.js';
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
