/** `pgaio doctor`: options, output, and the exit code. */
import type { Command } from 'commander';
import { diagnose, type PackageFacts } from './doctor/report.js';
import { diagnosisLines } from './output/diagnosis.js';

/** Wrong usage, and a path that does not exist, end with 2 as everywhere. */
const ExitCode = { GOOD: 0, PROBLEM: 1 } as const;

const HELP = `
Examples:
  pgaio doctor                                      this machine, and the file system of this directory
  pgaio doctor /var/lib/postgresql/18/main          and of a cluster
  pgaio doctor --json /srv/pg/data                  for a program

Every warning and every problem says what to do. Nothing that exists is changed. To try O_DIRECT, a file at PATH
is read; in a directory without files, one is made and removed.

Exit codes:
  0    all that pgaio needs works. Warnings, such as a missing io_uring, do not change the exit code
  1    something that pgaio needs does not work: see the lines marked "problem"
  2    wrong usage, or PATH does not exist`;

export function addDoctorCommand(program: Command, facts: PackageFacts): void {
  program
    .command('doctor')
    .summary('say what this machine and a file system can do')
    .description(
      'Says what this machine can do, and the file system at PATH: io_uring, limits, memory, O_DIRECT. ' +
        'Recommends settings.',
    )
    .argument('[PATH]', 'a file or a directory, for example a data directory', '.')
    .option('--json', 'print one JSON document, and nothing else, on standard output')
    .addHelpText('after', HELP)
    .action(async (path: string, flags: { json?: true }) => {
      const diagnosis = await diagnose(path, facts);
      const { report } = diagnosis;
      const lines = flags.json === true ? [JSON.stringify(report)] : diagnosisLines(diagnosis);
      process.stdout.write(`${lines.join('\n')}\n`);
      process.exitCode = report.ok ? ExitCode.GOOD : ExitCode.PROBLEM;
    });
}
