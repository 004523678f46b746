/** The socket of a monitor: whose it is, what it says, and that it is never in the program's way. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Worker } from 'node:worker_threads';
import { after, before, describe, it } from 'node:test';
import { MonitorError, type Snapshot } from '../../src/index.js';
import { openRig, withRig, type Rig } from '../../testing/instances.js';
import { Injection } from '../../testing/injection.js';
import { untilTrue } from '../../testing/turns.js';

const isRoot = process.getuid?.() === 0 && 'root may do everything';

/** One who looks at a monitor. */
class Reader {
  readonly socket: Socket;
  readonly #lines: Interface;
  readonly #snapshots: Snapshot[] = [];

  constructor(path: string) {
    this.socket = connect(path);
    this.#lines = createInterface(this.socket);
    this.#lines.on('line', (line) => this.#snapshots.push(JSON.parse(line) as Snapshot));
  }

  async next(): Promise<Snapshot> {
    if (this.#snapshots.length === 0) await once(this.#lines, 'line');
    return this.#snapshots.shift() ?? assert.fail('a line came, and no snapshot');
  }

  async ask(): Promise<Snapshot> {
    this.socket.write('\n');
    return this.next();
  }

  async end(): Promise<void> {
    this.socket.end();
    if (!this.socket.closed) await once(this.socket, 'close');
  }
}

/** Leaves a socket behind, as a process that is killed does. */
function leaveSocket(path: string): void {
  const program = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  assert.equal(spawnSync(process.execPath, ['-e', program]).signal, 'SIGKILL');
  assert.ok(lstatSync(path).isSocket());
}

describe('a monitor', () => {
  const injection = new Injection();
  let rig: Rig;
  let directory: string;

  before(async () => {
    rig = await openRig({ ioMethod: 'worker', injection: injection.url });
    directory = join(rig.data.path, 'monitors');
    mkdirSync(directory);
  });
  after(() => rig.close());

  const place = (name: string): string => join(directory, name);

  it('tells who connects how the instance is, and again for each line; clocks are read meanwhile', async () => {
    await using monitor = await rig.instance.openMonitor(place('a'));
    const reader = new Reader(monitor.path);
    const first = await reader.next();
    assert.deepEqual([first.version, first.pid, first.ioMethod], [1, process.pid, 'worker']);
    assert.deepEqual([first.crashed, first.inFlight, first.workers.count], [null, [], 2]);
    assert.equal(rig.instance.stats().trackIoTiming, true);
    assert.equal(rig.instance.trackIoTiming, false, 'what the program asked for');

    const relation = rig.backend.openRelation(rig.data.path, rig.data.write(1, 3));
    const hold = injection.hold('beforeSharedCompletion');
    const reading = rig.backend.readBlock(relation, 2);
    await hold.arrived();
    const during = await reader.ask();
    assert.equal(during.inFlightCount, 1);
    const [io] = during.inFlight;
    assert.match(io?.targetDescription ?? '', /base\/5\/1/);
    assert.ok((io?.ageMicros ?? 0) > 0);
    assert.deepEqual(during.backends, [
      {
        backend: rig.backend.number,
        type: 'client backend',
        event: during.backends[0]?.event,
        object: during.backends[0]?.object,
      },
    ]);
    hold.release();
    (await reading).release();
    const later = await reader.ask();
    assert.deepEqual([later.inFlightCount, later.io[0]?.reads, later.latencies[0]?.latency.count], [0, 1, 1]);
    await reader.end();
    await untilTrue(() => !rig.instance.stats().trackIoTiming);
  });

  it('who asks and does not read keeps nobody else from an answer', async () => {
    await using monitor = await rig.instance.openMonitor(place('b'));
    const reader = new Reader(monitor.path);
    await reader.next();
    reader.socket.pause();
    for (let line = 0; line < 1000; line++) reader.socket.write('more\n'.repeat(100));
    const other = new Reader(monitor.path);
    await other.next();
    await other.ask();
    await other.end();
    reader.socket.resume();
    await reader.next();
    await reader.end();
  });

  it('is its owner’s alone, and leaves nothing behind', async () => {
    const monitor = await rig.instance.openMonitor(place('c'));
    const { mode } = lstatSync(monitor.path);
    assert.equal(mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(directory), ['c']);
    const reader = new Reader(monitor.path);
    await reader.next();
    const closed = once(reader.socket, 'close');
    await monitor.close();
    await monitor.close();
    await closed;
    assert.deepEqual(readdirSync(directory), []);
  });

  it('takes the place of a socket that nobody listens to', async () => {
    leaveSocket(place('d'));
    await using monitor = await rig.instance.openMonitor(place('d'));
    const reader = new Reader(monitor.path);
    assert.equal((await reader.next()).pid, process.pid);
    await reader.end();
    assert.deepEqual(readdirSync(directory), ['d']);
  });

  it('takes no other’s place', async () => {
    await using monitor = await rig.instance.openMonitor(place('e'));
    await assert.rejects(rig.instance.openMonitor(place('e')), (error: unknown) => {
      assert.ok(error instanceof MonitorError);
      assert.match(error.message, /is the socket of a program that runs/);
      assert.match(error.hint ?? '', /a path of its own/);
      assert.equal(error.path, monitor.path);
      return true;
    });
    const reader = new Reader(monitor.path);
    await reader.next();
    await reader.end();
    writeFileSync(place('file'), 'kept');
    symlinkSync('/nowhere', place('link'));
    for (const name of ['file', 'link'])
      await assert.rejects(rig.instance.openMonitor(place(name)), /is there already, and is not a socket/);
    assert.deepEqual(readdirSync(directory).sort(), ['e', 'file', 'link']);
  });

  it('a place that cannot be is refused before anything is made', async () => {
    await assert.rejects(rig.instance.openMonitor(place('x'.repeat(200))), /is too long/);
    await assert.rejects(rig.instance.openMonitor(join(directory, 'missing', 'x')), {
      code: 'ERR_PGAIO_MONITOR',
      syscode: 'ENOENT',
    });
    await assert.rejects(rig.instance.openMonitor(1 as unknown as string), /the path of a socket/);
  });

  it('a directory that cannot be written is said', { skip: isRoot }, async () => {
    mkdirSync(place('closed'), { mode: 0o500 });
    await assert.rejects(rig.instance.openMonitor(join(place('closed'), 'x')), { syscode: 'EACCES' });
    chmodSync(place('closed'), 0o700);
  });

  it('what has taken its place meanwhile stays', async () => {
    const monitor = await rig.instance.openMonitor(place('f'));
    spawnSync('rm', [monitor.path]);
    const other = createServer().listen(monitor.path);
    await once(other, 'listening');
    await monitor.close();
    assert.ok(existsSync(monitor.path));
    other.close();
    await once(other, 'close');
  });

  it('answers while the program does not', async () => {
    await using monitor = await rig.instance.openMonitor(place('g'));
    const program = `
      const socket = require('node:net').connect(${JSON.stringify(monitor.path)});
      socket.setEncoding('utf8').once('data', (text) => { console.log(JSON.parse(text).pid); socket.destroy(); });`;
    const { stdout } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' });
    assert.equal(stdout, `${process.pid}\n`);
  });

  it('whose thread ends says so, leaves nothing behind, and is opened again', async () => {
    await withRig({ ioMethod: 'sync' }, async (own) => {
      const { instance } = own;
      const started = once(process, 'worker') as Promise<[Worker]>;
      const monitor = await instance.openMonitor(place('i'));
      const [thread] = await started;
      const reader = new Reader(monitor.path);
      await reader.next();
      assert.ok(instance.backend.statistics.isTiming);
      const closed = once(reader.socket, 'close');
      await thread.terminate();
      await closed;
      assert.equal(existsSync(monitor.path), false);
      assert.match(own.warnings.join(), /the monitor at ".*i" has ended, and can be opened again/);
      assert.ok(!instance.backend.statistics.isTiming, 'clocks are read for nobody');
      await using again = await instance.openMonitor(place('i'));
      const other = new Reader(again.path);
      await other.next();
      await other.end();
      await monitor.close();
    });
  });

  it('is closed with its instance', async () => {
    const path = place('h');
    await withRig({ ioMethod: 'sync' }, async ({ instance }) => {
      await instance.openMonitor(path);
      await instance.close();
      assert.equal(existsSync(path), false);
      await assert.rejects(instance.openMonitor(path), { code: 'ERR_PGAIO_CLOSED' });
    });
  });
});
