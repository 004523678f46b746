/** `pgaio verify`: options, output, and the exit code. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { IO_METHODS, type IoMethodName } from '../base/settings.js';
import { Interruption } from './interruption.js';
import { noProgress, ProgressBar, ProgressLines, type ProgressDisplay } from './output/progress.js';
import { badBlockLine, problemLine, structuralLine, summary } from './output/summary.js';
import { ExitCode, type VerifyReport } from './verify/report.js';
import type { VerifyWatcher } from './verify/verify-paths.js';

interface Flags {
  method: IoMethodName | 'auto';
  jobs?: number;
  direct?: true;
  rate?: number;
  filenode?: number;
  json?: true;
  report?: string;
  progress: boolean;
}

const JOBS_MAX = 64;
const MB = 2 ** 20;

const HELP = `
Examples:
  pgaio verify /var/lib/postgresql/18/main          a whole cluster, running or stopped
  pgaio verify --rate 50 --json /srv/pg/data        gently, and for a program
  pgaio verify --report damage.html /srv/pg/data    with a page to look at and to pass on
  pgaio verify /srv/pg/data/base/16384/24576.1      one segment of one relation

A stopped cluster gets the verdicts of pg_checksums --check. A cluster may also be running: a block that does
not match its checksum is read again, and only if it stays the same and wrong is it bad.

Exit codes:
  0    all blocks are good. Damaged page headers under a right checksum, which pg_checksums does not
       look for, are reported but do not change the exit code
  1    bad blocks were found
  2    the job could not be done, or not wholly, or all is good and the report could not be written:
       see the messages
  130  interrupted (Ctrl-C, SIGTERM); what was verified so far is reported`;

export function addVerifyCommand(program: Command): void {
  program
    .command('verify')
    .summary('verify the checksums of a PostgreSQL cluster')
    .description(
      'Verifies the page checksums of PostgreSQL 15 to 18. PATH is a data directory, a tablespace, a directory ' +
        'below them, or a segment file.',
    )
    .argument('<PATH...>', 'what to verify')
    .addOption(new Option('--method <name>', 'how to read').default('auto').choices(['auto', ...IO_METHODS]))
    .option(
      '--jobs <n>',
      'threads that issue reads (default: what suits the method and the machine)',
      (text) => integer(text, 1, JOBS_MAX),
    )
    .option('--direct', 'read past the page cache')
    .option('--rate <MB/s>', 'read no faster than this, in MB (1024 kB) a second', rate)
    .option('--filenode <n>', 'only relations with this file number', (text) => integer(text, 1, 0xffff_ffff))
    .option('--json', 'print one JSON document, and nothing else, on standard output')
    .option(
      '--report <file>',
      'write a page there, too: a map of all files that shows where the damage is (HTML)',
    )
    .option('--no-progress', 'do not show how far it is')
    .addHelpText('after', HELP)
    .action(verify);
}

async function verify(paths: string[], flags: Flags): Promise<void> {
  const progress = chooseProgress(flags);
  const say = (line: string): void => void process.stderr.write(`pgaio: ${line}\n`);
  const interruption = new Interruption(() => {
    progress.makeRoom();
    if (flags.json !== true) say('interrupted, finishing what is being read (once more to stop at once)');
  });
  // Whoever reads our output has gone (`| head`): nobody wants the rest.
  process.stdout.on('error', () => interruption.abort());
  const print = (line: string): void => {
    progress.makeRoom();
    if (process.stdout.writable) process.stdout.write(`${line}\n`);
  };
  try {
    // Node reads all modules of a program at once: `doctor`, which looks at the limit on open files, must not need these.
    const { verifyPaths } = await import('./verify/verify-paths.js');
    const page = flags.report === undefined ? null : await reportPageAt(flags.report);
    const { method, jobs, direct, filenode } = flags;
    const report = await verifyPaths({
      paths,
      method,
      jobs,
      direct,
      filenode,
      rate: flags.rate === undefined ? undefined : flags.rate * MB,
      signal: interruption.signal,
      watcher: { ...watcher(flags, print, say), ...page?.watcher, progress: (now) => progress.update(now) },
    });
    progress.end();
    if (flags.json === true) print(JSON.stringify(report));
    else for (const line of summary(report)) print(line);
    process.exitCode = report.exitCode;
    if (page !== null && !page.write(report, say)) process.exitCode ||= ExitCode.NOT_DONE;
    // What crashed may leave threads behind that never end.
    if (report.crash !== null) process.stdout.write('', () => process.exit());
    // Interrupted by nobody but the reader of our output.
    if (!process.stdout.writable && report.exitCode === ExitCode.INTERRUPTED) {
      process.exitCode = report.bad > 0 ? ExitCode.BAD_BLOCKS : ExitCode.NOT_DONE;
    }
  } finally {
    progress.end();
    interruption.end();
  }
}

interface ReportPage {
  readonly watcher: Partial<VerifyWatcher>;
  /** False, and said, when it could not be written. */
  write(report: VerifyReport, say: (line: string) => void): boolean;
}

/** Throws before anything is read if there is no place for it. */
async function reportPageAt(path: string): Promise<ReportPage> {
  const [{ checkPagePath, writePage }, { FileMap }, { reportPage }] = await Promise.all([
    import('./html/page.js'),
    import('./verify/map/file-map.js'),
    import('./verify/map/report-page.js'),
  ]);
  checkPagePath(path);
  const map = new FileMap();
  const started = new Date();
  return {
    watcher: { file: (file) => map.add(file) },
    write: (report, say) => {
      try {
        writePage(path, reportPage({ report, map, started }));
        say(`the report is in ${path}`);
        return true;
      } catch (error) {
        say(`the report could not be written to "${path}": ${(error as Error).message}`);
        return false;
      }
    },
  };
}

function watcher(
  flags: Flags,
  print: (line: string) => void,
  say: (line: string) => void,
): Partial<VerifyWatcher> {
  const problem: VerifyWatcher['problem'] = (one) => say(problemLine(one));
  if (flags.json === true) return { problem };
  return {
    problem,
    started: ({ method, methodReason, online }) => {
      if (!flags.progress) return;
      const why = methodReason === '' ? '' : ` (${methodReason})`;
      say(`verifying with method ${method}${why}${online ? ', beside a running server' : ''}`);
    },
    bad: (block) => print(badBlockLine(block)),
    structural: (block) => print(structuralLine(block)),
  };
}

function chooseProgress(flags: Flags): ProgressDisplay {
  if (!flags.progress || flags.json === true) return noProgress;
  if (process.stderr.isTTY) return new ProgressBar(process.stderr);
  return new ProgressLines((line) => void process.stderr.write(`pgaio: ${line}\n`));
}

function integer(text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
}

function rate(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0) return value;
  throw new InvalidArgumentError('It must be a number above 0, in MB a second.');
}
