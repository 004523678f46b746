/** Programs of a few lines, with the native addon at hand, in processes of their own. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';

const addonUrl = new URL('../src/native/addon.js', import.meta.url).href;
const ringUrl = new URL('./native-ring.js', import.meta.url).href;

export interface Ended {
  /** Null when a signal ended it. */
  code: number | null;
  output: string;
  errors: string;
}

export interface Program {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly ended: Promise<Ended>;
  /** Resolves when it has printed this; rejects when it ends without. */
  printed(text: string): Promise<void>;
}

const withAddon = `import { loadAddon } from ${JSON.stringify(addonUrl)};
  import { TestRing } from ${JSON.stringify(ringUrl)};
  import { readdirSync, readFileSync } from 'node:fs';
  import { Worker } from 'node:worker_threads';
  const addonUrl = ${JSON.stringify(addonUrl)};
  const addon = loadAddon();`;

/** `addon` and what one needs with it are there already, unless `without` says that the program has its own. */
export function startProgram(
  source: string,
  nodeOptions: readonly string[] = [],
  without?: 'without the addon',
): Program {
  const program = without === undefined ? `${withAddon}\n${source}` : source;
  const args = [...nodeOptions, '--input-type=module', '--eval', program];
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const said = { code: null, output: '', errors: '' } as Ended;
  child.stdout.on('data', (chunk: Buffer) => (said.output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (said.errors += chunk.toString()));
  child.stdin.on('error', () => undefined); // it may have ended
  const ended = (once(child, 'close') as Promise<[number | null]>).then(([code]) => ({ ...said, code }));
  const printed = async (text: string): Promise<void> => {
    while (!said.output.includes(text)) {
      const last = await Promise.race([once(child.stdout, 'data').then(() => null), ended]);
      if (last !== null && !said.output.includes(text)) throw new Error(`it ended: ${JSON.stringify(last)}`);
    }
  };
  return { child, ended, printed };
}

/** Runs a program to its end. Its standard input is empty. */
export async function runProgram(...args: Parameters<typeof startProgram>): Promise<Ended> {
  const { child, ended } = startProgram(...args);
  child.stdin.end();
  return ended;
}
