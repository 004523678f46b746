/** `npm run bench`: the command line of the benchmarks. */
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { parseBytes } from '../src/base/units.js';
import { supportedMethods } from '../src/index.js';
import { ensureEmbeddedPostgres, embeddedPostgresMissing } from '../testing/postgres/binaries.js';
import { cacheDirectory } from '../testing/postgres/cache.js';
import { ensureBenchCluster } from './data/bench-cluster.js';
import { largestTable, tableAt, tableBytes, type BenchTable } from './data/table.js';
import { missing, type Found } from './found.js';
import { describeMachine, fileSystemOf, machineLine } from './machine.js';
import { findPostgres, type Postgres } from './peers/postgres.js';
import { formatScenario } from './report.js';
import { runScenario, type ScenarioResult } from './run.js';
import type { Bench, Scenario } from './scenario.js';
import { scenarios } from './scenarios/index.js';

interface Options {
  list?: true;
  reps: number;
  seconds: number;
  quick?: true;
  case?: string;
  json?: string;
  cluster?: string;
  table?: string;
  tableSize: string;
  pgBin?: string;
  pgExec?: string;
  pgData?: string;
  walDirectory: string;
}

const HELP = `
Everything is a ratio within one run: cases take turns, and medians are compared.

Without --cluster, a PostgreSQL 18 from npm makes a cluster with one large table, once. With it, any stopped cluster of
PostgreSQL 18 is read, and the programs that --pg-bin names are the peers. Where they live elsewhere, as in a chroot:
  npm run bench -- --cluster /srv/root18/var/data --pg-data /var/data --pg-bin /usr/lib/postgresql/18/bin \\
    --pg-exec 'chroot /srv/root18 su postgres -c'`;

function readCommandLine(): { names: string[]; options: Options } {
  const command = new Command('npm run bench --')
    .argument('[scenario...]', 'scenarios to run, or groups of them, such as wal; all without one')
    .option('--list', 'say which scenarios there are')
    .option('--case <text>', 'only cases whose name contains this, such as fio')
    .option('--reps <number>', 'repetitions of each case', positive, 5)
    .option('--seconds <number>', 'measured time of a repetition', positive, 2)
    .option('--quick', 'one short repetition: to see that it runs, not to quote')
    .option('--json <file>', 'write the results there too')
    .option('--cluster <directory>', 'data directory of a stopped cluster of PostgreSQL 18')
    .option('--table <path>', 'the table to read, as base/DATABASE/RELATION; default: the largest')
    .option('--table-size <size>', 'size of the table that is made without --cluster', '2500MB')
    .option('--pg-bin <directory>', "PostgreSQL 18's programs; default: those from npm")
    .option(
      '--pg-exec <command>',
      'runs the shell command line that is its last argument where PostgreSQL lives',
    )
    .option('--pg-data <directory>', 'the data directory as PostgreSQL sees it, if not as we do')
    .option(
      '--wal-directory <directory>',
      'where the WAL scenarios write; default: where the default cluster is',
      cacheDirectory(),
    )
    .addHelpText('after', HELP)
    .parse();
  return { names: command.args, options: command.opts<Options>() };
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

/** By their names; `files` stands for all that begin with `files-`, as long as there is none of that name. */
function chooseScenarios(names: readonly string[]): Scenario[] {
  const all = scenarios.map(({ name }) => name);
  const chosen = new Set<string>();
  for (const name of names) {
    const meant = all.includes(name) ? [name] : all.filter((one) => one.startsWith(`${name}-`));
    if (meant.length === 0) throw new Error(`there is no scenario ${name}; there are ${all.join(', ')}`);
    for (const one of meant) chosen.add(one);
  }
  return scenarios.filter(({ name }) => names.length === 0 || chosen.has(name));
}

async function findBench(options: Options): Promise<Bench> {
  const table = await findTable(options);
  return {
    methods: supportedMethods(),
    table,
    walDirectory: resolve(options.walDirectory),
    postgres: await findPeer(options, table.dataDirectory),
    seconds: options.quick === true ? 0.2 : options.seconds,
  };
}

async function findTable(options: Options): Promise<BenchTable> {
  if (options.cluster === undefined) {
    const reason = embeddedPostgresMissing();
    if (reason !== null) throw new Error(`${reason}; name a cluster with --cluster`);
    const bytes = parseBytes('--table-size', options.tableSize);
    const directory = join(cacheDirectory(), `bench-cluster-${Math.round(bytes / 1024 ** 2)}MB`);
    await ensureBenchCluster(directory, bytes, say);
    return largestTable(directory);
  }
  const directory = resolve(options.cluster);
  if (options.table === undefined) return largestTable(directory);
  const [, database, relation] = /^base\/(\d+)\/(\d+)$/.exec(options.table) ?? [];
  const table = tableAt(directory, Number(database), Number(relation));
  if (table.blocks === 0) throw new Error(`there is no table ${options.table} in "${directory}"`);
  return table;
}

async function findPeer(options: Options, cluster: string): Promise<Found<Postgres>> {
  const { pgExec: exec, pgData: data } = options;
  let { pgBin: bin } = options;
  if (bin === undefined) {
    const reason = embeddedPostgresMissing();
    if (reason !== null) return missing(`${reason}; name one with --pg-bin`);
    ({ bin } = await ensureEmbeddedPostgres());
  }
  return findPostgres({
    cluster,
    bin,
    ...(exec === undefined ? {} : { exec }),
    ...(data === undefined ? {} : { data }),
  });
}

async function run(chosen: readonly Scenario[], options: Options): Promise<boolean> {
  const bench = await findBench(options);
  const machine = describeMachine(bench.table.dataDirectory);
  const reps = options.quick === true ? 1 : options.reps;
  console.log(machineLine(machine));
  console.log(
    `table ${bench.table.files[0] ?? ''}: ${bench.table.blocks} blocks, ${Math.round(tableBytes(bench.table) / 1e6)} MB; ` +
      `medians of ${reps} repetitions of ${bench.seconds} s\n`,
  );
  const walFileSystem = fileSystemOf(bench.walDirectory);
  if (walFileSystem !== machine.fileSystem) console.log(`WAL in ${bench.walDirectory}: ${walFileSystem}\n`);
  if (bench.postgres.missing !== null) say(`without PostgreSQL: ${bench.postgres.missing}`);
  const wanted = (name: string): boolean => options.case === undefined || name.includes(options.case);
  const results: ScenarioResult[] = [];
  for (const scenario of chosen) {
    const result = await runScenario(scenario, bench, { reps, wanted, say });
    results.push(result);
    console.log(`${formatScenario(result)}\n`);
  }
  if (options.json !== undefined) {
    const date = new Date().toISOString();
    const document = {
      date,
      machine,
      walFileSystem,
      table: bench.table,
      reps,
      seconds: bench.seconds,
      scenarios: results,
    };
    writeFileSync(options.json, `${JSON.stringify(document, null, 2)}\n`);
  }
  return results.every(({ cases }) => cases.every(({ failed }) => !failed));
}

async function main(): Promise<void> {
  const { names, options } = readCommandLine();
  try {
    const chosen = chooseScenarios(names);
    if (options.list === true) {
      for (const { name, about } of chosen) console.log(`${name.padEnd(20)}${about}`);
      return;
    }
    if (!(await run(chosen, options))) process.exitCode = 1;
  } catch (error) {
    say((error as Error).message);
    process.exitCode = 2;
  }
}

await main();
