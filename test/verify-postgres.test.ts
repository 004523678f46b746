/**
 * Verification of real clusters, held against what PostgreSQL itself says of every block: through pageinspect
 * in another server that reads the files, and by pg_checksums where there is one of the cluster's version.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { VerifyReport } from '../src/cli/verify/report.js';
import { verifyPaths } from '../src/cli/verify/verify-paths.js';
import { supportedMethods } from '../src/instance/methods.js';
import { makePage } from '../testing/pages.js';
import { embeddedPostgresMissing, findPostgres15 } from '../testing/postgres/binaries.js';
import { createCluster, type Cluster, type ClusterOptions } from '../testing/postgres/cluster.js';
import { corruptBlock } from '../testing/postgres/corrupt.js';
import { runAsPostgres } from '../testing/postgres/run.js';
import { giveToPostgres } from '../testing/postgres/account.js';
import { seededRandom, type Random } from '../testing/random.js';

const embedded = { skip: embeddedPostgresMissing() ?? false };
const postgres15 = findPostgres15();
const BLOCK = 8192;
/** Verifications while the server writes; each must raise no alarm. PGAIO_STRESS_ROUNDS makes them more. */
const ROUNDS = 2 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1);
const BLOCKS_PER_SEGMENT = 131_072;

interface SegmentFile {
  /** Relative to the data directory. */
  name: string;
  path: string;
  blocks: number;
  firstBlock: number;
}

/** Files that hold pages, found without the code under test. */
function segmentFiles(directory: string): SegmentFile[] {
  const found: SegmentFile[] = [];
  const visit = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      const stat = statSync(path);
      if (name.startsWith('pgsql_tmp')) continue;
      if (stat.isDirectory()) visit(path);
      if (!stat.isFile() || !/^(t\d+_)?\d+(_(fsm|vm|init))?(\.\d+)?$/.test(name)) continue;
      const segment = Number(/\.(\d+)$/.exec(name)?.[1] ?? 0);
      const firstBlock = segment * BLOCKS_PER_SEGMENT;
      found.push({ name: relative(directory, path), path, blocks: stat.size / BLOCK, firstBlock });
    }
  };
  for (const folder of ['base', 'global', 'pg_tblspc']) visit(join(directory, folder));
  return found;
}

async function clusterFor(t: TestContext, options: ClusterOptions = {}): Promise<Cluster> {
  const cluster = await createCluster(options);
  t.after(() => cluster.remove());
  await cluster.start();
  return cluster;
}

/** A server that judges pages of others' files. */
async function judgeFor(t: TestContext): Promise<(files: readonly SegmentFile[]) => Promise<string[]>> {
  const cluster = await clusterFor(t);
  await cluster.query('CREATE EXTENSION pageinspect');
  const client = await cluster.connect();
  t.after(() => client.end());
  return async (files) => {
    const { rows } = await client.query<{ name: string; block: number }>(
      `SELECT name, block FROM (
         SELECT name, block, page_header(page) AS header, page_checksum(page, block + first) AS computed FROM (
           SELECT name, block, first, pg_read_binary_file(path, block * $5::bigint, $5::bigint) AS page
           FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[]) AS file (name, path, blocks, first),
             generate_series(0, blocks - 1) AS block OFFSET 0) AS pages OFFSET 0) AS judged
       WHERE (header).upper <> 0 AND computed <> (header).checksum ORDER BY name, block`,
      [
        files.map(({ name }) => name),
        files.map(({ path }) => path),
        files.map(({ blocks }) => blocks),
        files.map(({ firstBlock }) => firstBlock),
        BLOCK,
      ],
    );
    return rows.map(({ name, block }) => `${name}:${block}`);
  };
}

/** Several databases, all forks, a tablespace, unlogged and temporary relations. */
async function fill(cluster: Cluster): Promise<void> {
  await cluster.query(`CREATE TABLESPACE space LOCATION '${cluster.makeDirectory('space')}'`);
  await cluster.query('CREATE DATABASE other');
  for (const database of ['postgres', 'other']) {
    await cluster.query(
      `CREATE TABLE plain AS SELECT n, md5(n::text) AS text FROM generate_series(1, 60000) AS n;
       CREATE INDEX plain_n ON plain (n);
       CREATE TABLE far TABLESPACE space AS SELECT n, md5(n::text) AS text FROM generate_series(1, 20000) AS n;
       CREATE UNLOGGED TABLE unlogged AS SELECT n, md5(n::text) AS text FROM generate_series(1, 20000) AS n;
       CREATE INDEX unlogged_n ON unlogged (n);
       CREATE TABLE large (n int);
       INSERT INTO large VALUES (1);`,
      { database },
    );
    await cluster.query('VACUUM', { database });
  }
}

/** More than one segment, nearly all of it a hole, which is new pages. */
function extendOverOneSegment(path: string): void {
  truncateSync(path, BLOCKS_PER_SEGMENT * BLOCK);
  const pages = Array.from({ length: 20 }, (_, block) => makePage(BLOCKS_PER_SEGMENT + block));
  writeFileSync(`${path}.1`, Buffer.concat(pages));
  giveToPostgres(`${path}.1`);
}

/** Damages blocks here and there, whatever file they are in; new pages are left alone. */
function corrupt(files: readonly SegmentFile[], random: Random, times: number): void {
  const written = files.filter(({ blocks }) => blocks > 0);
  for (let done = 0; done < times;) {
    const file = random.pick(written);
    try {
      corruptBlock(file.path, random.below(file.blocks), random.pick(['header', 'body', 'checksum']), random);
      done++;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
  }
}

const places = (report: VerifyReport): string[] =>
  report.failures.map(({ path, block }) => `${path}:${block}`);

/** Holds both methods against the judge. */
async function compare(
  directory: string,
  judge: (files: readonly SegmentFile[]) => Promise<string[]>,
  random: Random,
): Promise<VerifyReport[]> {
  const files = segmentFiles(directory);
  corrupt(files, random, 40);
  const bad = await judge(files);
  assert.ok(bad.length > 20, `only ${bad.length} blocks are bad`);
  const reports = await verifyByAll(directory);
  for (const report of reports) {
    assert.deepEqual(report.problems, []);
    assert.deepEqual(places(report).sort(), bad.sort());
    assert.equal(report.files, files.length);
    assert.equal(
      report.blocks,
      files.reduce((sum, { blocks }) => sum + blocks, 0),
    );
    assert.equal(report.exitCode, 1);
  }
  return reports;
}

/** By all methods at once: most of the time, each waits whether a bad block of a running cluster stays so. */
function verifyByAll(directory: string): Promise<VerifyReport[]> {
  return Promise.all(supportedMethods().map((method) => verifyPaths({ paths: [directory], method })));
}

test('a stopped cluster: the same bad blocks as PostgreSQL says', embedded, async (t) => {
  const random = seededRandom(2026);
  t.diagnostic(`seed ${random.seed}`);
  const judge = await judgeFor(t);
  const cluster = await clusterFor(t);
  await fill(cluster);
  const large = await cluster.relationPath('large');
  await cluster.stop('fast');
  extendOverOneSegment(large);
  const clean = await verifyPaths({ paths: [cluster.directory] });
  assert.deepEqual([clean.exitCode, clean.bad, clean.structural, clean.online], [0, 0, 0, false]);
  const [report] = await compare(cluster.directory, judge, random);
  assert.equal(report?.online, false);
  for (const fork of ['_fsm', '_vm', '_init']) {
    assert.ok(
      segmentFiles(cluster.directory).some(({ name }) => name.endsWith(fork)),
      fork,
    );
  }
});

test('a crashed cluster, with what its sessions left behind', embedded, async (t) => {
  const random = seededRandom(18);
  t.diagnostic(`seed ${random.seed}`);
  const judge = await judgeFor(t);
  const cluster = await clusterFor(t);
  await fill(cluster);
  const client = await cluster.connect();
  await client.query('SET temp_buffers = 100');
  await client.query('CREATE TEMPORARY TABLE temporary AS SELECT n FROM generate_series(1, 100000) AS n');
  await cluster.query('CHECKPOINT');
  await cluster.stop('immediate');
  assert.ok(segmentFiles(cluster.directory).some(({ name }) => /^t\d+_/.test(basename(name))));
  const [report] = await compare(cluster.directory, judge, random);
  assert.equal(report?.online, true);
});

test(
  'pg_checksums 15 scans the same files and blocks, and finds the same',
  { skip: postgres15.missing ?? false },
  async (t) => {
    assert.ok(postgres15.binaries);
    const random = seededRandom(15);
    t.diagnostic(`seed ${random.seed}`);
    const cluster = await clusterFor(t, { binaries: postgres15.binaries });
    await fill(cluster);
    const large = await cluster.relationPath('large');
    await cluster.stop('fast');
    extendOverOneSegment(large);
    // It takes whatever lies there for pages, whatever its name.
    writeFileSync(join(cluster.directory, 'base/1/odd'), makePage(0));
    mkdirSync(join(cluster.directory, 'base/1/pgsql_tmp'));
    corrupt(segmentFiles(cluster.directory), random, 40);

    const program = join(postgres15.binaries.bin, 'pg_checksums');
    const output = await runAsPostgres(program, ['--check', cluster.directory]).catch((error: unknown) =>
      String(error),
    );
    const number = (label: string): number => Number(new RegExp(`${label}:\\s+(\\d+)`).exec(output)?.[1]);
    const line =
      /failed in file "(.*)", block (\d+): calculated checksum ([0-9A-F]+) but block contains ([0-9A-F]+)/g;
    const failures = [...output.matchAll(line)].map(([, path = '', block, computed, stored]) => ({
      path: relative(cluster.directory, path),
      block: Number(block),
      stored: Number(`0x${stored ?? ''}`),
      computed: Number(`0x${computed ?? ''}`),
    }));
    const order = (one: { path: string; block: number }): string => `${one.path} ${one.block}`;
    for (const report of await verifyByAll(cluster.directory)) {
      assert.deepEqual(
        [report.files, report.blocks, report.bad],
        [number('Files scanned'), number('Blocks scanned'), number('Bad checksums')],
      );
      const sorted = (list: readonly (typeof failures)[number][]): typeof failures =>
        list.toSorted((left, right) => (order(left) < order(right) ? -1 : 1));
      assert.deepEqual(sorted(report.failures), sorted(failures));
    }
  },
);

/** What a busy server does to its files, until it is told to stop. */
async function load(cluster: Cluster, random: Random, isOver: () => boolean): Promise<void> {
  const client = await cluster.connect();
  const name = `scratch_${random.seed}`;
  const jobs: (() => string)[] = [
    () =>
      `UPDATE busy SET text = md5(random()::text) WHERE n BETWEEN ${random.below(90_000)} AND ${random.below(90_000)} + 3000`,
    () => `INSERT INTO busy SELECT n, md5(n::text) FROM generate_series(1, 2000) AS n`,
    () => `DELETE FROM busy WHERE n % 97 = ${random.below(97)}`,
    () => 'CHECKPOINT',
    () => 'VACUUM busy',
    () => `CREATE TABLE IF NOT EXISTS ${name} AS SELECT n FROM generate_series(1, 50000) AS n`,
    () => `CREATE INDEX ON ${name} (n)`,
    () => `TRUNCATE ${name}`,
    () => `INSERT INTO ${name} SELECT n FROM generate_series(1, 20000) AS n`,
    () => `DROP TABLE IF EXISTS ${name}`,
  ];
  try {
    // A statement may come to a table that is not there, or into a deadlock.
    while (!isOver()) await client.query(random.pick(jobs)()).catch(() => undefined);
  } finally {
    await client.end();
  }
}

test(
  'a running cluster under a write load: no false alarm, and real damage is found',
  embedded,
  async (t) => {
    const cluster = await clusterFor(t, { settings: { shared_buffers: '2MB', max_wal_size: '64MB' } });
    await cluster.query(
      `CREATE TABLE busy AS SELECT n, md5(n::text) AS text FROM generate_series(1, 90000) AS n;
     CREATE INDEX busy_n ON busy (n);
     CREATE TABLE quiet AS SELECT n FROM generate_series(1, 20000) AS n;`,
    );
    await cluster.query('VACUUM quiet');
    await cluster.query('CHECKPOINT');
    const quiet = await cluster.relationPath('quiet');
    let isOver = false;
    const clients = [1, 2].map((seed) => load(cluster, seededRandom(seed), () => isOver));
    const everybody = Promise.all(clients);
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (const method of supportedMethods()) {
          const report = await verifyPaths({ paths: [cluster.directory], method });
          assert.deepEqual([report.failures, report.problems, report.structural], [[], [], 0]);
          assert.deepEqual([report.online, report.exitCode], [true, 0]);
          t.diagnostic(`${method}, round ${round}: ${report.blocks} blocks, ${report.inFlux} in flux`);
        }
      }
      corruptBlock(quiet, 3, 'body', seededRandom(7));
      for (const report of await verifyByAll(cluster.directory)) {
        assert.deepEqual(places(report), [`${relative(cluster.directory, quiet)}:3`]);
        assert.deepEqual([report.problems, report.exitCode], [[], 1]);
      }
    } finally {
      isOver = true;
      await everybody;
    }
  },
);
