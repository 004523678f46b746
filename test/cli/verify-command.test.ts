/** `pgaio verify` as a user sees it: what it prints where, exit codes, interruption, bad input. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { forEachMethod } from '../../testing/instances.js';
import { controlFixture, FIELD, patchedControlFile } from '../verify-cluster/control-files.js';
import { SyntheticCluster } from '../verify/synthetic-cluster.js';
import { Program, run, type Ended } from './program.js';

const KEYS = [
  'method',
  'methodReason',
  'paths',
  'online',
  'files',
  'blocks',
  'bytes',
  'bad',
  'structural',
  'inFlux',
  'unreadable',
  'failures',
  'seconds',
  'io',
];

function clusterWith(...kinds: Parameters<SyntheticCluster['segment']>[1]): SyntheticCluster {
  const cluster = new SyntheticCluster();
  cluster.segment('base/5/16384', kinds);
  return cluster;
}

/** Bad input gets a sentence on standard error, exit code 2, and no stack trace. */
function assertRefused({ code, stderr }: Ended, sentence: RegExp): void {
  assert.equal(code, 2, stderr);
  assert.match(stderr, sentence);
  assert.doesNotMatch(stderr, /^\s+at /m);
}

forEachMethod((method) => {
  test('a good cluster: exit code 0', async () => {
    using cluster = clusterWith('good', 'zero');
    const { code, stdout, stderr } = await run('verify', '--method', method, cluster.path);
    assert.equal(code, 0);
    assert.match(stdout, /^1 file, 2 blocks, 16\.0 kB in .* method (io_uring|worker|sync)/m);
    assert.match(stdout, /^No bad blocks\.$/m);
    assert.match(stderr, new RegExp(`verifying with method ${method}`));
  });

  test('bad blocks: exit code 1, one line each, a table, and what to do', async () => {
    using cluster = clusterWith('good', 'checksum', 'structure');
    const { code, stdout } = await run('verify', '--method', method, cluster.path);
    assert.equal(code, 1);
    const line =
      /^bad checksum in file "base\/5\/16384", block 1: calculated [0-9A-F]+, the block contains [0-9A-F]+$/m;
    assert.match(stdout, line);
    assert.match(stdout, /^damaged page header in file "base\/5\/16384", block 2:/m);
    assert.match(stdout, /│ base\/5\/16384 │ +1 │ 1 +│/);
    assert.match(stdout, /pg_filenode_relation\(0, 16384\)/);
  });

  test('--json prints one document and nothing else', async () => {
    using cluster = clusterWith('good', 'checksum');
    mkdirSync(join(cluster.path, 'base/5/16390'));
    const { code, stdout } = await run('verify', '--json', '--method', method, cluster.path);
    assert.equal(code, 1);
    const report = JSON.parse(stdout) as Record<string, unknown>;
    const missing = KEYS.filter((key) => !(key in report));
    assert.deepEqual(missing, []);
    assert.deepEqual([report['method'], report['paths'], report['online']], [method, [cluster.path], false]);
    const [failure] = report['failures'] as Record<string, unknown>[];
    assert.ok(failure);
    assert.deepEqual(Object.keys(failure).sort(), ['block', 'computed', 'path', 'stored']);
    assert.deepEqual([failure['path'], failure['block'], report['unreadable']], ['base/5/16384', 1, 1]);
    assert.ok(Number.isInteger(failure['stored']) && Number.isInteger(failure['computed']));
  });

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} reports what was verified so far: exit code 130`, async () => {
      using cluster = clusterWith('checksum');
      truncateSync(join(cluster.path, 'base/5/16384'), 256 * 2 ** 20);
      const program = new Program(['verify', '--rate', '1', '--method', method, cluster.path]);
      await program.said('bad checksum');
      program.child.kill(signal);
      await program.said('interrupted');
      program.child.kill(signal); // as npm does: the same Ctrl-C once more
      const { code, stdout } = await program.ended();
      assert.equal(code, 130);
      assert.match(stdout, /^Interrupted: what follows is what was verified so far\.$/m);
      assert.match(stdout, /^1 file, \d+ blocks/m);
      assert.match(stdout, /^1 bad block\.$/m);
    });
  }

  test('an interrupted --json is a whole document', async () => {
    using cluster = clusterWith('good');
    mkdirSync(join(cluster.path, 'base/5/16390')); // said on standard error once listing has begun
    truncateSync(join(cluster.path, 'base/5/16384'), 256 * 2 ** 20);
    const program = new Program(['verify', '--json', '--rate', '1', '--method', method, cluster.path]);
    await program.said('16390');
    program.child.kill('SIGINT');
    const { code, stdout } = await program.ended();
    assert.equal(code, 130);
    const report = JSON.parse(stdout) as { interrupted: boolean; bytes: number };
    assert.ok(report.interrupted && report.bytes < 64 * 2 ** 20);
  });
});

test('when nobody reads the output any more, it ends', async () => {
  using cluster = new SyntheticCluster();
  // Lines for four seconds; the rest would take it half a minute more, and need not be made here.
  cluster.segment('base/5/16384', new Array<'checksum'>(2000).fill('checksum'));
  truncateSync(join(cluster.path, 'base/5/16384'), 160 * 2 ** 20);
  const program = new Program(['verify', '--rate', '4', cluster.path]);
  await program.said('bad checksum');
  program.child.stdout?.destroy();
  const { code, stderr } = await program.ended();
  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /EPIPE|^\s+at /m);
});

test('bad input gets a sentence', async () => {
  using cluster = clusterWith('good');
  assertRefused(await run('verify', join(cluster.path, 'nowhere')), /nowhere" does not exist/);
  assertRefused(await run('verify', '--jobs', '0', cluster.path), /whole number from 1 to 64/);
  assertRefused(await run('verify', '--jobs', 'many', cluster.path), /whole number from 1 to 64/);
  assertRefused(await run('verify', '--rate', '-1', cluster.path), /above 0/);
  assertRefused(
    await run('verify', '--method', 'fast', cluster.path),
    /Allowed choices are auto, worker, io_uring, sync/,
  );
  assertRefused(await run('verify', join(cluster.path, 'PG_VERSION')), /holds no pages/);
  assertRefused(await run('verify'), /missing required argument 'PATH'/);
  assertRefused(await run('verfy', cluster.path), /unknown command/);
  assertRefused(await run('verify', '--fast', cluster.path), /unknown option '--fast'/);
});

test('clusters that are not understood are refused', async () => {
  const refused = async (control: Buffer, sentence: RegExp): Promise<void> => {
    using cluster = new SyntheticCluster(control);
    const ended = await run('verify', '--json', cluster.path);
    assertRefused(ended, sentence);
    assert.equal((JSON.parse(ended.stdout) as { unreadable: number }).unreadable, 1);
  };
  await refused(controlFixture('18-no-checksums'), /data checksums are not enabled/);
  await refused(controlFixture('18').subarray(0, 100), /is truncated: it has only 100 bytes/);
  await refused(patchedControlFile(FIELD.controlVersion, 1201), /has format version 1201; understood are/);
});

test('a wrong path among good ones: exit code 2, and the good ones are verified', async () => {
  using cluster = clusterWith('good');
  const ended = await run('verify', '/nowhere', cluster.path);
  assertRefused(ended, /"\/nowhere" does not exist/);
  assert.match(ended.stdout, /^1 file, 1 block,/m);
});

test('help and version', async () => {
  const help = await run('verify', '--help');
  assert.equal(help.code, 0);
  for (const word of ['Examples:', 'Exit codes:', '130', '--filenode', '--no-progress']) {
    assert.ok(help.stdout.includes(word), word);
  }
  const packageFile = new URL('../../../package.json', import.meta.url);
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
  assert.equal((await run('--version')).stdout.trim(), version);
});

test('help into a pipe that nobody reads', async () => {
  const main = new URL('../../src/cli/main.js', import.meta.url).pathname;
  const child = spawn(process.execPath, [main, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  await once(child, 'close');
  assert.equal(stderr, '');
});
