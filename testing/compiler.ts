/** The C compiler of this machine, for tests that build the native addon. */
import { spawnSync } from 'node:child_process';

const programs = process.env['CC'] ? [process.env['CC']] : ['cc', 'gcc', 'clang'];

/** The compiler's name, or null. */
export function findCompiler(): string | null {
  return programs.find((program) => spawnSync(program, ['--version']).status === 0) ?? null;
}

/** Why nothing can be compiled; false when it can. */
export function compilerMissing(): string | false {
  if (process.platform !== 'linux') return `io_uring is Linux's, this is ${process.platform}`;
  return findCompiler() === null ? 'io_uring needs an addon, and there is no C compiler to build it' : false;
}
