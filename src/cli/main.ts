#!/usr/bin/env node
/**
 * The program `pgaio`. Runs when it is imported. Sets the exit code and lets the process end by itself, so that
 * output that goes to a pipe arrives.
 */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { PgaioError } from '../base/errors.js';
import { addBenchCommand } from './bench-command.js';
import { addDoctorCommand } from './doctor-command.js';
import type { PackageFacts } from './doctor/report.js';
import { ExitCode } from './verify/report.js';
import { addTopCommand } from './top-command.js';
import { addVerifyCommand } from './verify-command.js';
import { addWaldumpCommand } from './waldump/waldump-command.js';

const facts = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
) as PackageFacts;

const program = new Command('pgaio')
  .description("PostgreSQL's asynchronous I/O subsystem for Node.js")
  .version(facts.version)
  .exitOverride()
  .configureHelp({ showGlobalOptions: false })
  .showHelpAfterError('(--help shows what there is)');
addVerifyCommand(program);
addDoctorCommand(program, facts);
addTopCommand(program);
addWaldumpCommand(program);
addBenchCommand(program);

/** For what is written when nobody reads any more; while verifying there is more to do then. */
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  // Commander has printed its message: help and version are what was asked for, the rest is wrong usage.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ExitCode.GOOD : ExitCode.NOT_DONE;
  if (!(error instanceof PgaioError)) throw error;
  const { message, hint } = error;
  process.stderr.write(`pgaio: ${message}${hint === undefined ? '' : `. ${hint}`}\n`);
  return ExitCode.NOT_DONE;
}
