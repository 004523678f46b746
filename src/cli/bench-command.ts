/** `pgaio bench`: options, output, and the exit code. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { IO_METHODS, type IoMethodName } from '../base/settings.js';
import { parseBytes } from '../base/units.js';
import { Interruption } from './interruption.js';
import type { Access, Pattern } from './bench/cells.js';

interface Flags {
  size: number;
  seconds: number;
  quick?: true;
  methods?: IoMethodName[];
  depths?: number[];
  sizes?: number[];
  access?: Access[];
  pattern: Pattern;
  write?: true;
  fio: boolean;
  json?: true;
  report?: string;
  progress: boolean;
}

const ExitCode = { DONE: 0, NOT_DONE: 2, INTERRUPTED: 130 } as const;
const ACCESSES: readonly Access[] = ['cached', 'cold', 'direct'];
const DEPTH_MAX = 256;
const SIZE_MAX = 2 ** 20;
const SECTOR = 4096;

const HELP = `
Examples:
  pgaio bench                                       the disk of this directory
  pgaio bench --report bench.html /srv/pg           with a page of charts
  pgaio bench --write /srv/pg                       writes and commits, too
  pgaio bench /srv/files/large.bin                  a file that is there: it is only read

In a directory a scratch file is made, which has no name once it is open, so that nothing stays behind; files that
exist are never written to. Of a disk that others use, only the ratios say something.

Exit codes:
  0    done
  2    it could not be done: see the message
  130  interrupted (Ctrl-C, SIGTERM); what was measured so far is printed`;

export function addBenchCommand(program: Command): void {
  program
    .command('bench')
    .summary('measure a disk: which method, depth and size to use')
    .description(
      'Measures reads, and writes if told to, of the disk of PATH, a directory or a file, and recommends settings.',
    )
    .argument('[PATH]', 'a directory, or a file that is only read', '.')
    .option('--size <size>', 'of the scratch file', bytes, 2 ** 30)
    .option('--seconds <number>', 'of each measurement', seconds, 0.5)
    .option('--quick', 'fewer and shorter measurements: to get an impression')
    .addOption(
      new Option('--methods <names>', 'such as io_uring,worker (default: all that work here)').argParser(
        methods,
      ),
    )
    .option('--depths <numbers>', 'I/Os in flight (default: 1,4,16,64)', numbers(1, DEPTH_MAX, 1))
    .option('--sizes <sizes>', 'bytes of an I/O (default: 8kB,128kB)', numbers(SECTOR, SIZE_MAX, SECTOR))
    .addOption(new Option('--access <names>', 'of cached, cold, direct (default: all)').argParser(accesses))
    .addOption(
      new Option('--pattern <name>', 'where the I/Os go').choices(['random', 'sequential']).default('random'),
    )
    .option('--write', 'measure writes and commits, too, in a scratch file')
    .option('--no-fio', 'leave out fio, which is run beside where it is installed')
    .option('--json', 'print one JSON document, and nothing else, on standard output')
    .option('--report <file>', 'write a page of charts there, too (HTML)')
    .option('--no-progress', 'do not show how far it is')
    .addHelpText('after', HELP)
    .action(bench);
}

async function bench(path: string, flags: Flags): Promise<void> {
  const [{ runBench }, { benchLines }] = await Promise.all([
    import('./bench/run-bench.js'),
    import('./bench/bench-lines.js'),
  ]);
  const isTerminal = process.stderr.isTTY;
  const clear = (): void => {
    if (isTerminal) process.stderr.write('\r\u001b[K');
  };
  const interruption = new Interruption(() => {
    clear();
    process.stderr.write('pgaio: interrupted, finishing (once more to stop at once)\n');
  });
  try {
    const result = await runBench({
      path,
      size: flags.size,
      seconds: flags.quick === true ? Math.min(flags.seconds, 0.1) : flags.seconds,
      methods: flags.methods,
      depths: flags.depths ?? (flags.quick === true ? [1, 16] : [1, 4, 16, 64]),
      sizes: flags.sizes ?? (flags.quick === true ? [8192] : [8192, 131_072]),
      accesses: flags.access ?? ACCESSES,
      pattern: flags.pattern,
      write: flags.write ?? false,
      fio: flags.fio,
      report: flags.report,
      signal: interruption.signal,
      progress: (text) => {
        if (flags.progress && flags.json !== true && isTerminal) process.stderr.write(`\r\u001b[K${text}`);
      },
    });
    clear();
    const lines = flags.json === true ? [JSON.stringify(result)] : benchLines(result);
    process.stdout.write(`${lines.join('\n')}\n`);
    if (flags.report !== undefined) process.stderr.write(`pgaio: the report is in ${flags.report}\n`);
    process.exitCode = result.interrupted
      ? ExitCode.INTERRUPTED
      : result.cells.length === 0
        ? ExitCode.NOT_DONE
        : ExitCode.DONE;
  } finally {
    clear();
    interruption.end();
  }
}

function bytes(text: string): number {
  let value: number;
  try {
    value = parseBytes('the size', text);
  } catch {
    value = 0;
  }
  if (value >= 2 ** 20) return value;
  throw new InvalidArgumentError('It must be a size of at least 1MB, such as 1GB.');
}

function seconds(text: string): number {
  const value = Number(text);
  if (/^\d*\.?\d+$/.test(text) && value > 0 && value <= 3600) return value;
  throw new InvalidArgumentError('It must be a number of seconds above 0.');
}

function listOf<T>(text: string, known: readonly T[]): T[] {
  const words = text.split(',').map((word) => word.trim() as T);
  if (words.length > 0 && words.every((word) => known.includes(word))) return [...new Set(words)];
  throw new InvalidArgumentError(`It must be a list of ${known.join(', ')}.`);
}

function methods(text: string): IoMethodName[] {
  return listOf<IoMethodName>(text, IO_METHODS);
}

function accesses(text: string): Access[] {
  return listOf(text, ACCESSES);
}

function numbers(min: number, max: number, unit: number): (text: string) => number[] {
  return (text) =>
    text.split(',').map((word) => {
      let value: number;
      try {
        value = unit === 1 ? Number(word) : parseBytes('a size', word.trim());
      } catch {
        value = NaN;
      }
      if (Number.isInteger(value) && value >= min && value <= max && value % unit === 0) return value;
      const what = unit === 1 ? 'whole numbers' : `multiples of ${unit}`;
      throw new InvalidArgumentError(`It must be a list of ${what} from ${min} to ${max}.`);
    });
}
