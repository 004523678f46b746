/** The benchmarks, tiny: that they read what they should and count what they read. How fast is of no interest here. */
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { rmSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBenchCluster } from '../../bench/data/bench-cluster.js';
import { largestTable, tableAt, type BenchTable } from '../../bench/data/table.js';
import { missing } from '../../bench/found.js';
import { findPostgres } from '../../bench/peers/postgres.js';
import { parseFigures, TestFsync } from '../../bench/peers/test-fsync.js';
import { runScenario, type CaseResult, type ScenarioResult } from '../../bench/run.js';
import type { Bench } from '../../bench/scenario.js';
import { scenarios } from '../../bench/scenarios/index.js';
import { supportedMethods } from '../../src/index.js';
import { embeddedPostgresMissing, ensureEmbeddedPostgres } from '../../testing/postgres/binaries.js';
import { cacheDirectory } from '../../testing/postgres/cache.js';
import { DataDirectory } from '../../testing/relations.js';

const SECONDS = 0.02;
/** Whole reads of 16 blocks, also after the eighth that `stream-cold` warms up with. */
const BLOCKS = 3072;
const NO_POSTGRES = 'this test does without';

async function run(name: string, bench: Bench, wanted?: (name: string) => boolean): Promise<ScenarioResult> {
  const scenario = scenarios.find((one) => one.name === name);
  assert(scenario !== undefined);
  const result = await runScenario(scenario, bench, { reps: 1, ...(wanted === undefined ? {} : { wanted }) });
  for (const { name, failed, missing } of result.cases) assert(!failed, `${name}: ${missing ?? ''}`);
  return result;
}

/** One case of each of our methods and of each peer: another queue depth or number of workers runs the same code. */
function oneOfAKind(): (name: string) => boolean {
  const kinds = new Set<string>();
  return (name) => {
    const kind = kindOf(name);
    const isFirst = !kinds.has(kind);
    kinds.add(kind);
    return isFirst;
  };
}

const kindOf = (name: string): string => name.split(/[^\w]/)[0] ?? '';

function measured(result: ScenarioResult): CaseResult[] {
  return result.cases.filter(({ summary }) => summary !== null);
}

function opsOf({ measurements }: CaseResult): number {
  assert.equal(measurements.length, 1);
  return measurements[0]?.ops ?? 0;
}

/** Files in memory can neither be dropped from the page cache nor always be read past it. */
const TMPFS_MAGIC = 0x0102_1994;
const inMemory =
  statfsSync(tmpdir()).type === TMPFS_MAGIC ? `${tmpdir()} is in memory: there is nothing behind it` : false;

const isPeer = (name: string): boolean => /^(fs\.|FileHandle|fio|PostgreSQL|pg_|system calls)/.test(name);

describe('on a table of our own', () => {
  const directory = new DataDirectory();
  const { database, relation } = directory.write(7, BLOCKS);
  const table: BenchTable = tableAt(directory.path, database, relation);
  const bench: Bench = {
    methods: supportedMethods(),
    table,
    postgres: missing(NO_POSTGRES),
    walDirectory: directory.path,
    seconds: SECONDS,
  };
  after(() => directory[Symbol.dispose]());

  it('finds the table', () => {
    assert.equal(table.blocks, BLOCKS);
    assert.deepEqual(largestTable(directory.path), table);
  });

  const onClusters = ['verify', 'verify-cold'];
  for (const scenario of scenarios.filter(({ name }) => !onClusters.includes(name))) {
    it(`${scenario.name} judges cases that it has`, async () => {
      const { cases, targets, close } = await scenario.plan(bench);
      await close?.();
      const names = new Set(cases.map(({ name }) => name));
      assert.equal(names.size, cases.length);
      for (const { text, of, over = [] } of targets)
        for (const name of [...of, ...over]) assert(names.has(name), `${text}: ${name}`);
    });
  }

  // Peers run the same code in all of them.
  const peers = oneOfAKind();
  const fromCache = ['sync-read', 'worker-read', 'uring-read', 'hits', 'hit-scan'];
  const fromStorage = ['direct-read', 'cold-read'];
  for (const name of [...fromCache, ...fromStorage, 'slow-storage']) {
    it(`${name} compares what it reads`, { skip: fromStorage.includes(name) && inMemory }, async (t) => {
      const ours = oneOfAKind();
      const result = await run(name, bench, (one) => (isPeer(one) ? peers(one) : ours(one)));
      if (result.missing !== null) t.skip(result.missing);
      for (const one of measured(result)) {
        assert(opsOf(one) > 0, one.name);
        if (!isPeer(one.name)) assert((one.measurements[0]?.checked ?? 0) > 0, one.name);
      }
    });
  }

  const ourFiles = {
    'files-read': /^io_uring, readMany$|^2 workers, read$/,
    'files-stream': /^(worker|io_uring, web)$/,
    'files-cache': /^worker, one cache$/,
  };
  for (const [name, ours] of Object.entries(ourFiles)) {
    it(`${name} reads files`, async () => {
      const result = await run(name, bench, (one) => ours.test(one));
      for (const one of measured(result)) {
        assert(opsOf(one) > 0, one.name);
        if (name === 'files-read') assert((one.measurements[0]?.checked ?? 0) > 0, one.name);
      }
    });
  }

  const commits = {
    'wal-group': /^(sync|worker), in 1 thread$|^io_uring, in 2 threads$/,
    'wal-pipeline': /^io_uring, 4 at once$/,
    'wal-latency': /^sync, fdatasync, blocking$|^worker, open_datasync, direct, await$/,
  };
  for (const [name, ours] of Object.entries(commits)) {
    it(`${name} finds again what it committed`, async (t) => {
      const result = await run(name, bench, (one) => (isPeer(one) ? peers(one) : ours.test(one)));
      if (result.missing !== null) t.skip(result.missing);
      for (const one of measured(result)) {
        assert(opsOf(one) > 0, one.name);
        if (!isPeer(one.name)) assert((one.measurements[0]?.checked ?? 0) > 0, one.name);
      }
    });
  }

  it('pg_test_fsync serves two figures by one run, and runs again for a third', async () => {
    const output = [
      'Compare file sync methods using one 8kB write:',
      '        open_datasync                      2841.912 ops/sec     352 usecs/op',
      '        fdatasync                          1650.311 ops/sec     606 usecs/op',
      '        fsync_writethrough                              n/a',
      'Compare file sync methods using two 8kB writes:',
      '        fdatasync                           950.500 ops/sec    1052 usecs/op',
      'Compare open_sync with different write sizes:',
      '         1 * 16kB open_sync write          1133.100 ops/sec     882 usecs/op',
    ].join('\n');
    assert.deepEqual(Object.fromEntries(parseFigures(output)), {
      '1 open_datasync': 2841.912,
      '1 fdatasync': 1650.311,
      '2 fdatasync': 950.5,
    });
    let runs = 0;
    const peer = new TestFsync({ testFsync: () => Promise.resolve((runs++, output)) });
    const one = { writes: 1, method: 'fdatasync' } as const;
    assert.equal((await peer.measure(one)).ops, 1650.311);
    await peer.measure({ writes: 2, method: 'fdatasync' });
    assert.equal(runs, 1);
    await peer.measure(one);
    assert.equal(runs, 2);
    await assert.rejects(
      peer.measure({ writes: 2, method: 'open_datasync' }),
      /says nothing of open_datasync/,
    );
  });

  for (const name of ['stream', 'stream-bookkeeping']) {
    it(`${name} reads whole tables, and says which peers are missing`, async () => {
      const isFirst = oneOfAKind();
      const result = await run(name, bench, (name) => isFirst(name) || name.startsWith('sync,'));
      for (const one of measured(result)) assert.equal(opsOf(one) % BLOCKS, 0, one.name);
      for (const { name, missing } of result.cases)
        assert.equal(missing, name.startsWith('PostgreSQL') ? NO_POSTGRES : null, name);
      assert.equal(
        result.targets.some(({ measured }) => measured !== null),
        true,
      );
    });
  }

  it('stream-cold reads once what it has not read before', { skip: inMemory }, async () => {
    const result = await run('stream-cold', bench, oneOfAKind());
    for (const one of measured(result))
      assert.equal(opsOf(one), isPeer(one.name) ? BLOCKS : BLOCKS * (7 / 8));
  });
});

describe('beside a PostgreSQL', { skip: embeddedPostgresMissing() ?? false }, () => {
  // Not in a temporary directory, which may be in memory only.
  const directory = join(cacheDirectory(), `bench-test-${process.pid}`);
  after(() => {
    rmSync(directory, { recursive: true, force: true });
    rmSync(`${directory}.finished`, { force: true });
  });

  it('pg_prewarm and verify read the same blocks as we do', async () => {
    await ensureBenchCluster(directory, BLOCKS * 8192, () => undefined);
    const { bin } = await ensureEmbeddedPostgres();
    const postgres = await findPostgres({ cluster: directory, bin });
    assert.equal(postgres.missing, null);
    const table = largestTable(directory);
    const bench: Bench = {
      methods: supportedMethods(),
      table,
      postgres,
      walDirectory: directory,
      seconds: SECONDS,
    };

    const stream = await run('stream', bench, (name) => name === 'sync' || name.startsWith('PostgreSQL'));
    for (const name of ['sync', 'PostgreSQL sync', 'PostgreSQL worker']) {
      const one = stream.cases.find((each) => each.name === name);
      assert(one !== undefined);
      assert.equal(opsOf(one) % table.blocks, 0, name);
    }
    for (const { name, missing } of stream.cases)
      assert.equal(missing === null, name !== 'PostgreSQL io_uring', `${name}: ${missing ?? 'runs'}`);

    const verify = await run('verify', bench);
    const counts = new Set(measured(verify).map(opsOf));
    assert(counts.size <= 1, [...counts].join());
  });
});
