/** The cluster that is made for the benchmarks when none is named: PostgreSQL 18 from npm, one large table, kept. */
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { createCluster } from '../../testing/postgres/cluster.js';

const BLOCK_ROWS = 61;
const BLOCK_SIZE = 8192;

/** Makes the cluster at `directory` unless it is there, with a table of about `bytes`. It is left stopped. */
export async function ensureBenchCluster(
  directory: string,
  bytes: number,
  say: (line: string) => void,
): Promise<void> {
  // Beside the data directory, and written last: what was half made is made again.
  const finished = `${directory}.finished`;
  if (existsSync(finished)) return;
  say(`making a cluster with a table of ${Math.round(bytes / 1024 ** 2)} MB (once)`);
  rmSync(directory, { recursive: true, force: true });
  // Minimal WAL: a table filled in the transaction that made it is not logged.
  const settings = { wal_level: 'minimal', max_wal_senders: 0, max_wal_size: '1GB', shared_buffers: '256MB' };
  const cluster = await createCluster({ directory, settings });
  try {
    await cluster.start();
    // Rows as in pgbench_accounts: 61 a block.
    const rows = Math.ceil(bytes / BLOCK_SIZE) * BLOCK_ROWS;
    await cluster.query(`
      CREATE TABLE bench AS SELECT id, 1 AS branch, 0 AS balance, repeat(' ', 84)::char(84) AS filler
        FROM generate_series(1, ${rows}) AS id;
      CREATE EXTENSION pg_prewarm;
      CHECKPOINT`);
    await cluster.stop('fast');
  } finally {
    await cluster.remove();
  }
  writeFileSync(finished, '');
}
