/**
 * PostgreSQL refuses to run as root. When the tests do (containers, CI), its programs run as `nobody`, who must own
 * the directories that they write and be able to reach those that they read.
 */
import { chownSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Whom PostgreSQL's programs run as: null means as ourselves. */
export function postgresAccount(): Account | null {
  if (process.getuid?.() !== 0) return null;
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === 'nobody') return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('PostgreSQL refuses to run as root, and there is no account "nobody" to run it as');
}

/** Makes a directory that PostgreSQL may write and nobody else may read. */
export function makePostgresDirectory(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  giveToPostgres(path);
}

export function giveToPostgres(path: string): void {
  const account = postgresAccount();
  if (account !== null) chownSync(path, account.uid, account.gid);
}

/** The first directory on the way to `path` (which need not exist) that PostgreSQL may not pass, or null. */
export function findBarrier(path: string): string | null {
  const account = postgresAccount();
  if (account === null) return null;
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    const stat = statSync(folder, { throwIfNoEntry: false });
    if (stat !== undefined) {
      const maySearch = stat.uid === account.uid ? 0o100 : 0o001;
      if ((stat.mode & maySearch) === 0) return folder;
    }
    if (folder === dirname(folder)) return null;
  }
}
