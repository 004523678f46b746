/** Verification of synthetic clusters, under every method: counts, verdicts, problems and exit codes. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pageStoredChecksum } from '../../src/page/page-header.js';
import { pageChecksum } from '../../src/page/page-checksum.js';
import type { VerifyReport } from '../../src/cli/verify/report.js';
import { verifyPaths, type VerifyOptions } from '../../src/cli/verify/verify-paths.js';
import { Injection } from '../../testing/injection.js';
import { forEachMethod } from '../../testing/instances.js';
import { FIELD, controlFixture, patchedControlFile } from '../verify-cluster/control-files.js';
import { pages, SyntheticCluster, type PageKind } from './synthetic-cluster.js';

/** What is compared in most tests. */
function counts(report: VerifyReport): Record<string, unknown> {
  const { files, blocks, bad, structural, inFlux, unreadable, exitCode } = report;
  return { files, blocks, bad, structural, inFlux, unreadable, exitCode };
}

function expected(changes: Record<string, unknown>): Record<string, unknown> {
  return { files: 1, blocks: 0, bad: 0, structural: 0, inFlux: 0, unreadable: 0, exitCode: 0, ...changes };
}

const places = (report: VerifyReport): string[] =>
  report.failures.map(({ path, block }) => `${path}:${block}`);

function repeat(kind: PageKind, times: number): PageKind[] {
  return new Array<PageKind>(times).fill(kind);
}

forEachMethod((method) => {
  const verify = (path: string, options: Partial<VerifyOptions> = {}): Promise<VerifyReport> =>
    verifyPaths({ paths: [path], method, jobs: 1, ...options }); // each further job is a thread to start

  test('good and new pages are fine', async () => {
    using cluster = new SyntheticCluster();
    cluster.segment('base/5/16384', ['good', 'zero', 'new', 'good']);
    cluster.segment('global/1260', ['good']);
    cluster.write('base/5/16385', '');
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ files: 3, blocks: 5 }));
    assert.deepEqual(
      { method: report.method, online: report.online, bytes: report.bytes, paths: report.paths },
      { method, online: false, bytes: 5 * 8192, paths: [cluster.path] },
    );
    assert.ok(report.io.reads >= 2 && report.io.readBytes === 5 * 8192);
  });

  test('every bad block is reported, with both checksums', async () => {
    using cluster = new SyntheticCluster();
    const kinds: PageKind[] = [...repeat('good', 300), 'body', 'good', 'checksum', 'structure', 'body'];
    cluster.segment('base/5/16384', kinds);
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ blocks: 305, bad: 3, structural: 1, exitCode: 1 }));
    const contents = pages(kinds);
    const failure = (block: number): object => {
      const page = contents.subarray(block * 8192, (block + 1) * 8192);
      const stored = pageStoredChecksum(new DataView(page.buffer, page.byteOffset, 8192));
      return { path: 'base/5/16384', block, stored, computed: pageChecksum(page, block) };
    };
    assert.deepEqual(report.failures, [failure(300), failure(302), failure(304)]);
    assert.deepEqual(report.structuralBlocks, [{ path: 'base/5/16384', block: 303 }]);
  });

  test('structural damage alone does not change the exit code', async () => {
    using cluster = new SyntheticCluster();
    cluster.segment('base/5/16384', ['good', 'structure']);
    assert.deepEqual(counts(await verify(cluster.path)), expected({ blocks: 2, structural: 1 }));
  });

  test('later segments continue the block numbers; blocks are counted inside the file', async () => {
    using cluster = new SyntheticCluster(patchedControlFile(FIELD.blocksPerSegment, 4));
    cluster.segment('base/5/16384', repeat('good', 4));
    cluster.segment('base/5/16384.1', repeat('good', 4), 4);
    cluster.segment('base/5/16384.2', ['good', 'body'], 8);
    cluster.segment('base/5/16384_fsm.1', ['good'], 4);
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ files: 4, blocks: 11, bad: 1, exitCode: 1 }));
    assert.deepEqual(places(report), ['base/5/16384.2:1']);
  });

  test('blocks of 1024 to 32768 bytes', async () => {
    const sizes = [1024, 2048, 4096, 16_384, 32_768];
    const clusters = sizes.map((blockSize) => {
      const cluster = new SyntheticCluster(patchedControlFile(FIELD.blockSize, blockSize));
      cluster.segment('base/5/16384', ['good', 'good', 'body', 'zero', 'good'], 0, blockSize);
      return cluster;
    });
    using _ = { [Symbol.dispose]: () => clusters.forEach((cluster) => cluster[Symbol.dispose]()) };
    const paths = clusters.map(({ path }) => path);
    const expectedCounts = expected({ files: 5, blocks: 25, bad: 5, exitCode: 1 });
    for (const direct of [false, true]) {
      const report = await verifyPaths({ paths, method, jobs: 1, direct });
      if (direct && report.problems.length > 0) continue; // not on every file system
      assert.deepEqual(counts(report), expectedCounts);
      assert.deepEqual(places(report), new Array(5).fill('base/5/16384:2'));
    }
  });

  test('a short last block is reported, and the rest goes on', async () => {
    using cluster = new SyntheticCluster();
    truncateSync(cluster.segment('base/5/16384', ['good', 'good']), 8192 + 100);
    cluster.segment('base/5/16385', ['good']);
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ files: 2, blocks: 2, unreadable: 1, exitCode: 2 }));
    assert.match(
      String(report.problems[0]?.message),
      /"base\/5\/16384" ends inside block 1: 100 of its 8192/,
    );
    cluster.segment('base/5/16386', ['body']);
    assert.equal((await verify(cluster.path)).exitCode, 1);
  });

  test('what cannot be opened or read is reported, and the rest goes on', async () => {
    using cluster = new SyntheticCluster();
    mkdirSync(join(cluster.path, 'base/5/16384'));
    symlinkSync('nowhere', join(cluster.path, 'base/5/16385'));
    cluster.segment('base/5/16386', ['good', 'good']);
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ blocks: 2, unreadable: 2, exitCode: 2 }));
    assert.deepEqual(report.problems.map(({ path }) => path).sort(), ['base/5/16384', 'base/5/16385']);
  });

  test('after a read error the blocks are read one by one', async () => {
    const injection = new Injection({ ahead: true });
    using cluster = new SyntheticCluster();
    cluster.segment('base/5/16384', ['good', 'body', 'good']);
    injection.answer(-5, { times: 1 });
    const healed = await verify(cluster.path, { injection: injection.url });
    assert.deepEqual(counts(healed), expected({ blocks: 3, bad: 1, exitCode: 1 }));
    injection.answer(-5);
    const broken = await verify(cluster.path, { injection: injection.url });
    assert.deepEqual(counts(broken), expected({ unreadable: 1, exitCode: 2 }));
    assert.match(
      String(broken.problems[0]?.message),
      /blocks 0 to 2 of "base\/5\/16384" could not be read: .*EIO/,
    );
  });

  test('a read that stops early is continued', async () => {
    const injection = new Injection({ ahead: true });
    using cluster = new SyntheticCluster();
    cluster.segment('base/5/16384', ['good', 'good', 'good', 'body']);
    injection.answer(2 * 8192 + 100, { times: 1 });
    const report = await verify(cluster.path, { injection: injection.url });
    assert.deepEqual(counts(report), expected({ blocks: 4, bad: 1, exitCode: 1 }));
  });

  test('nested and repeated paths are verified once', async () => {
    using cluster = new SyntheticCluster();
    const file = cluster.segment('base/5/16384', ['good', 'body']);
    const paths = [cluster.path, join(cluster.path, 'base'), join(cluster.path, 'base/5'), file, file];
    const report = await verifyPaths({ paths, method });
    assert.deepEqual(counts(report), expected({ blocks: 2, bad: 1, exitCode: 1 }));
    assert.deepEqual(places(report), ['base/5/16384:1']);
    assert.deepEqual(counts(await verify(file)), expected({ blocks: 2, bad: 1, exitCode: 1 }));
  });

  test('tablespaces, with and without their data directory', async () => {
    using cluster = new SyntheticCluster();
    const space = cluster.beside('space');
    mkdirSync(space);
    symlinkSync(space, join(cluster.path, 'pg_tblspc/16400'));
    cluster.segment('pg_tblspc/16400/PG_18_202506291/5/16390', ['good', 'checksum']);
    const report = await verify(cluster.path);
    assert.deepEqual(places(report), ['pg_tblspc/16400/PG_18_202506291/5/16390:1']);
    const alone = await verify(space);
    assert.deepEqual([alone.bad, alone.online, alone.exitCode], [1, true, 1]);
  });

  test('clusters that are verified together say which one a bad block is of', async () => {
    using one = new SyntheticCluster();
    using two = new SyntheticCluster();
    one.segment('base/5/16384', ['body']);
    two.segment('base/5/16384', ['body']);
    const report = await verifyPaths({ paths: [one.path, two.path], method });
    const directories = report.failures.map((failure) => failure.dataDirectory);
    assert.deepEqual(directories, [one.path, two.path].sort());
  });

  test('only the files of one relation', async () => {
    using cluster = new SyntheticCluster();
    for (const name of ['16384', '16384_vm', '16384.1', '163840', 't3_16384']) {
      cluster.segment(`base/5/${name}`, ['zero']);
    }
    assert.equal((await verify(cluster.path, { filenode: 16384 })).files, 3);
    assert.equal((await verify(cluster.path, { filenode: 99 })).files, 0);
  });

  test('several jobs share one large file, and a file list that is longer than a batch', async () => {
    using cluster = new SyntheticCluster();
    const large = cluster.segment('base/5/16384', ['good', 'body']);
    truncateSync(large, 100 * 2 ** 20); // zeros from there on
    for (let name = 20_000; name < 20_200; name++) cluster.segment(`base/5/${name}`, ['good']);
    const report = await verify(cluster.path, { jobs: 3 });
    assert.deepEqual(counts(report), expected({ files: 201, blocks: 12_800 + 200, bad: 1, exitCode: 1 }));
    assert.equal(report.io.jobs, 3);
  });

  test('an early end reports what was done so far', async () => {
    using cluster = new SyntheticCluster();
    truncateSync(cluster.segment('base/5/16384', ['body']), 64 * 2 ** 20);
    const controller = new AbortController();
    const report = await verify(cluster.path, {
      rate: 2 ** 20,
      signal: controller.signal,
      watcher: { bad: () => controller.abort() },
    });
    assert.deepEqual([report.interrupted, report.exitCode, report.bad], [true, 130, 1]);
    assert.ok(report.blocks > 0 && report.bytes < 32 * 2 ** 20, `${report.bytes} bytes`);
  });

  test('an end before the beginning', async () => {
    using cluster = new SyntheticCluster();
    cluster.segment('base/5/16384', ['good']);
    const report = await verify(cluster.path, { signal: AbortSignal.abort() });
    assert.deepEqual([report.interrupted, report.exitCode, report.blocks], [true, 130, 0]);
  });

  test('a server that runs: stable damage is found, and files may be gone', async () => {
    using cluster = SyntheticCluster.running();
    const file = cluster.segment('base/5/16384', ['good', 'body', 'checksum']);
    cluster.segment('base/5/16385', ['good']);
    const report = await verify(cluster.path);
    assert.deepEqual(counts(report), expected({ files: 2, blocks: 4, bad: 2, exitCode: 1 }));
    assert.equal(report.online, true);
    rmSync(file);
    assert.deepEqual(counts(await verify(cluster.path)), expected({ blocks: 1 }));
  });
});

test('a job that fails ends the verification, with the reason and what was verified so far', async () => {
  const injection = new Injection({ ahead: true });
  using cluster = new SyntheticCluster();
  cluster.segment('base/5/16384', ['good']);
  injection.throwAt('afterSharedCompletion');
  const report = await verifyPaths({ paths: [cluster.path], method: 'sync', injection: injection.url });
  assert.deepEqual([report.exitCode, report.blocks], [2, 0]);
  assert.match(String(report.crash), /injected/);
});

test('a cluster without checksums is refused', async () => {
  using cluster = new SyntheticCluster(controlFixture('18-no-checksums'));
  cluster.segment('base/5/16384', ['good']);
  const report = await verifyPaths({ paths: [cluster.path], method: 'sync' });
  assert.deepEqual([report.exitCode, report.files], [2, 0]);
  assert.match(String(report.problems[0]?.message), /data checksums are not enabled/);
});

test('a wrong path among good ones: the good ones are verified', async () => {
  using cluster = new SyntheticCluster();
  cluster.segment('base/5/16384', ['good']);
  const paths = [join(cluster.path, 'nowhere'), cluster.path];
  const report = await verifyPaths({ paths, method: 'sync' });
  assert.deepEqual(counts(report), expected({ blocks: 1, unreadable: 1, exitCode: 2 }));
});

test(
  'a file that may not be read',
  { skip: process.getuid?.() === 0 ? 'root may read everything' : false },
  async () => {
    using cluster = new SyntheticCluster();
    const { chmodSync } = await import('node:fs');
    chmodSync(cluster.segment('base/5/16384', ['good']), 0);
    cluster.segment('base/5/16385', ['good']);
    const report = await verifyPaths({ paths: [cluster.path], method: 'sync' });
    assert.deepEqual(counts(report), expected({ blocks: 1, unreadable: 1, exitCode: 2 }));
  },
);
