// Running the programs that set-up needs: quiet when they succeed, all of their output when they fail.
// Everything goes to standard error, because standard output belongs to the program that set-up is for.
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Whether this is continuous integration, where what is missing must fail instead of being left out. */
export const inCi = !['', '0', 'false'].includes(process.env.CI ?? '');

export function say(line) {
  process.stderr.write(`pgaio: ${line}\n`);
}

/** Ends the process: the job could not be done (exit code 2, as in the command-line program). */
export function giveUp(sentence) {
  say(sentence);
  process.exit(2);
}

/**
 * Runs a program in the repository's root to its end; its output is shown only if it fails, and then we give up.
 * The variable tells the package's own scripts, which npm runs after an installation, that set-up does their work.
 */
export function run(title, command, args) {
  const started = performance.now();
  const result = spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    maxBuffer: 1 << 28,
    env: { ...process.env, PGAIO_SETUP: '1' },
  });
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
    const why = result.error?.message ?? result.signal ?? `exit code ${result.status}`;
    giveUp(`${title} failed (${why}): ${[command, ...args].join(' ')}`);
  }
  say(`${title}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}

/** npm by the path it was started with, so that no other npm of the PATH takes over. */
export function runNpm(title, args) {
  // The level is given because `npm start --silent` would otherwise silence the npm inside it too, errors included.
  const all = [...args, '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  if (npm?.endsWith('.js')) run(title, process.execPath, [npm, ...all]);
  else run(title, 'npm', all);
}
