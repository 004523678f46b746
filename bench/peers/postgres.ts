/**
 * PostgreSQL 18 as a peer: its programs are run by a command that may lead elsewhere (into a chroot, a container), and
 * its socket is put into the data directory, which both sides can see.
 */
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import pg from 'pg';
import { postgresAccount } from '../../testing/postgres/account.js';
import { endWithProcess } from '../../testing/postgres/process-end.js';
import { found, missing, type Found } from '../found.js';
import { median, type Measurement } from '../measurement.js';
import { endedChildrenCpuSeconds, familyCpuSeconds, runProgram } from '../processes.js';
import type { BenchTable } from '../data/table.js';

export interface PostgresOptions {
  /** The stopped cluster, as we see it. */
  readonly cluster: string;
  /** The same directory as PostgreSQL's programs see it. Default: the same path. */
  readonly data?: string;
  /** Directory of PostgreSQL's programs, as they are named to `exec`. */
  readonly bin: string;
  /** A command that runs the shell command line which is its last argument. Default: `sh -c`. */
  readonly exec?: string;
}

/** One scan to warm up and three that count: the first of a session pays for mapping the shared memory. */
const PREWARM_RUNS = 4;
const LOG = 'pgaio-bench.log';
const SOCKET_PATH_MAX = 107;

export interface ServerSettings {
  readonly io_method: string;
  readonly shared_buffers: string;
}

export class Postgres {
  readonly #cluster: string;
  readonly #data: string;
  readonly #bin: string;
  readonly #exec: readonly string[];
  /** Without a command of the user, PostgreSQL must not run as root. */
  readonly #account: { uid?: number; gid?: number };

  constructor(options: PostgresOptions) {
    this.#cluster = options.cluster;
    this.#data = options.data ?? options.cluster;
    this.#bin = options.bin;
    this.#exec = options.exec?.split(/\s+/).filter((word) => word !== '') ?? ['sh', '-c'];
    this.#account = options.exec === undefined ? (postgresAccount() ?? {}) : {};
  }

  /** Why this program cannot be run, or null. */
  whyNot(program: string): Promise<string | null> {
    return this.#whyFails(program, ['--version']);
  }

  /** Why no server can be started on the cluster, or null. */
  whyNoServer(): Promise<string | null> {
    return this.#whyFails('postgres', ['-D', this.#data, '-C', 'io_method']);
  }

  /** Why a server with this method cannot be started, or null. */
  async whyNoMethod(method: string): Promise<string | null> {
    const args = ['-D', this.#data, '-c', `io_method=${method}`, '-C', 'io_method'];
    const reason = await this.#whyFails('postgres', args);
    return reason === null ? null : `this PostgreSQL has no io_method ${method}`;
  }

  async #whyFails(program: string, args: readonly string[]): Promise<string | null> {
    try {
      await this.run(program, args);
      return null;
    } catch (error) {
      return (error as Error).message.split('\n').slice(0, 2).join(': ');
    }
  }

  /** Runs one of PostgreSQL's programs. */
  async run(program: string, args: readonly string[]): Promise<string> {
    const [command = 'sh', ...rest] = this.#exec;
    return runProgram(command, [...rest, this.#commandLine(program, args)], this.#where());
  }

  #commandLine(program: string, args: readonly string[]): string {
    return [join(this.#bin, program), ...args].map(quote).join(' ');
  }

  #where(): { uid?: number; gid?: number; cwd: string; env: NodeJS.ProcessEnv } {
    return { ...this.#account, cwd: '/', env: { PATH: process.env['PATH'], LC_ALL: 'C' } };
  }

  /** `pg_checksums --check` on the stopped cluster; an operation is a block. */
  async checksums(): Promise<Measurement> {
    const cpu = endedChildrenCpuSeconds();
    const started = performance.now();
    const output = await this.run('pg_checksums', ['--check', '-D', this.#data]);
    const seconds = (performance.now() - started) / 1000;
    const blocks = Number(/^Blocks scanned: +(\d+)/m.exec(output)?.[1]);
    return { ops: blocks, seconds, cpuSeconds: endedChildrenCpuSeconds() - cpu, checked: 0 };
  }

  /** What `pg_test_fsync` says of the file system of the data directory, a second for each way of syncing. */
  async testFsync(): Promise<string> {
    const file = 'pgaio-bench-fsync';
    try {
      return await this.run('pg_test_fsync', ['-s', '1', '-f', join(this.#data, file)]);
    } finally {
      rmSync(join(this.#cluster, file), { force: true });
    }
  }

  /** `pg_prewarm(table, 'buffer')`: the runs of one session that come after the first. An operation is a block. */
  async prewarm(table: BenchTable, settings: ServerSettings): Promise<Measurement> {
    await this.#start(settings);
    const forget = endWithProcess(() => this.#stopAtOnce());
    try {
      return await this.#prewarmInOneSession(table);
    } finally {
      await this.run('pg_ctl', ['-D', this.#data, '-w', '-m', 'fast', 'stop']);
      rmSync(join(this.#cluster, LOG), { force: true });
      forget();
    }
  }

  async #start(settings: ServerSettings): Promise<void> {
    const all = { ...settings, listen_addresses: '', autovacuum: 'off', logging_collector: 'off' };
    const options = Object.entries(all).map(([name, value]) => `-c ${name}=${quote(value)}`);
    const server = [`-k ${quote(this.#data)}`, ...options].join(' ');
    const log = join(this.#data, LOG);
    await this.run('pg_ctl', ['-D', this.#data, '-w', '-l', log, '-o', server, 'start']);
  }

  #stopAtOnce(): void {
    const [command = 'sh', ...rest] = this.#exec;
    const stop = this.#commandLine('pg_ctl', ['-D', this.#data, '-m', 'immediate', 'stop']);
    spawnSync(command, [...rest, stop], this.#where());
  }

  async #prewarmInOneSession(table: BenchTable): Promise<Measurement> {
    const database = await this.#withSession('postgres', async (session) => {
      const { rows } = await session.query<{ name: string }>(
        'SELECT datname AS name FROM pg_database WHERE oid = $1',
        [table.database],
      );
      return rows[0]?.name ?? '';
    });
    return this.#withSession(database, async (session) => {
      await session.query('CREATE EXTENSION IF NOT EXISTS pg_prewarm');
      const seconds: number[] = [];
      const cpu: number[] = [];
      const postmaster = Number(readFileSync(join(this.#cluster, 'postmaster.pid'), 'utf8').split('\n')[0]);
      for (let run = 0; run < PREWARM_RUNS; run++) {
        const before = familyCpuSeconds(postmaster);
        const started = performance.now();
        const { rows } = await session.query<{ blocks: string }>(
          "SELECT pg_prewarm(pg_filenode_relation(0, $1), 'buffer') AS blocks",
          [table.relation],
        );
        seconds.push((performance.now() - started) / 1000);
        const after = familyCpuSeconds(postmaster);
        if (before !== null && after !== null) cpu.push(after - before);
        if (Number(rows[0]?.blocks) !== table.blocks)
          throw new Error('pg_prewarm read another number of blocks');
      }
      const cpuSeconds = cpu.length === PREWARM_RUNS ? median(cpu.slice(1)) : null;
      return { ops: table.blocks, seconds: median(seconds.slice(1)), cpuSeconds, checked: 0 };
    });
  }

  async #withSession<T>(database: string, work: (session: pg.Client) => Promise<T>): Promise<T> {
    const session = new pg.Client({ host: this.#cluster, user: 'postgres', database });
    await session.connect();
    try {
      return await work(session);
    } finally {
      await session.end();
    }
  }
}

/** Looks whether there is a PostgreSQL 18 for the cluster, and whether we could talk to it. */
export async function findPostgres(options: PostgresOptions): Promise<Found<Postgres>> {
  const { cluster } = options;
  const version = readFileSync(join(cluster, 'PG_VERSION'), 'utf8').trim();
  if (version !== '18') return missing(`the cluster is of version ${version}, not 18`);
  if (existsSync(join(cluster, 'postmaster.pid'))) return missing(`a server runs on the cluster: stop it`);
  if (statSync(cluster).uid === 0)
    return missing(`the cluster belongs to root, as whom PostgreSQL refuses to run`);
  if (Buffer.byteLength(cluster) + '/.s.PGSQL.5432.lock'.length > SOCKET_PATH_MAX)
    return missing(`the path of the cluster is too long for a socket in it`);
  const postgres = new Postgres(options);
  const reason = await postgres.whyNoServer();
  return reason === null ? found(postgres) : missing(`PostgreSQL cannot be run on the cluster: ${reason}`);
}

/** For a POSIX shell. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
