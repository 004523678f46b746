/** Runs the command-line program as a user does: in a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface Ended {
  /** Exit code, or the signal that ended the process. */
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Surroundings {
  /** Variables beside those of the test. */
  readonly env?: Readonly<Record<string, string>>;
  /** Commands of the shell that run before the program, in its process. */
  readonly shell?: string;
}

export class Program {
  readonly child: ChildProcess;
  #stdout = '';
  #stderr = '';

  constructor(args: readonly string[], { env = {}, shell = '' }: Surroundings = {}) {
    const command = [process.execPath, main, ...args];
    const [program = '', ...rest] =
      shell === '' ? command : ['/bin/sh', '-c', `${shell}; exec "$@"`, 'sh', ...command];
    this.child = spawn(program, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', ...env },
    });
    this.child.stdout?.on('data', (chunk: Buffer) => (this.#stdout += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.#stderr += chunk.toString()));
  }

  /** Resolves once the program has written `text`, to standard output or standard error. */
  async said(text: string): Promise<void> {
    const { stdout, stderr } = this.child;
    while (!this.#stdout.includes(text) && !this.#stderr.includes(text)) {
      const ended = once(this.child, 'close').then(() => true);
      const more = Promise.race([once(stdout ?? this.child, 'data'), once(stderr ?? this.child, 'data')]);
      if (await Promise.race([more.then(() => false), ended])) break;
    }
  }

  async ended(): Promise<Ended> {
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'close');
    const code = this.child.exitCode ?? this.child.signalCode ?? -1;
    return { code, stdout: this.#stdout, stderr: this.#stderr };
  }
}

/** Resolves when the program has ended. */
export function run(...args: string[]): Promise<Ended> {
  return new Program(args).ended();
}

export function runIn(surroundings: Surroundings, ...args: string[]): Promise<Ended> {
  return new Program(args, surroundings).ended();
}
