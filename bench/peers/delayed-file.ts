/** A file on storage that takes its time: nbdkit with its delay filter, mounted by nbdfuse. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithProcess } from '../../testing/postgres/process-end.js';
import { findProgram } from '../found.js';

/** Why there can be no such storage here, or null. */
export function whyNoDelayedFile(): string | null {
  for (const program of ['nbdkit', 'nbdfuse']) {
    const { missing } = findProgram(program);
    if (missing !== null) return missing;
  }
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  if (unmountCommand() === null)
    return 'there is no fusermount3 in the PATH, and only root can unmount without it';
  return null;
}

function unmountCommand(): [string, ...string[]] | null {
  if (findProgram('fusermount3').value !== null) return ['fusermount3', '-u'];
  return process.getuid?.() === 0 ? ['umount'] : null;
}

const START_MILLIS_MAX = 10_000;
const CONNECTIONS = 16;

export class DelayedFile {
  readonly path: string;
  readonly #directory: string;
  readonly #processes: ChildProcess[] = [];
  readonly #forget: () => void;
  #output = '';

  /** Serves `file`, read-only, each read delayed by `millis`. */
  static async open(file: string, millis: number): Promise<DelayedFile> {
    const delayed = new DelayedFile();
    try {
      await delayed.#start(file, millis);
      return delayed;
    } catch (error) {
      delayed.close();
      throw error;
    }
  }

  private constructor() {
    this.#directory = mkdtempSync(join(tmpdir(), 'pgaio-delayed-'));
    this.path = join(this.#directory, 'mount/file');
    this.#forget = endWithProcess(() => this.#end());
  }

  async #start(file: string, millis: number): Promise<void> {
    const socket = join(this.#directory, 'socket');
    this.#spawn('nbdkit', [
      ...['-f', '--exit-with-parent', '-r', '-t', '64', '-U', socket],
      ...['--filter=delay', 'file', file, `rdelay=${millis}ms`],
    ]);
    await this.#appears(socket);
    mkdirSync(dirname(this.path));
    // Over one connection nbdfuse does not reach the depths that this is for.
    this.#spawn('nbdfuse', ['-r', '-C', String(CONNECTIONS), this.path, '--unix', socket]);
    await this.#appears(this.path);
  }

  #spawn(program: string, args: readonly string[]): void {
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    child.on('error', (error) => (this.#output += error.message));
    this.#processes.push(child);
  }

  async #appears(path: string): Promise<void> {
    for (let waited = 0; !existsSync(path); waited += 20) {
      const ended = this.#processes.some(({ exitCode }) => exitCode !== null);
      if (ended || waited > START_MILLIS_MAX) throw new Error(`there is no ${path}: ${this.#output}`);
      await sleep(20);
    }
  }

  close(): void {
    this.#forget();
    this.#end();
  }

  #end(): void {
    const [command, ...args] = unmountCommand() ?? ['umount'];
    if (existsSync(this.path)) spawnSync(command, [...args, dirname(this.path)]);
    for (const child of this.#processes) child.kill();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
