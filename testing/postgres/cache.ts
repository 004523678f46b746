/** Where things are kept that are slow to make: the downloaded PostgreSQL, the demonstration's cluster. */
import { mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findBarrier } from './account.js';

/** `.cache` of the repository, or a directory below /tmp if PostgreSQL's account cannot reach the repository. */
export function cacheDirectory(): string {
  const own = fileURLToPath(new URL('../../../.cache', import.meta.url));
  if (findBarrier(join(own, 'inside')) === null) return make(own);

  const shared = make(join(tmpdir(), 'pgaio-cache'));
  // Everybody may write to /tmp: what somebody else has put there is not run.
  if (statSync(shared).uid !== process.getuid?.()) throw new Error(`${shared} belongs to somebody else`);
  return shared;
}

function make(directory: string): string {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  return directory;
}
