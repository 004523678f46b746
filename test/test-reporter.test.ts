/** The report of a test run: in continuous integration, tests of io_uring that are skipped fail the run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

const reporter = new URL('../../scripts/test-reporter.mjs', import.meta.url).href;

/** Runs a test file under the reporter. */
function report(source: string, CI: string): { code: number | null; output: string } {
  const directory = mkdtempSync(join(tmpdir(), 'pgaio-report-'));
  try {
    const file = join(directory, 'x.test.mjs');
    writeFileSync(file, `import { test } from 'node:test';\n${source}`);
    const args = ['--test', `--test-reporter=${reporter}`, '--test-reporter-destination=stdout', file];
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined, CI };
    const { status, stdout } = spawnSync(process.execPath, args, { env, encoding: 'utf8' });
    return { code: status, output: stdout };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const skipped = (reason: string): string =>
  `test('of a ring', { skip: ${JSON.stringify(reason)} }, () => {});`;

test('skips are listed by reason, and allowed', () => {
  for (const CI of ['', 'false', '0']) {
    const { code, output } = report(skipped('io_uring is not permitted here (EPERM)'), CI);
    assert.equal(code, 0);
    assert.match(output, /^ {2}1 × io_uring is not permitted here \(EPERM\)\n {6}of a ring$/m);
  }
  assert.equal(report(skipped('no PostgreSQL 15'), 'true').code, 0);
});

test('in continuous integration those of io_uring are not, which is said last', () => {
  const { code, output } = report(
    skipped('io_uring is not permitted here (EPERM)') + skipped('io_uring: no addon'),
    'true',
  );
  assert.equal(code, 1);
  assert.equal(
    output.trimEnd().split('\n').at(-1),
    '✖ 2 tests of io_uring were skipped, which continuous integration (CI is set) does not allow: ' +
      'io_uring is not permitted here (EPERM)',
  );
});

test('in continuous integration a run with nothing skipped passes, and a failing one fails', () => {
  assert.equal(report("test('x', () => {});", 'true').code, 0);
  assert.equal(report("test('x', () => { throw new Error('x'); });", 'true').code, 1);
  assert.equal(report("test('x', () => { throw new Error('x'); });", '').code, 1);
});
