/**
 * The report of a test run: how a test file's process died, which no test says; and in continuous integration,
 * tests of io_uring that are skipped fail the run.
 */
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

const dies = (how: string): string =>
  "import { describe } from 'node:test';\n" +
  "test('well', () => {});\n" +
  "describe('suite', () => { test('innocent', () => {}); test('culprit', async () => {" +
  // What the process tells of its tests goes out only in turns of its loop.
  '  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);' +
  `  process.stderr.write('first\\nlast words\\n'); ${how}; }); });`;

test('MA-07: a process that is killed fails the run: its signal, the test that was running, and the last it said', () => {
  const { code, output } = report(dies('process.kill(process.pid, "SIGKILL")'), '');
  assert.equal(code, 1);
  const end = output.slice(output.lastIndexOf('✖ the process of'));
  assert.match(end, /^✖ the process of .*x\.test\.mjs was ended by SIGKILL\n/);
  assert.match(end, /^ {2}while running: suite > culprit$/m);
  assert.match(end, /^ {4}first\n {4}last words\n$/m);
});

test('also when a test had failed before, for which the runner says nothing of the process', () => {
  const failing = "test('bad', () => { throw new Error('bad'); });\n";
  const { output } = report(failing + dies('process.kill(process.pid, "SIGKILL")'), '');
  assert.match(output, /^✖ the process of .* was ended by SIGKILL$/m);
});

test('a process that ends with a code of its own, without a failing test', () => {
  const { code, output } = report("test('x', () => {});\nprocess.on('exit', () => process.exit(7));", '');
  assert.equal(code, 1);
  assert.match(output, /^✖ the process of .* ended with exit code 7$/m);
  assert.match(
    output,
    /^ {2}it did not say that a test was running\n {2}it wrote nothing to standard error$/m,
  );
});

test('of much standard error only the end is kept; a failing test alone is no death', () => {
  const source =
    "for (let line = 0; line < 60; line++) console.error('line', line);\nthrow new Error('at once');";
  const { output } = report(source, '');
  const end = output.slice(output.lastIndexOf('✖ the process of'));
  assert.match(end, /ended with exit code 1\n/);
  assert.match(end, /Error: at once/);
  assert.match(end, /line 59/);
  assert.doesNotMatch(end, /line 0$/m);
  assert.ok(end.split('\n').length < 50);
  assert.doesNotMatch(report("test('x', () => { throw new Error('x'); });", '').output, /the process of/);
});
