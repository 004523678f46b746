/** `pgaio top`: options, output, and the exit code. */
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, type Command } from 'commander';
import type { Snapshot } from '../instance/snapshot.js';
import { frameLines } from './top/frame.js';
import { MonitorClient } from './top/monitor-client.js';
import { openScreen, type Screen } from './top/screen.js';

const ExitCode = { GOOD: 0, GONE: 1 } as const;
const SECONDS_MIN = 0.1;
const SECONDS_MAX = 3600;

interface Flags {
  interval: number;
  once?: true;
  json?: true;
}

const HELP = `
Examples:
  pgaio top /run/user/1000/app.sock                 live, until q or Ctrl-C
  pgaio top --once --interval 10 app.sock           rates and latencies of ten seconds
  pgaio top --json app.sock | jq .inFlightCount     a document each second, for a program

The program opens the socket with instance.openMonitor(path). Latencies are of what was completed in the interval;
clocks are read while somebody looks, unless the program has trackIoTiming on.

Exit codes:
  0    ended by q, Ctrl-C, SIGTERM, or --once
  1    the program closed its monitor, or has ended
  2    wrong usage, or nobody answers at SOCKET`;

export function addTopCommand(program: Command): void {
  program
    .command('top')
    .summary('watch the I/O of a program that runs')
    .description(
      'Shows throughput, latencies, I/O in flight, and what backends wait for, of a program that uses pgaio.',
    )
    .argument('<SOCKET>', 'path of the socket that the program opened')
    .option('--interval <seconds>', `from ${SECONDS_MIN} to ${SECONDS_MAX}`, seconds, 1)
    .option('--once', 'print one interval, and end')
    .option('--json', 'print snapshots, a line of JSON each, with counts since the statistics were reset')
    .addHelpText('after', HELP)
    .action(top);
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= SECONDS_MIN && value <= SECONDS_MAX) return value;
  throw new InvalidArgumentError(`Not a number from ${SECONDS_MIN} to ${SECONDS_MAX}.`);
}

async function top(path: string, flags: Flags): Promise<void> {
  const client = await MonitorClient.connect(path);
  const quit = new AbortController();
  const stop = (): void => quit.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop);
  quit.signal.addEventListener('abort', () => client.close());
  const onScreen = flags.once !== true && flags.json !== true;
  let screen: Screen | null = null;
  try {
    const first = await client.next();
    if (onScreen) screen = openScreen(process.stdout, process.stdin, stop);
    else process.stdout.on('error', stop);
    const lost = first === null || !(await watch(client, first, flags, screen, quit.signal));
    process.exitCode = lost && !quit.signal.aborted ? ExitCode.GONE : ExitCode.GOOD;
  } finally {
    screen?.close();
    client.close();
  }
  if (process.exitCode === ExitCode.GONE)
    process.stderr.write('pgaio: the program closed its monitor, or has ended\n');
}

/** False when the program has gone. */
async function watch(
  client: MonitorClient,
  first: Snapshot,
  { interval, once, json }: Flags,
  screen: Screen | null,
  signal: AbortSignal,
): Promise<boolean> {
  const print = (lines: readonly string[]): void => void process.stdout.write(`${lines.join('\n')}\n`);
  if (json === true) print([JSON.stringify(first)]);
  else screen?.show(frameLines(first, null));
  if (json === true && once === true) return true;
  for (let before = first; ;) {
    await sleep(interval * 1000, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return true;
    const now = await client.ask();
    if (now === null) return false;
    if (json === true) print([JSON.stringify(now)]);
    else if (screen !== null) screen.show(frameLines(now, before));
    else print(frameLines(now, before));
    if (once === true) return true;
    before = now;
  }
}
