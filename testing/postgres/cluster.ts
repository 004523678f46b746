/**
 * Real PostgreSQL clusters for tests and the demonstration. The server is our child process: it is ready when its log
 * says so and gone when it exits, so nothing here waits for time. It listens on a Unix socket in a private directory
 * and on no TCP port. What a cluster leaves behind is removed when it is disposed of, or when this process ends.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { findBarrier, giveToPostgres, makePostgresDirectory } from './account.js';
import { ensureEmbeddedPostgres, type PostgresBinaries } from './binaries.js';
import { endWithProcess } from './process-end.js';
import { asPostgres } from './run.js';
import { initializeFromTemplate } from './template.js';

export interface ClusterOptions {
  /** PostgreSQL 18 from npm unless given. */
  readonly binaries?: PostgresBinaries;
  /** The data directory to make, which is then kept. Without it, it is a temporary one. */
  readonly directory?: string;
  /** Data checksums, on unless false. */
  readonly checksums?: boolean;
  /** More arguments for initdb, such as `--wal-segsize=1`. */
  readonly initdbArguments?: readonly string[];
  /** Lines for postgresql.conf, over the harness's own. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

export type Row = Record<string, unknown>;

/** `fast` writes a checkpoint and ends; `immediate` ends as a crash does, leaving recovery for the next start. */
export type StopMode = 'fast' | 'immediate';

const stopSignals = { fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** Small, and without the background work that would make two runs differ. A crash of the machine loses the test. */
const harnessSettings = {
  autovacuum: 'off',
  fsync: 'off',
  listen_addresses: '',
  max_connections: 20,
  shared_buffers: '16MB',
};

const superuser = 'postgres';
const logLinesMax = 200;

/** Makes a cluster as initdb does. It is not started. */
export async function createCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const binaries = options.binaries ?? (await ensureEmbeddedPostgres());
  const homes = shortTemporaryDirectory();
  for (const path of [binaries.bin, homes, options.directory ?? homes]) {
    const barrier = findBarrier(join(path, 'inside'));
    if (barrier !== null) throw new Error(`${barrier} is closed to the account that PostgreSQL runs as`);
  }
  const home = mkdtempSync(join(homes, 'pgaio-'));
  giveToPostgres(home);
  const directory = options.directory ?? join(home, 'data');
  makePostgresDirectory(directory);

  const cluster = new Cluster(binaries, directory, home);
  try {
    await initializeFromTemplate(directory, binaries, [
      `--username=${superuser}`,
      '--auth=trust',
      '--encoding=UTF8',
      '--locale=C',
      '--no-sync',
      ...checksumArguments(binaries, options.checksums ?? true),
      ...(options.initdbArguments ?? []),
    ]);
  } catch (error) {
    await cluster.remove();
    throw error;
  }
  const settings = Object.entries({ ...harnessSettings, ...options.settings });
  const lines = settings.map(([name, value]) => `${name} = '${String(value)}'\n`);
  appendFileSync(join(directory, 'postgresql.conf'), lines.join(''));
  return cluster;
}

export class Cluster implements AsyncDisposable {
  /** The data directory. */
  readonly directory: string;
  readonly #binaries: PostgresBinaries;
  /** Holds the socket, the tablespaces and, unless the caller gave one, the data directory. */
  readonly #home: string;
  readonly #log: string[] = [];
  readonly #forget: () => void;
  #server: ChildProcess | null = null;

  constructor(binaries: PostgresBinaries, directory: string, home: string) {
    this.#binaries = binaries;
    this.directory = directory;
    this.#home = home;
    this.#forget = endWithProcess(() => {
      this.#server?.kill(stopSignals.immediate);
      this.#removeFiles();
    });
  }

  /** Resolves when the server accepts connections; recovery, if one is due, has ended then. */
  async start(): Promise<void> {
    if (this.#server !== null) throw new Error('the cluster is running already');
    const server = spawn(
      join(this.#binaries.bin, 'postgres'),
      ['-D', this.directory, '-k', this.#home, '-c', 'logging_collector=off', '-c', 'lc_messages=C'],
      // In a process group of its own, so that Ctrl-C in a terminal reaches it through us, or not at all.
      { ...asPostgres(), stdio: ['ignore', 'ignore', 'pipe'], detached: true },
    );
    this.#server = server;
    const lines = createInterface({ input: server.stderr });
    const ready = new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        this.#remember(line);
        if (line.includes('database system is ready to accept connections')) resolve();
      });
      server.on('error', reject);
      server.on('close', (code, signal) => {
        this.#server = null;
        reject(new Error(`PostgreSQL ended (${signal ?? `exit code ${code}`}):\n${this.log}`));
      });
    });
    await ready;
  }

  /** Resolves when the server has ended; does nothing if it is not running. */
  async stop(mode: StopMode = 'fast'): Promise<void> {
    if (this.#server === null) return;
    const ended = once(this.#server, 'close');
    this.#server.kill(stopSignals[mode]);
    await ended;
  }

  get running(): boolean {
    return this.#server !== null;
  }

  /** The last lines that the server wrote. */
  get log(): string {
    return this.#log.join('\n');
  }

  /** Runs one statement (or several, without values) over a connection of its own, and returns the last one's rows. */
  async query<R extends Row = Row>(
    sql: string,
    options: { database?: string; values?: unknown[] } = {},
  ): Promise<R[]> {
    const client = await this.connect(options.database);
    try {
      // Several statements give an array of results, which the type of `query` does not say.
      const result: unknown = await client.query(sql, options.values);
      const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult<R>;
      return last.rows;
    } finally {
      await client.end();
    }
  }

  /** A connection to keep: for temporary tables, transactions, or a load of many statements. End it with `end()`. */
  async connect(database = 'postgres'): Promise<pg.Client> {
    const client = new pg.Client({ host: this.#home, port: 5432, user: superuser, database });
    // An immediate stop breaks open connections; whoever waits for one is told by its query.
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  /** The first segment of a relation's main fork, as an absolute path. */
  async relationPath(name: string, database?: string): Promise<string> {
    const options = database === undefined ? {} : { database };
    const rows = await this.query<{ path: string | null }>(
      'SELECT pg_relation_filepath($1::regclass) AS path',
      {
        ...options,
        values: [name],
      },
    );
    const path = rows[0]?.path;
    if (path === null || path === undefined) throw new Error(`${name} has no file`);
    return join(this.directory, path);
  }

  /** Makes an empty directory that the server may write, for a tablespace, and returns its path. */
  makeDirectory(name: string): string {
    const path = join(this.#home, name);
    makePostgresDirectory(path);
    return path;
  }

  /** Stops the server and removes everything but a data directory that the caller named. */
  async remove(): Promise<void> {
    await this.stop('immediate');
    this.#forget();
    this.#removeFiles();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove();
  }

  #remember(line: string): void {
    this.#log.push(line);
    if (this.#log.length > logLinesMax) this.#log.shift();
  }

  #removeFiles(): void {
    // At the end of the process nobody can wait for the server, which may still be removing files of its own.
    rmSync(this.#home, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  }
}

/** Version 18 has checksums unless told otherwise, the earlier ones only if asked for them. */
function checksumArguments(binaries: PostgresBinaries, checksums: boolean): string[] {
  if (checksums) return ['--data-checksums'];
  return binaries.majorVersion >= 18 ? ['--no-data-checksums'] : [];
}

/** A socket's path holds at most 107 bytes, which a long TMPDIR alone may fill. */
function shortTemporaryDirectory(): string {
  const socketBytesMax = 107;
  const inside = '/pgaio-123456/.s.PGSQL.5432.lock';
  return Buffer.byteLength(tmpdir() + inside) <= socketBytesMax ? tmpdir() : '/tmp';
}
