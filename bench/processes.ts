/** Other programs: running them to their end, and the CPU time that processes have used. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';

/** The kernel's clock ticks a second in /proc, the same on every Linux that Node runs on. */
const TICKS = 100;

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly uid?: number;
  readonly gid?: number;
  readonly cwd?: string;
}

/** Runs a program to its end and returns its standard output; throws with all of its output if it failed. */
export async function runProgram(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  if (code === 0) return output;
  throw new Error(
    `${program} ended with ${signal ?? `exit code ${String(code)}`}\n${errors}${output}`.trim(),
  );
}

/** CPU seconds of all descendants of this process that have ended and were waited for. */
export function endedChildrenCpuSeconds(): number {
  const fields = statFields('self');
  return fields === null ? 0 : (Number(fields[13]) + Number(fields[14])) / TICKS;
}

/** CPU seconds of a process and its children that run now; null when the process cannot be seen. */
export function familyCpuSeconds(parent: number): number | null {
  if (statFields(String(parent)) === null) return null;
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = statFields(entry);
    if (fields === null || (entry !== String(parent) && Number(fields[1]) !== parent)) continue;
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS;
}

/** The fields of a stat line behind the command's name, which may hold blanks: `state`, `ppid`, and so on. */
function statFields(process: string): string[] | null {
  try {
    const stat = readFileSync(`/proc/${process}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}
