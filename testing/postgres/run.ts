/** Running PostgreSQL's programs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { postgresAccount } from './account.js';

/** Runs one of PostgreSQL's programs as its account, and returns what it printed. */
export async function runAsPostgres(program: string, args: readonly string[]): Promise<string> {
  const child = spawn(program, args, { ...asPostgres(), stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with code ${code}:\n${output}`);
  return output;
}

/** As PostgreSQL's account, in a directory that it can enter, and with nothing of the caller's PG settings. */
export function asPostgres(): { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv } {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')));
  return { ...postgresAccount(), cwd: '/', env: { ...env, LC_ALL: 'C', TZ: 'UTC' } };
}
