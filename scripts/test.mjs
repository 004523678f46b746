// `npm test`: set-up, every check, every test. `npm test -- PATTERN...`: only the test files whose path contains one
// of the patterns, and no checks.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { listFiles } from './build.mjs';
import { giveUp, root, say } from './command.mjs';
import { lint } from './lint.mjs';
import { setup } from './setup.mjs';

/** A hanging test must end the run long before a CI job's own limit; a longer test says so itself. */
const testMillisMax = 5 * 60_000;

const patterns = process.argv.slice(2);
await setup();
const files = listFiles(['test'], ['.test.ts']).filter(
  (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
);
if (files.length === 0) giveUp(`no test file's path contains ${patterns.join(' or ')}`);

const failedChecks = patterns.length === 0 ? await lint() : [];
const testsPassed = await runTests(files);
// Said last, where it is not lost above the tests' output.
for (const name of failedChecks) say(`the check '${name}' FAILED, see above`);
process.exitCode = failedChecks.length === 0 && testsPassed ? 0 : 1;

function runTests(sources) {
  // Files are listed here because Node 20's runner has no globs.
  const args = [
    '--test',
    '--enable-source-maps',
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${testMillisMax}`,
    `--test-reporter=${pathToFileURL(join(root, 'scripts/test-reporter.mjs')).href}`,
    '--test-reporter-destination=stdout',
    ...sources.map((source) => `dist/${source.replace(/\.ts$/, '.js')}`),
  ];
  return new Promise((resolve, reject) => {
    const runner = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' });
    // Ctrl-C reaches the runner too: it ends its tests, and we end after it. npm passes on what it gets itself.
    const pass = (signal) => runner.kill(signal);
    process.on('SIGINT', pass).on('SIGTERM', pass);
    runner.on('error', reject);
    runner.on('exit', (code) => resolve(code === 0));
  });
}
