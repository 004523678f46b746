// The checks that need no running code: formatting, ESLint (which also holds the limits on length and the forbidden
// calls), import directions. They run side by side, and all of them report before the verdict.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { sourceFolders } from './build.mjs';
import { root, say } from './command.mjs';
import { setup } from './setup.mjs';

// git keeps no empty folders, and dependency-cruiser refuses a missing one.
const folders = sourceFolders.filter((folder) => existsSync(join(root, folder)));

const checks = [
  ['format', 'prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.'],
  ['lint', 'eslint/bin/eslint.js', '--max-warnings=0', '.'],
  ['import directions', 'dependency-cruiser/bin/dependency-cruise.mjs', '--output-type=err', ...folders],
];

/** Returns the names of the checks that failed, after printing what they said. */
export async function lint() {
  const results = await Promise.all(checks.map(check));
  return results.filter((result) => result.failed).map((result) => result.name);
}

function check([name, program, ...args]) {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, [`node_modules/${program}`, ...args], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...(process.stderr.isTTY ? { FORCE_COLOR: '1' } : {}) },
    });
    const output = [];
    child.stdout.on('data', (chunk) => output.push(chunk));
    child.stderr.on('data', (chunk) => output.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      const failed = code !== 0;
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      if (failed) process.stderr.write(Buffer.concat(output));
      say(`${name}: ${failed ? 'FAILED' : 'ok'}, ${seconds} s`);
      resolve({ name, failed });
    });
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await setup({ only: ['install'] });
  const failed = await lint();
  if (failed.includes('format')) say('`npm run format` puts the format right');
  process.exitCode = failed.length === 0 ? 0 : 1;
}
