/** The examples, run as a reader runs them: on a table of a real PostgreSQL 18, where what they say is held against SQL; and over crashes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { supportedMethods } from '../src/instance/methods.js';
import { embeddedPostgresMissing } from '../testing/postgres/binaries.js';
import { createCluster, type Cluster } from '../testing/postgres/cluster.js';
import { seededRandom } from '../testing/random.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

async function run(example: string, args: readonly string[], input = ''): Promise<Outcome> {
  const child = spawn(process.execPath, [join(root, 'examples', example), ...args]);
  const outcome = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (outcome.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (outcome.stderr += chunk.toString()));
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...outcome };
}

it('the examples are short', () => {
  for (const name of readdirSync(join(root, 'examples'))) {
    const lines = readFileSync(join(root, 'examples', name), 'utf8').split('\n').length;
    assert.ok(lines < 150, `${name} has ${lines} lines`);
  }
});

describe('the examples that keep data', () => {
  let home: string;
  before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-examples-'))));
  after(() => rmSync(home, { recursive: true }));

  /** As a crash would leave it now. */
  function crash(directory: string): string {
    const copy = `${directory}-crashed`;
    cpSync(directory, copy, { recursive: true });
    rmSync(join(copy, 'postmaster.pid'));
    return copy;
  }

  it('event-log prints a position for each event, and gives all back, by topic and from a position on', async () => {
    const directory = join(home, 'events');
    const orders = await run('event-log.js', [directory, 'append', 'orders', '{"id":1}', '{"id":2}']);
    assert.deepEqual([orders.code, orders.stderr], [0, '']);
    const [first, second] = orders.stdout.trimEnd().split('\n');
    const more = await run('event-log.js', [directory, 'append', 'users'], '"ann"\n"bob"\n');
    assert.equal(more.stdout.trimEnd().split('\n').length, 2);
    const all = await run('event-log.js', [directory, 'read']);
    assert.deepEqual(
      all.stdout
        .trimEnd()
        .split('\n')
        .map((line) => line.replace(/^\S+ /, '')),
      ['orders {"id":1}', 'orders {"id":2}', 'users "ann"', 'users "bob"'],
    );
    const from = await run('event-log.js', [directory, 'read', 'orders', '--from', first ?? '']);
    assert.equal(from.stdout, `${second} orders {"id":2}\n`);
  });

  it('event-log has after a crash what append had resolved for', async () => {
    const directory = join(home, 'crashing');
    const { EventLog } = (await import(join(root, 'examples/event-log.js'))) as {
      EventLog: { open(directory: string): Promise<EventLogOfExample> };
    };
    const log = await EventLog.open(directory);
    await Promise.all(Array.from({ length: 100 }, (_, at) => log.append('n', at)));
    await log.appendAll('n', [100, 101]);
    const crashed = await EventLog.open(crash(directory));
    await log.close();
    const found: unknown[] = [];
    for await (const { event } of crashed.read()) found.push(event);
    assert.equal(crashed.recovery.wasNeeded, true);
    await crashed.close();
    assert.deepEqual(
      found,
      Array.from({ length: 102 }, (_, at) => at),
    );
  });

  it('page-store sets and gets, and says what is wrong', async () => {
    const store = (...args: string[]): Promise<Outcome> =>
      run('page-store.js', [join(home, 'pages'), ...args]);
    assert.deepEqual(await store('set', 'b', 'two words'), { code: 0, stdout: '', stderr: '' });
    assert.equal((await store('get', 'b')).stdout, 'two words\n');
    const long = await store('set', 'a', 'x'.repeat(9000));
    assert.deepEqual([long.code, long.stderr], [1, 'the value of "a" is too long\n']);
    assert.match((await store('get')).stderr, /^Usage:/);
  });

  it('page-store has after a crash what was resolved, in chains of pages, of a pool that is too small', async () => {
    const directory = join(home, 'model');
    const { PageStore } = (await import(join(root, 'examples/page-store.js'))) as {
      PageStore: { open(directory: string, settings?: object): Promise<PageStoreOfExample> };
    };
    const settings = { sharedBuffers: '256kB' };
    const store = await PageStore.open(directory, settings);
    const random = seededRandom(5);
    const model = new Map<string, string>();
    for (let round = 0; round < 20; round++) {
      const changes: Promise<void>[] = [];
      for (let change = 0; change < 50; change++) {
        const key = `key ${random.below(600)}`;
        const value = String(random.below(10)).repeat(random.below(random.chance(0.2) ? 8000 : 200));
        if (random.chance(0.2)) {
          model.delete(key);
          changes.push(store.delete(key));
        } else {
          model.set(key, value);
          changes.push(store.set(key, value));
        }
      }
      await Promise.all(changes);
    }
    const crashed = await PageStore.open(crash(directory), settings);
    await store.close();
    const found = new Map<string, string>();
    for await (const { key, value } of crashed.list()) found.set(key, value.toString());
    const some = [...model.keys()][0] ?? '';
    assert.equal(String(await crashed.get(some)), model.get(some));
    await crashed.close();
    assert.deepEqual(new Map([...found].sort()), new Map([...model].sort()));
  });
});

interface EventLogOfExample {
  readonly recovery: { readonly wasNeeded: boolean };
  append(topic: string, event: unknown): Promise<number>;
  appendAll(topic: string, events: readonly unknown[]): Promise<number>;
  read(): AsyncIterable<{ event: unknown }>;
  close(): Promise<void>;
}

interface PageStoreOfExample {
  get(key: string): Promise<Buffer | undefined>;
  set(key: string, value: string): Promise<void>;
  delete(key: string): Promise<void>;
  list(): AsyncIterable<{ key: string; value: Buffer }>;
  close(): Promise<void>;
}

describe('the examples on a real table', { skip: embeddedPostgresMissing() ?? false }, () => {
  let cluster: Cluster;
  /** Arguments that name the table. */
  let table: string[];
  /** Found by a query before some of them were deleted. */
  let ctids: string[];
  /** What the examples say: the first under every method, the others under one. */
  const counts = new Map<string, Outcome>();
  let bitmap: Outcome;
  let vacuum: Outcome;

  before(async () => {
    cluster = await createCluster();
    await cluster.start();
    await cluster.query(
      `CREATE TABLE t AS SELECT n, repeat('x', 200) AS text FROM generate_series(1, 20000) AS n;
       CREATE INDEX t_n ON t (n)`,
    );
    await cluster.query('VACUUM (FREEZE) t');
    const found = await cluster.query<{ ctid: string }>('SELECT ctid::text FROM t WHERE n % 50 = 0');
    ctids = found.map(({ ctid }) => ctid);
    // One transaction, so that no statement prunes what another has left.
    await cluster.query(
      `DELETE FROM t WHERE n BETWEEN 5000 AND 5500 OR n IN (250, 7500, 19000);
       UPDATE t SET text = 'updated' WHERE n BETWEEN 12000 AND 12100;
       INSERT INTO t SELECT n, 'new' FROM generate_series(20001, 21000) AS n`,
    );
    const client = await cluster.connect();
    await client.query('BEGIN');
    await client.query("INSERT INTO t SELECT n, 'aborted' FROM generate_series(1, 300) AS n");
    await client.query('SELECT FROM t WHERE n = 15 FOR UPDATE');
    await client.query('ROLLBACK');
    await client.query('SELECT FROM t WHERE n = 16 FOR UPDATE'); // a lock that commits
    await client.end();
    await cluster.query('CHECKPOINT');
    const path = await cluster.relationPath('t');
    table = [cluster.directory, relative(cluster.directory, path)];
    // All before PostgreSQL looks at the table again, because that prunes it, and sets hint bits.
    for (const method of supportedMethods())
      counts.set(method, await run('count-tuples.js', [...table, '--method', method]));
    bitmap = await run('bitmap-scan.js', [...table, '--method', 'worker'], ctids.join('\n'));
    vacuum = await run('vacuum-scan.js', table);
  });
  after(async () => cluster.remove());

  const numbers = (text: string): number[] => [...text.matchAll(/\d+/g)].map(([digits]) => Number(digits));

  it('vacuum-scan reads the blocks that VACUUM reads, and finds the dead tuples that it removes', async () => {
    const client = await cluster.connect();
    let said = '';
    client.on('notice', (notice) => (said += notice.message ?? ''));
    await client.query('VACUUM (VERBOSE) t');
    await client.end();
    const [, blocks, scanned] = /(\d+) remain, (\d+) scanned/.exec(said) ?? [];
    const [, removed] = /tuples: (\d+) removed/.exec(said) ?? [];
    assert.ok(Number(removed) > 900, said);
    assert.ok(Number(scanned) < Number(blocks), said);
    const { code, stdout, stderr } = vacuum;
    assert.deepEqual([code, stderr], [0, '']);
    const lines = stdout.trimEnd().split('\n').map(numbers);
    assert.equal(lines[0]?.[0], Number(blocks));
    assert.deepEqual(lines[1], [Number(scanned), Number(blocks) - Number(scanned)]);
    assert.equal(lines[2]?.[0], Number(removed), stdout + said);
    assert.equal(lines.length, 3, stdout);
  });

  it('count-tuples counts what count(*) counts', async () => {
    const [row] = await cluster.query<{ live: string; blocks: string }>(
      "SELECT count(*) AS live, pg_relation_size('t') / 8192 AS blocks FROM t",
    );
    for (const [method, { code, stdout, stderr }] of counts) {
      assert.deepEqual([code, stderr], [0, ''], method);
      assert.deepEqual(numbers(stdout).slice(0, 2), [Number(row?.live), Number(row?.blocks)], method);
    }
  });

  it('bitmap-scan finds those of the ctids that SQL finds', async () => {
    const live = await cluster.query<{ ctid: string }>(
      'SELECT ctid::text FROM t WHERE ctid = ANY ($1::tid[]) ORDER BY t.ctid',
      { values: [ctids] },
    );
    assert.ok(live.length > 100 && live.length < ctids.length);
    const { code, stdout, stderr } = bitmap;
    assert.deepEqual([code, stderr], [0, '']);
    const found = [...stdout.matchAll(/^\(\d+,\d+\)/gm)].map(([ctid]) => ctid);
    assert.deepEqual(
      found,
      live.map(({ ctid }) => ctid),
    );
    assert.equal(numbers(stdout.trimEnd().split('\n').at(-1) ?? '')[0], live.length);
  });

  it('bitmap-scan takes block numbers for all tuples of a block', async () => {
    const live = await cluster.query<{ ctid: string }>(
      `SELECT ctid::text FROM t WHERE ctid >= '(3,0)' AND ctid < '(4,0)' OR ctid = '(0,2)' ORDER BY t.ctid`,
    );
    const { stdout } = await run('bitmap-scan.js', [...table, '3', '(0,2)', '(3,1)']);
    assert.deepEqual(
      [...stdout.matchAll(/^\(\d+,\d+\)/gm)].map(([ctid]) => ctid),
      live.map(({ ctid }) => ctid),
    );
  });

  it('they say what is wrong', async () => {
    const wrong: [example: string, args: string[], code: number, says: RegExp][] = [
      ['count-tuples.js', [], 2, /is not a path like base[^]*usage: node count-tuples\.js/],
      ['vacuum-scan.js', [...table, '--wrong'], 2, /--wrong[^]*usage/],
      ['count-tuples.js', [join(root, 'examples'), 'base/5/1'], 1, /not a PostgreSQL data directory/],
      ['count-tuples.js', [cluster.directory, 'base/5/1'], 1, /there is no file/],
      ['bitmap-scan.js', [...table, '(1,'], 2, /neither a ctid/],
      ['bitmap-scan.js', [...table, '99999999'], 1, /block 99999999 is beyond/],
    ];
    for (const [example, args, code, says] of wrong) {
      const outcome = await run(example, args);
      assert.deepEqual([outcome.code, outcome.stdout], [code, ''], `${example} ${args.join(' ')}`);
      assert.match(outcome.stderr, says);
    }
  });
});
