/** `pgaio doctor` as a user sees it: lines, the document, exit codes, and what it leaves behind (nothing). */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createInstance } from '../../src/index.js';
import type { Check } from '../../src/cli/doctor/check.js';
import type { DoctorReport } from '../../src/cli/doctor/report.js';
import { NO_ADDON_VARIABLE } from '../../src/native/addon.js';
import { probeIoUring } from '../../src/native/io-uring-support.js';
import { controlFixture } from '../verify-cluster/control-files.js';
import { SyntheticCluster } from '../verify/synthetic-cluster.js';
import { run, runIn, type Surroundings } from './program.js';

const notLinux = process.platform !== 'linux' && 'this is about Linux';
const isRoot = process.getuid?.() === 0 && 'root may read everything';

class Folder implements Disposable {
  readonly path: string;

  constructor(parent = tmpdir()) {
    this.path = mkdtempSync(join(parent, 'pgaio-doctor-test-'));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

async function reportOf(surroundings: Surroundings, path: string): Promise<DoctorReport & { code: unknown }> {
  const { code, stdout, stderr } = await runIn(surroundings, 'doctor', '--json', path);
  assert.equal(stderr, '');
  return { ...(JSON.parse(stdout) as DoctorReport), code };
}

function checkOf({ checks }: DoctorReport, name: string): Check {
  const found = checks.filter((check) => check.name === name);
  assert.equal(found.length, 1, `checks named ${name}`);
  return found[0]!;
}

/** Warnings and problems say what to do; the rest does not. */
function assertAdvice({ checks }: DoctorReport): void {
  for (const { name, status, advice, summary } of checks) {
    assert.equal(advice !== undefined, status !== 'ok', name);
    if (advice !== undefined) assert.match(advice, /^[A-Z`].*\.$/, name);
    assert.match(summary, /[^.]$/, name);
  }
}

describe('doctor', () => {
  it('prints a line for each check, the method that auto takes, settings, and a verdict', async () => {
    using folder = new Folder();
    const { code, stdout, stderr } = await run('doctor', folder.path);
    assert.deepEqual([code, stderr], [0, ''], stdout);
    assert.match(stdout, /^ok +node +\d+\.\d+\.\d+; 20\.19 or newer is needed$/m);
    assert.match(stdout, /^(ok|warning) +io_uring +(works|not available): /m);
    assert.match(
      stdout,
      new RegExp(`^ok +path +"${folder.path}" is a directory, readable and writable$`, 'm'),
    );
    assert.match(stdout, /^ioMethod 'auto' takes (io_uring|worker) here: .*\.$/m);
    assert.match(stdout, /^await createInstance\(\{\n {2}ioMethod: 'auto', \/\/ .*\n/m);
    assert.match(stdout, /^All that pgaio needs works/m);
    assert.ok(!stdout.includes('\u001b'), 'colours');
    assert.deepEqual(readdirSync(folder.path), []);
  });

  it('--json prints one document of a stable form', async () => {
    using folder = new Folder();
    const { code, ...report } = await reportOf({}, folder.path);
    assert.equal(code, 0);
    assert.deepEqual(Object.keys(report), ['version', 'ok', 'checks', 'recommended', 'ioMethod']);
    assert.equal(report.ok, true);
    assert.deepEqual(Object.keys(report.ioMethod), ['name', 'reason']);
    for (const check of report.checks) {
      const { name, status, summary, detail = '', advice = '', ...others } = check;
      assert.deepEqual(others, {});
      assert.ok(['ok', 'warning', 'problem'].includes(status), status);
      assert.ok([name, summary, detail, advice].every((text) => typeof text === 'string'));
    }
    assertAdvice(report);
    assert.equal(report.ioMethod.name, probeIoUring().available ? 'io_uring' : 'worker');
  });

  it('recommends settings that an instance can be created with', async () => {
    const { recommended } = await reportOf({}, '.');
    assert.equal(recommended.ioMethod, 'auto');
    await using instance = await createInstance(recommended);
    assert.equal(instance.settings.ioMinWorkers, recommended.ioMinWorkers);
  });

  it('looks at the current directory unless it is told otherwise', async () => {
    const { code, stdout } = await run('doctor');
    assert.equal(code, 0);
    assert.match(stdout, /^ok +path +"\." is a directory/m);
  });

  it('does without the addon, and says what is missed', { skip: notLinux }, async () => {
    const report = await reportOf({ env: { [NO_ADDON_VARIABLE]: '1' } }, '.');
    assert.deepEqual([report.code, report.ok], [0, true]);
    assert.equal(checkOf(report, 'addon').status, 'warning');
    assert.match(checkOf(report, 'addon').advice ?? '', /Unset the environment variable PGAIO_NO_ADDON/);
    assert.equal(checkOf(report, 'io_uring').status, 'warning');
    assert.deepEqual(report.ioMethod, { name: 'worker', reason: 'PGAIO_NO_ADDON is set' });
    assertAdvice(report);
  });

  it('a limit on open files that is far too low is a problem: exit code 1', { skip: notLinux }, async () => {
    const report = await reportOf({ shell: 'ulimit -n 64' }, '.');
    assert.deepEqual([report.code, report.ok], [1, false]);
    const { status, summary, advice = '' } = checkOf(report, 'open-files');
    assert.equal(status, 'problem');
    const need = /^the limit is 64, the default settings need (1\d{3})$/.exec(summary)?.[1] ?? '?';
    assert.ok(advice.includes(`ulimit -n ${need}\``), advice);
    const { stdout } = await runIn({ shell: 'ulimit -n 64' }, 'doctor');
    assert.match(stdout, /^problem {2}open-files/m);
    assert.match(stdout, /^1 problem.*: see → above\.$/m);
  });

  it(
    'with a limit that is too low for the defaults, it recommends a setting',
    { skip: notLinux },
    async () => {
      const report = await reportOf({ shell: 'ulimit -n 1024' }, '.');
      assert.equal(checkOf(report, 'open-files').status, 'warning');
      const { maxFilesPerProcess = 0 } = report.recommended;
      assert.ok(maxFilesPerProcess > 500 && maxFilesPerProcess < 1000, `${maxFilesPerProcess}`);
      assert.match(
        checkOf(report, 'open-files').advice ?? '',
        new RegExp(`maxFilesPerProcess to ${maxFilesPerProcess}`),
      );
      assert.equal(report.code, 0);
    },
  );
});

describe('doctor at a path', () => {
  it('bad input gets a sentence and exit code 2', async () => {
    const refused = async (sentence: RegExp, ...args: string[]): Promise<void> => {
      const { code, stdout, stderr } = await run('doctor', ...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, sentence);
      assert.doesNotMatch(stderr, /^\s+at /m);
    };
    await refused(/"\/nowhere\/at\/all" does not exist\. Give a file or a directory/, '/nowhere/at/all');
    await refused(/does not exist/, '--json', '/nowhere');
    await refused(/unknown option '--fast'/, '--fast');
    await refused(/too many arguments/, '.', '.');
    if (existsSync('/dev/null')) await refused(/neither a file nor a directory/, '/dev/null');
  });

  it('what cannot be read is a problem: exit code 1', { skip: isRoot }, async () => {
    using folder = new Folder();
    const closed = join(folder.path, 'closed');
    mkdirSync(closed, { mode: 0 });
    for (const path of [closed, join(closed, 'below')]) {
      const report = await reportOf({}, path);
      assert.deepEqual([report.code, report.ok], [1, false]);
      const { status, summary, advice = '' } = checkOf(report, 'path');
      assert.equal(status, 'problem');
      assert.match(summary, /permission denied$/);
      assert.match(advice, /^Run as the user that owns/);
    }
    chmodSync(closed, 0o700);
  });

  it('a file is read, and stays as it is', { skip: notLinux }, async () => {
    using folder = new Folder();
    const path = join(folder.path, 'file');
    writeFileSync(path, 'x'.repeat(10_000));
    const report = await reportOf({}, path);
    assert.equal(report.code, 0);
    assert.match(checkOf(report, 'path').summary, /is a file of 9\.8 kB, readable and writable$/);
    assert.ok(checkOf(report, 'direct-io').status !== 'problem');
    assert.deepEqual(readdirSync(folder.path), ['file']);
  });

  it('an empty file is nothing to try O_DIRECT with', { skip: notLinux }, async () => {
    using folder = new Folder();
    const path = join(folder.path, 'file');
    writeFileSync(path, '');
    assert.match(checkOf(await reportOf({}, path), 'direct-io').summary, /^could not be tried/);
  });

  const noShm = !existsSync('/dev/shm') && 'there is no /dev/shm';
  it('tmpfs is told, and O_DIRECT there works or does not', { skip: notLinux || noShm }, async () => {
    using folder = new Folder('/dev/shm');
    const report = await reportOf({}, folder.path);
    const { status, summary, detail } = checkOf(report, 'file-system');
    assert.deepEqual([status, summary], ['warning', 'tmpfs']);
    assert.match(detail ?? '', /files are in memory/);
    assert.match(checkOf(report, 'direct-io').summary, /^O_DIRECT works$|does not support O_DIRECT$/);
    assert.equal(report.code, 0);
    assert.deepEqual(readdirSync(folder.path), []);
    assertAdvice(report);
  });

  it('a data directory', async () => {
    using cluster = new SyntheticCluster();
    const before = readdirSync(cluster.path, { recursive: true });
    const report = await reportOf({}, cluster.path);
    assert.deepEqual(
      [checkOf(report, 'data-directory').status, checkOf(report, 'data-directory').summary],
      ['ok', 'PostgreSQL 18, shut down, data checksums on'],
    );
    assert.deepEqual(readdirSync(cluster.path, { recursive: true }), before);
  });

  it('a data directory without checksums, and a damaged one', async () => {
    using plain = new SyntheticCluster(controlFixture('18-no-checksums'));
    const report = await reportOf({}, plain.path);
    assert.deepEqual([report.code, checkOf(report, 'data-directory').status], [0, 'warning']);
    assertAdvice(report);
    using damaged = new SyntheticCluster(controlFixture('18').subarray(0, 100));
    const refused = await reportOf({}, damaged.path);
    assert.deepEqual([refused.code, checkOf(refused, 'data-directory').status], [1, 'problem']);
    assert.match(checkOf(refused, 'data-directory').summary, /is truncated/);
    assertAdvice(refused);
  });

  it('a data directory of somebody else', { skip: isRoot }, async () => {
    using cluster = new SyntheticCluster();
    chmodSync(join(cluster.path, 'base'), 0);
    const report = await reportOf({}, cluster.path);
    assert.equal(report.code, 1);
    assert.match(checkOf(report, 'data-directory').summary, /base" cannot be read: permission denied$/);
    chmodSync(join(cluster.path, 'base'), 0o700);
  });
});

it('doctor --help', async () => {
  const { code, stdout } = await run('doctor', '--help');
  assert.equal(code, 0);
  for (const word of ['Examples:', 'Exit codes:', '[PATH]', '--json', 'O_DIRECT']) {
    assert.ok(stdout.includes(word), word);
  }
  assert.match((await run('--help')).stdout, /doctor \[options\] \[PATH\]/);
});
