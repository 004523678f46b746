// Running compiled test files, with this Node or another one.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { listFiles } from './build.mjs';
import { giveUp, root } from './command.mjs';

/** A hanging test must end the run long before a CI job's own limit; a longer test says so itself. */
const testMillisMax = 5 * 60_000;

/** The test files whose path contains one of the patterns; all if there are none. */
export function testFiles(patterns) {
  const files = listFiles(['test'], ['.test.ts']).filter(
    (file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)),
  );
  if (files.length === 0) giveUp(`no test file's path contains ${patterns.join(' or ')}`);
  return files;
}

/**
 * Resolves with whether all tests passed. Tests start other processes with the same `node`. With `onReport`, what
 * the reporter says goes there instead of to standard output.
 */
export async function runTests(
  files,
  { node = process.execPath, reporter = 'test-reporter.mjs', onReport } = {},
) {
  // Files are listed here because Node 20's runner has no globs.
  const args = [
    '--test',
    '--enable-source-maps',
    `--test-concurrency=${availableParallelism()}`,
    `--test-timeout=${testMillisMax}`,
    `--test-reporter=${pathToFileURL(join(root, 'scripts', reporter)).href}`,
    '--test-reporter-destination=stdout',
    ...files.map((file) => `dist/${file.replace(/\.ts$/, '.js')}`),
  ];
  const env = await environment();
  return new Promise((resolve, reject) => {
    const output = onReport === undefined ? 'inherit' : 'pipe';
    const runner = spawn(node, args, { cwd: root, env, stdio: ['inherit', output, 'inherit'] });
    runner.stdout?.setEncoding('utf8').on('data', onReport);
    // Ctrl-C reaches the runner too: it ends its tests, and we end after it. npm passes on what it gets itself.
    const pass = (signal) => runner.kill(signal);
    process.on('SIGINT', pass).on('SIGTERM', pass);
    runner.on('error', reject);
    runner.on('close', (code) => {
      process.off('SIGINT', pass).off('SIGTERM', pass);
      resolve(code === 0);
    });
  });
}

/** Reading certificates at every start costs each of a thousand processes 80 ms, and only a download needs them. */
async function environment() {
  const { embeddedPostgresIsHere } = await import('../dist/testing/postgres/binaries.js');
  const { NODE_EXTRA_CA_CERTS, ...others } = process.env;
  return embeddedPostgresIsHere() ? others : { ...others, NODE_EXTRA_CA_CERTS };
}
