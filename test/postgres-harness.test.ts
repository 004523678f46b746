import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { embeddedPostgresMissing, findPostgres15 } from '../testing/postgres/binaries.js';
import { createCluster, type Cluster, type ClusterOptions } from '../testing/postgres/cluster.js';
import { corruptBlock, type CorruptionKind } from '../testing/postgres/corrupt.js';
import { runAsPostgres } from '../testing/postgres/run.js';
import { seededRandom } from '../testing/random.js';

const embedded = { skip: embeddedPostgresMissing() ?? false };
const postgres15 = findPostgres15();

async function clusterFor(t: TestContext, options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await createCluster(options);
  t.after(() => cluster.remove());
  return cluster;
}

async function setting(cluster: Cluster, name: string): Promise<unknown> {
  const [row] = await cluster.query('SELECT current_setting($1) AS value', { values: [name] });
  return row?.['value'];
}

test('a cluster starts, answers, stops and starts again', embedded, async (t) => {
  const cluster = await clusterFor(t);
  assert.equal(cluster.running, false);
  await cluster.start();
  assert.equal(await setting(cluster, 'data_checksums'), 'on');
  assert.match(String(await setting(cluster, 'server_version')), /^18\./);
  await cluster.query('CREATE TABLE numbers AS SELECT generate_series(1, 1000) AS n');
  assert.ok(existsSync(await cluster.relationPath('numbers')));

  await cluster.stop('fast');
  assert.equal(cluster.running, false);
  assert.equal(existsSync(join(cluster.directory, 'postmaster.pid')), false);

  await cluster.start();
  assert.deepEqual(await cluster.query('SELECT 1 AS a; SELECT count(*)::int AS n FROM numbers'), [
    { n: 1000 },
  ]);
});

test('an immediate stop is a crash: the next start recovers what was committed', embedded, async (t) => {
  const cluster = await clusterFor(t);
  await cluster.start();
  await cluster.query('CREATE TABLE logged AS SELECT generate_series(1, 10) AS n');
  await cluster.query('CREATE UNLOGGED TABLE unlogged AS SELECT generate_series(1, 10) AS n');
  await cluster.stop('immediate');
  await cluster.start();
  assert.match(cluster.log, /automatic recovery in progress/);
  assert.deepEqual(await cluster.query('SELECT count(*)::int AS n FROM logged'), [{ n: 10 }]);
  assert.deepEqual(await cluster.query('SELECT count(*)::int AS n FROM unlogged'), [{ n: 0 }]);
});

test('settings, initdb arguments, databases and tablespaces', embedded, async (t) => {
  const cluster = await clusterFor(t, {
    checksums: false,
    initdbArguments: ['--wal-segsize=1'],
    settings: { max_connections: 7 },
  });
  await cluster.start();
  assert.equal(await setting(cluster, 'data_checksums'), 'off');
  assert.equal(await setting(cluster, 'wal_segment_size'), '1MB');
  assert.equal(await setting(cluster, 'max_connections'), '7');
  const location = cluster.makeDirectory('space');
  await cluster.query(`CREATE TABLESPACE space LOCATION '${location}'`);
  await cluster.query('CREATE DATABASE other');
  await cluster.query('CREATE TABLE far (n int) TABLESPACE space', { database: 'other' });
  assert.match(await cluster.relationPath('far', 'other'), /\/pg_tblspc\//);
});

test('a server that cannot start says why', embedded, async (t) => {
  const cluster = await clusterFor(t, { settings: { shared_buffers: 'nonsense' } });
  await assert.rejects(cluster.start(), /invalid value for parameter "shared_buffers"/);
  assert.equal(cluster.running, false);
});

test('nothing is left behind', embedded, async () => {
  let home: string;
  {
    await using cluster = await createCluster();
    home = dirname(cluster.directory);
    await cluster.start();
  }
  assert.equal(existsSync(home), false);
});

for (const kind of ['header', 'body', 'checksum'] satisfies CorruptionKind[]) {
  test(`PostgreSQL itself finds a corrupted ${kind}`, embedded, async (t) => {
    const random = seededRandom(18);
    t.diagnostic(`seed ${random.seed}`);
    const cluster = await clusterFor(t);
    await cluster.start();
    await cluster.query('CREATE TABLE pages AS SELECT generate_series(1, 10000) AS n');
    const path = await cluster.relationPath('pages');
    await cluster.stop('fast');
    const corruption = corruptBlock(path, 3, kind, random);
    assert.notEqual(corruption.before, corruption.after);
    await cluster.start();
    await assert.rejects(cluster.query('SELECT count(*) FROM pages'), /invalid page in block 3 of relation/);
  });
}

test(
  'Debian’s PostgreSQL 15 works too, with pg_checksums',
  { skip: postgres15.missing ?? false },
  async (t) => {
    assert.ok(postgres15.binaries);
    const cluster = await clusterFor(t, { binaries: postgres15.binaries });
    await cluster.start();
    assert.match(String(await setting(cluster, 'server_version')), /^15\./);
    await cluster.stop('fast');
    const pgChecksums = join(postgres15.binaries.bin, 'pg_checksums');
    assert.match(await runAsPostgres(pgChecksums, ['--check', cluster.directory]), /Bad checksums:\s+0/);
  },
);
