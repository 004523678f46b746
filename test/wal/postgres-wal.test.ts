/** WAL of the real PostgreSQL: every record as the server itself reads it (pg_walinspect), and as pg_waldump does. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { embeddedPostgresMissing, findPostgres15 } from '../../testing/postgres/binaries.js';
import { createCluster, type Cluster } from '../../testing/postgres/cluster.js';
import { runAsPostgres } from '../../testing/postgres/run.js';
import { dumpWal, type DumpResult } from '../../src/cli/waldump/dump.js';
import { recordJson, recordLine, type RecordJson } from '../../src/cli/waldump/record-output.js';
import { Statistics } from '../../src/cli/waldump/statistics.js';
import { findWalFiles } from '../../src/cli/waldump/wal-files.js';
import { formatLsn, parseLsn } from '../../src/wal/lsn.js';
import type { WalRecord } from '../../src/wal/record.js';

type OnRecord = (record: WalRecord, majorVersion: number) => void;

async function dump(
  path: string,
  start: string,
  end: string | null,
  onRecord: OnRecord,
): Promise<DumpResult> {
  return dumpWal({
    files: await findWalFiles(path, undefined),
    start: parseLsn(start),
    end: end === null ? undefined : parseLsn(end),
    onRecord: (record, majorVersion) => {
      onRecord(record, majorVersion);
      return true;
    },
  });
}

/** Writes records of many kinds; leaves no transaction open. */
const WORK = `
  CREATE TABLE things (id serial PRIMARY KEY, word text, place point);
  CREATE INDEX ON things USING gist (place);
  CREATE INDEX ON things USING hash (word);
  CREATE INDEX ON things USING brin (id);
  INSERT INTO things (word, place) SELECT repeat('word ', n % 50), point(n, n % 7) FROM generate_series(1, 3000) n;
  CHECKPOINT;
  UPDATE things SET word = 'other' WHERE id % 3 = 0;
  DELETE FROM things WHERE id % 5 = 0;
  VACUUM things;
  SELECT pg_logical_emit_message(false, 'greeting', 'hello, WAL');
  SELECT pg_logical_emit_message(true, 'long', repeat('payload ', 5000));
  SELECT pg_create_restore_point('here');
  SELECT pg_switch_wal();
  CREATE TABLE dropped AS SELECT 1 AS one;
  DROP TABLE dropped;
  TRUNCATE things;
  CHECKPOINT;
`;
const SUBTRANSACTION =
  'BEGIN; SAVEPOINT a; INSERT INTO things (word) VALUES (1); SAVEPOINT b; INSERT INTO things (word) VALUES (2); ';

async function work(cluster: Cluster): Promise<{ start: string; end: string }> {
  const lsn = async (): Promise<string> => {
    const [row] = await cluster.query<{ lsn: string }>('SELECT pg_current_wal_insert_lsn()::text AS lsn');
    return row?.lsn ?? '';
  };
  const start = await lsn();
  const client = await cluster.connect();
  try {
    for (const statement of WORK.split(';\n')) if (statement.trim() !== '') await client.query(statement);
    await client.query(`${SUBTRANSACTION} COMMIT`);
    await client.query(`${SUBTRANSACTION} ROLLBACK`);
    // Waits until all before it is in the files.
    await client.query("SET synchronous_commit = 'on'; INSERT INTO things (word) VALUES ('last')");
  } finally {
    await client.end();
  }
  return { start, end: await lsn() };
}

/** The server leaves out zeros at the end of a time, and says +00 where pg_waldump says UTC. */
function asPgWaldump(description: string): string {
  const time = /(\d\d:\d\d:\d\d)(?:\.(\d+))?\+00/g;
  return description
    .replace(time, (_, seconds: string, fraction = '') => `${seconds}.${String(fraction).padEnd(6, '0')} UTC`)
    .trimEnd();
}

// --- PostgreSQL 18 -----------------------------------------------------------------------------------

interface InspectedRecord {
  start_lsn: string;
  end_lsn: string;
  prev_lsn: string;
  xid: string;
  resource_manager: string;
  record_type: string;
  record_length: number;
  main_data_length: number;
  fpi_length: number;
  description: string | null;
}

describe('WAL of PostgreSQL 18', { skip: embeddedPostgresMissing() ?? false }, () => {
  let cluster: Cluster;
  let range: { start: string; end: string };
  let inspected: InspectedRecord[];
  const found: RecordJson[] = [];
  let result: DumpResult;

  before(async () => {
    cluster = await createCluster({
      initdbArguments: ['--wal-segsize=1'],
      settings: { wal_level: 'logical', wal_keep_size: '64MB', timezone: 'UTC', log_timezone: 'UTC' },
    });
    await cluster.start();
    await cluster.query('CREATE EXTENSION pg_walinspect');
    range = await work(cluster);
    inspected = await cluster.query<InspectedRecord & Record<string, unknown>>(
      `SELECT start_lsn::text, end_lsn::text, prev_lsn::text, xid::text, resource_manager, record_type, record_length,
         main_data_length, fpi_length, description FROM pg_get_wal_records_info($1, $2) ORDER BY start_lsn`,
      { values: [range.start, range.end] },
    );
    result = await dump(cluster.directory, range.start, range.end, (record, majorVersion) =>
      found.push(recordJson(record, majorVersion)),
    );
  });
  after(() => cluster.remove());

  it('is read record by record as the server reads it', () => {
    assert.ok(inspected.length > 5000, `${inspected.length} records`);
    assert.deepEqual([result.majorVersion, result.end?.reason], [18, 'end-of-range'], result.end?.message);
    const mine = found.map(({ lsn, end, prev, xid, resourceManager, operation, ...more }) => ({
      start_lsn: lsn,
      end_lsn: end,
      prev_lsn: prev,
      xid: String(xid),
      resource_manager: resourceManager,
      record_type: operation,
      record_length: more.totalLength,
      main_data_length: more.mainDataLength,
      fpi_length: more.imageBytes,
    }));
    const theirs = inspected.map(({ description: _, ...fields }) => fields);
    assert.deepEqual(mine, theirs);
  });

  it('is described in the same words, where it is described', () => {
    const kinds = new Set<string>();
    inspected.forEach(({ resource_manager: manager, record_type: type, description }, index) => {
      if (!['XLOG', 'Transaction', 'Storage', 'LogicalMessage'].includes(manager)) return;
      if (type === 'INVALIDATION') return; // of which only the name is printed
      kinds.add(`${manager}/${type}`);
      assert.equal(found[index]?.description, asPgWaldump(description ?? ''), `${manager}/${type}`);
    });
    for (const kind of [
      'XLOG/CHECKPOINT_ONLINE',
      'XLOG/SWITCH',
      'XLOG/RESTORE_POINT',
      'Transaction/COMMIT',
      'Transaction/ABORT',
      'Storage/CREATE',
      'LogicalMessage/MESSAGE',
    ]) {
      assert.ok(kinds.has(kind), `${kind} is not among ${[...kinds].join(', ')}`);
    }
  });

  it('is counted as pg_get_wal_stats counts', async () => {
    for (const byOperation of [false, true]) {
      const statistics = new Statistics(byOperation, () => 18);
      await dump(cluster.directory, range.start, range.end, (record) => statistics.add(record));
      const rows = await cluster.query<{
        name: string;
        count: string;
        record_size: string;
        fpi_size: string;
      }>(
        `SELECT "resource_manager/record_type" AS name, count::text, record_size::text, fpi_size::text
           FROM pg_get_wal_stats($1, $2, $3) WHERE count > 0`,
        { values: [range.start, range.end, byOperation] },
      );
      const byName = (left: { name: string }, right: { name: string }): number =>
        left.name < right.name ? -1 : 1;
      const mine = statistics.rows().map(({ name, count, recordBytes, imageBytes }) => ({
        name,
        count: String(count),
        record_size: String(recordBytes),
        fpi_size: String(imageBytes),
      }));
      assert.deepEqual(mine.sort(byName), rows.sort(byName));
    }
  });

  it('ends, without a given end, where the server has written nothing more', async () => {
    const { end, position } = await dump(cluster.directory, range.start, null, () => undefined);
    assert.ok(end !== null && position !== null && position >= parseLsn(range.end));
    assert.ok(
      ['zeros', 'bad-page-address', 'bad-prev-link', 'bad-length', 'missing-segment'].includes(end.reason),
      end.message,
    );
  });
});

// --- PostgreSQL 15 -----------------------------------------------------------------------------------

const postgres15 = findPostgres15();
const pgWaldump = postgres15.binaries === null ? '' : join(postgres15.binaries.bin, 'pg_waldump');
const missing = postgres15.missing ?? (existsSync(pgWaldump) ? false : `no ${pgWaldump}`);

describe('WAL of PostgreSQL 15', { skip: missing }, () => {
  it('is printed and counted as pg_waldump does', async () => {
    if (postgres15.binaries === null) throw new Error('skipped above');
    await using cluster = await createCluster({ binaries: postgres15.binaries });
    const segment = join(cluster.directory, 'pg_wal/000000010000000000000001');
    const lines: string[] = [];
    const statistics = new Statistics(false, () => 15);
    const { position } = await dump(segment, '0/1000000', null, (record, majorVersion) => {
      lines.push(recordLine(record, majorVersion));
      statistics.add(record);
    });
    assert.ok(position !== null);
    const end = `--end=${formatLsn(position)}`; // without it, pg_waldump fails where WAL ends
    const theirs = await pgWaldumpOutput(end, segment);
    assert.ok(theirs.length > 10_000);
    assert.deepEqual(lines.map(withoutOthersDescriptions), theirs.map(withoutOthersDescriptions));

    const counts = new Map<string, number[]>();
    for (const line of await pgWaldumpOutput('--stats', end, segment)) {
      const match = /^(\w+) +(\d+) \( *[\d.]+\) +(\d+) \( *[\d.]+\) +(\d+) \(/.exec(line);
      if (match !== null && match[2] !== '0') counts.set(match[1]!, match.slice(2, 5).map(Number));
    }
    const mine = statistics
      .rows()
      .map(({ name, count, recordBytes, imageBytes }) => [name, [count, recordBytes, imageBytes]]);
    assert.deepEqual(Object.fromEntries(mine), Object.fromEntries(counts));
  });

  async function pgWaldumpOutput(...args: string[]): Promise<string[]> {
    return (await runAsPostgres(pgWaldump, args)).trimEnd().split('\n');
  }

  /** Our lines have no blanks at their ends, and of most resource managers only the name of the operation. */
  function withoutOthersDescriptions(line: string): string {
    const tidy = line.replaceAll(' ,', ',').trimEnd();
    if (
      /^rmgr: (XLOG|Storage|LogicalMessage)/.test(tidy) ||
      /^rmgr: Transaction.*desc: (COMMIT|ABORT)/.test(tidy)
    )
      return tidy;
    return tidy.replace(/(desc: [A-Z_+]+).*?((, blkref #0.*)?)$/, '$1$2');
  }
});
