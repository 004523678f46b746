/** `pgaio top` as a user sees it: frames, documents, a terminal, exit codes. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createInstance, type Instance, type Snapshot } from '../../src/index.js';
import { formatMicros, frameLines } from '../../src/cli/top/frame.js';
import { openScreen } from '../../src/cli/top/screen.js';
import { Program, run } from './program.js';

const main = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const BYTES = 10_000;
const noScript = spawnSync('script', ['--version']).status !== 0 && 'the command `script` is missing';

describe('top', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pgaio-top-test-'));
  const path = join(directory, 'file');
  const socket = join(directory, 'top.sock');
  let instance: Instance;

  before(async () => {
    writeFileSync(path, new Uint8Array(BYTES));
    instance = await createInstance({ ioMethod: 'worker', sharedBuffers: '128kB', trackIoTiming: true });
    await instance.openMonitor(socket);
    await instance.backend.openRawFile(path).read(0, BYTES);
  });
  after(async () => {
    await instance.close();
    rmSync(directory, { recursive: true });
  });

  it('--json prints documents, a line each; --once ends behind the first', async () => {
    const { code, stdout, stderr } = await run('top', '--json', '--once', socket);
    assert.deepEqual([code, stderr], [0, '']);
    const snapshot = JSON.parse(stdout) as Snapshot;
    assert.deepEqual(
      [snapshot.pid, snapshot.ioMethod, snapshot.io[0]?.readBytes],
      [process.pid, 'worker', BYTES],
    );
    assert.equal(snapshot.latencies[0]?.latency.count, 1);
  });

  it('--once prints what happened in an interval', async () => {
    const { code, stdout, stderr } = await run('top', '--once', '--interval', '0.1', socket);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(
      stdout,
      new RegExp(`^pgaio of process ${process.pid}, Node v[0-9.]+, up .*: worker, 2 workers`),
    );
    assert.match(stdout, /^file read +0 +0 B\/s$/m);
    assert.match(stdout, /^latency: none$/m);
    assert.match(stdout, /^0 client backend +-$/m);
  });

  it('without a terminal, frames follow each other until a signal comes', async () => {
    const program = new Program(['top', '--interval', '0.1', socket]);
    await program.said('per second');
    program.child.kill('SIGINT');
    const { code, stdout, stderr } = await program.ended();
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^file read +1 +9\.8 kB +9\.8 kB$/m, 'the first says what there was in all');
    assert.ok(!stdout.includes('\u001b'));
  });

  it('in a terminal it has a screen of its own, until q', { skip: noScript }, async () => {
    const command = `stty cols 60 rows 12; ${process.execPath} ${main} top --interval 0.1 ${socket}`;
    const terminal = spawn('script', ['-qec', command, '/dev/null']);
    let shown = '';
    for await (const chunk of terminal.stdout) {
      const asked = shown.includes('per second');
      shown += String(chunk);
      if (!asked && shown.includes('per second')) terminal.stdin.write('q');
    }
    if (terminal.exitCode === null) await once(terminal, 'exit');
    assert.equal(terminal.exitCode, 0, shown);
    assert.ok(shown.includes('\u001b[?1049h') && shown.trimEnd().endsWith('\u001b[?1049l'));
    for (const line of shown.split('\u001b[H').flatMap((frame) => frame.split('\n')))
      assert.ok(stripVTControlCharacters(line).trim().length <= 60, JSON.stringify(line));
  });

  it('ends with 1 when the program closes its monitor', async () => {
    const monitor = await instance.openMonitor(join(directory, 'closed.sock'));
    const program = new Program(['top', '--json', '--interval', '0.1', monitor.path]);
    await program.said('"version"');
    await monitor.close();
    const { code, stderr } = await program.ended();
    assert.deepEqual([code, stderr], [1, 'pgaio: the program closed its monitor, or has ended\n']);
  });

  it('says why nobody can be reached', async () => {
    const dead = join(directory, 'dead.sock');
    const leave = `require('node:net').createServer().listen(${JSON.stringify(dead)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', leave]);
    const reasons: [string, RegExp][] = [
      [join(directory, 'missing'), /ENOENT.*The program opens it with instance\.openMonitor/],
      [dead, /ECONNREFUSED.*has ended without removing it/],
    ];
    for (const [place, reason] of reasons) {
      const { code, stdout, stderr } = await run('top', place);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, reason);
    }
  });

  it('refuses what is no monitor, and intervals that are none', async () => {
    const other = createServer((client) => client.end('{"version":99}\n')).listen(join(directory, 'other'));
    await once(other, 'listening');
    const { code, stderr } = await run('top', '--once', join(directory, 'other'));
    other.close();
    assert.equal(code, 2);
    assert.match(stderr, /not a monitor of this version of pgaio/);
    for (const interval of ['0', 'x', '', '99999']) {
      const refused = await run('top', '--interval', interval, socket);
      assert.equal(refused.code, 2);
      assert.match(refused.stderr, /Not a number from 0\.1 to 3600/);
    }
  });

  it('frames tell rates between two snapshots, and begin anew after a reset', async () => {
    const { stdout } = await run('top', '--json', '--once', socket);
    const earlier = JSON.parse(stdout) as Snapshot;
    const row = earlier.io[0]!;
    const later: Snapshot = {
      ...earlier,
      uptimeMillis: earlier.uptimeMillis + 2000,
      io: [{ ...row, reads: row.reads + 500, readBytes: row.readBytes + 500 * 8192 }],
      latencies: [],
      crashed: 'a test said so',
      inFlightCount: 3,
      inFlight: [
        {
          owner: 4,
          id: 1,
          generation: 2,
          state: 'SUBMITTED',
          operation: 'readv',
          offset: 8192,
          length: 4096,
          target: 'file',
          targetDescription: '/evil\u001b[2J\nname',
          handleDataLength: 0,
          rawResult: null,
          result: null,
          referencesLocal: false,
          synchronous: false,
          buffered: true,
          ageMicros: 12_345,
        },
      ],
      backends: [{ backend: 4, type: 'checkpointer', event: 'AioIoCompletion', object: 1 }],
    };
    const plain = (now: Snapshot, before: Snapshot | null): string[] =>
      frameLines(now, before).map((line) => stripVTControlCharacters(line));
    const lines = plain(later, earlier);
    assert.match(lines.join('\n'), /^file read +250 +2\.0 MB\/s +8\.0 kB$/m);
    assert.ok(lines.includes('crashed: a test said so'));
    assert.ok(
      lines.some((line) =>
        /^ +12\.3 ms +4 +readv +submitted +4\.0 kB +8192 of \/evil\?\[2J\?name$/.test(line),
      ),
      lines.join('\n'),
    );
    assert.ok(lines.includes('and 2 more'));
    assert.ok(lines.some((line) => /^4 checkpointer +AioIoCompletion$/.test(line)));
    const anew = {
      ...later,
      uptimeMillis: later.uptimeMillis + 2000,
      io: [{ ...row, reads: 0, readBytes: 0, hits: 4 }],
    };
    assert.match(plain(anew, later).join('\n'), /^file hit +2\.0$/m);
    assert.deepEqual([0, 999, 1500, 2e6, 1e8].map(formatMicros), [
      '0 µs',
      '999 µs',
      '1.50 ms',
      '2.00 s',
      '2 min',
    ]);
  });

  it('a screen is drawn again when it changes its size', () => {
    const written: string[] = [];
    const out = Object.assign(new EventEmitter(), {
      isTTY: true,
      columns: 10,
      rows: 5,
      write: (text: string) => written.push(text) > 0,
    });
    const input = Object.assign(new EventEmitter(), {
      isTTY: true,
      raw: false,
      setRawMode: (on: boolean) => (input.raw = on),
      setEncoding: () => undefined,
      pause: () => undefined,
    });
    let quits = 0;
    const screen = openScreen(
      out as unknown as NodeJS.WriteStream,
      input as unknown as NodeJS.ReadStream,
      () => quits++,
    );
    const lastShown = (): string[] => stripVTControlCharacters(written.at(-1) ?? '').split('\r\n');
    screen.show(['a line that is too long', 'b', 'c', 'd', 'e']);
    assert.deepEqual(lastShown(), ['a line tha', 'b', 'c', '', 'q: quit']);
    Object.assign(out, { columns: 30, rows: 4 });
    out.emit('resize');
    assert.deepEqual(lastShown(), ['a line that is too long', 'b', '', 'q: quit']);
    assert.equal(input.raw, true);
    for (const keys of ['x', 'q', '\u0003']) input.emit('data', keys);
    assert.equal(quits, 2);
    screen.close();
    assert.equal(input.raw, false);
    out.emit('resize');
    assert.ok(written.at(-1)?.endsWith('\u001b[?1049l'));
  });
});
