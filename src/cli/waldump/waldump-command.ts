/** `pgaio waldump`: options, output, and the exit code. */
import { InvalidArgumentError, type Command } from 'commander';
import { SettingError, type PgaioError } from '../../base/errors.js';
import { parseLsn, type Lsn } from '../../wal/lsn.js';
import { resourceManagerByName, RESOURCE_MANAGERS } from '../../wal/resource-managers.js';
import { Interruption } from '../interruption.js';
import type { WaldumpRequest } from './waldump.js';

interface Flags {
  start?: Lsn;
  end?: Lsn;
  timeline?: number;
  rmgr?: number;
  limit?: number;
  /** Or the path, which stood where a value may stand: `--stats PATH`. */
  stats?: true | string;
  json?: true;
}

const HELP = `
Examples:
  pgaio waldump /srv/pg/data/pg_wal/000000010000000000000003        one segment
  pgaio waldump --start 0/3000028 --limit 20 /srv/pg/data           from a position, of a data directory
  pgaio waldump --stats=record --end 0/5000000 /srv/pg/data/pg_wal  counts and sizes

WAL of PostgreSQL 15 to 18 is read, up to the first record that is not right; where that is, and why, is said on
standard error. WAL in use always ends so. Contents are described for XLOG, Transaction, Storage and LogicalMessage; for
other resource managers the operation is named. Without --start, reading begins with the first segment of the
latest timeline. Resource managers: ${RESOURCE_MANAGERS.join(', ')}, custom128 to custom255.

Exit codes:
  0    everything was read: up to --end, or without it to the end of valid WAL
  1    valid WAL ends before --end
  2    wrong usage, a path without WAL, a file that cannot be read, or no record at all
  130  interrupted (Ctrl-C, SIGTERM)`;

export function addWaldumpCommand(program: Command): void {
  program
    .command('waldump')
    .summary('print the records of write-ahead log')
    .description(
      'Prints the records of WAL. PATH is a segment file, a directory of segments, or a data directory.',
    )
    .argument('[PATH]', 'where the WAL is')
    .usage('[options] <PATH>')
    .option('--start <lsn>', 'begin with the first record at or after this position', lsn)
    .option('--end <lsn>', 'only records that end at or before this position', lsn)
    .option('--timeline <n>', 'of the segments in a directory (default: the latest)', (text) =>
      integer(text, 1, 2 ** 32 - 1),
    )
    .option('--rmgr <name>', 'only records of this resource manager', rmgr)
    .option('--limit <n>', 'only so many records', (text) => integer(text, 1, Number.MAX_SAFE_INTEGER))
    .option('--stats [record]', 'counts and sizes instead of records, by resource manager or by operation')
    .option('--json', 'print one JSON document, and nothing else, on standard output')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(path: string | undefined, flags: Flags, command: Command): Promise<void> {
  const { stats } = flags;
  const isValue = stats === undefined || stats === true || stats === 'record';
  const given = path ?? (isValue ? undefined : stats);
  if (given === undefined) return command.error("error: missing required argument 'PATH'");
  if (!isValue && path !== undefined)
    command.error(`error: --stats takes "record" or nothing, not "${stats}"`);
  await dump(given, flags);
}

async function dump(path: string, flags: Flags): Promise<void> {
  const say = (line: string): void => void process.stderr.write(`pgaio: ${line}\n`);
  const interruption = new Interruption(() => {
    if (flags.json !== true) say('interrupted');
  });
  // Whoever reads our output has gone (`| head`): nobody wants the rest.
  process.stdout.on('error', () => interruption.abort());
  const { start, end, timeline, rmgr: resourceManager, limit, stats } = flags;
  const request: WaldumpRequest = {
    path,
    start,
    end,
    timeline,
    resourceManager,
    limit,
    stats: stats === undefined ? null : stats === 'record' ? 'record' : 'manager',
    json: flags.json === true,
    signal: interruption.signal,
  };
  try {
    // Node reads all modules of a program at once: `doctor`, which looks at the limit on open files, must not need these.
    const { waldump } = await import('./waldump.js');
    process.exitCode = await waldump(request, process.stdout, say);
  } finally {
    interruption.end();
  }
}

function lsn(text: string): Lsn {
  try {
    return parseLsn(text);
  } catch (error) {
    if (!(error instanceof SettingError)) throw error;
    throw new InvalidArgumentError(sentence(error));
  }
}

function sentence({ message, hint }: PgaioError): string {
  return hint === undefined ? `${message}.` : `${message}. ${hint}`;
}

function rmgr(text: string): number {
  const id = resourceManagerByName(text);
  if (id === null) throw new InvalidArgumentError('There is no such resource manager; --help lists them.');
  return id;
}

function integer(text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
}
