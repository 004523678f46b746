/** Descriptors on the event loop. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { closeSync, mkdtempSync, openSync, readdirSync, readlinkSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { NativeAddon } from '../../src/native/addon.js';
import { addonMissing, errno, theAddon } from '../../testing/native-ring.js';
import { runProgram, startProgram } from '../../testing/program.js';
import { untilTrue } from '../../testing/turns.js';

const directory = mkdtempSync(join(tmpdir(), 'pgaio-addon-'));
after(() => rmSync(directory, { recursive: true }));

/** An eventfd on the loop that counts its callbacks. */
class CountingPoll {
  readonly addon: NativeAddon = theAddon();
  readonly eventfd: number = this.addon.eventfd();
  readonly id: number;
  calls = 0;

  constructor() {
    this.id = this.addon.pollOpen(this.eventfd, 1, () => this.calls++);
    assert.ok(this.id >= 0);
  }

  signal(): void {
    assert.equal(this.addon.eventfdSignal(this.eventfd), 8);
  }

  set(active: 0 | 1, keepsAlive: 0 | 1 = 0): void {
    assert.equal(this.addon.pollSet(this.id, active, keepsAlive), 0);
  }

  close(): void {
    this.addon.pollClose(this.id);
  }
}

/** Whatever is readable now has been called back when this resolves. */
async function loopHasTurned(): Promise<void> {
  const poll = new CountingPoll();
  poll.set(1, 1);
  for (let turn = 1; turn <= 3; turn++) {
    poll.signal();
    await untilTrue(() => poll.calls === turn);
  }
  poll.close();
}

function isOpen(eventfd: number): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${eventfd}`) === 'anon_inode:[eventfd]';
  } catch {
    return false;
  }
}

describe('a poll', { skip: addonMissing() }, () => {
  it('calls back once for what was signalled, however often', async () => {
    const poll = new CountingPoll();
    poll.set(1, 1);
    for (let at = 0; at < 5; at++) poll.signal();
    await untilTrue(() => poll.calls > 0);
    await loopHasTurned();
    assert.equal(poll.calls, 1);
    poll.signal();
    await untilTrue(() => poll.calls === 2);
    poll.close();
  });

  it('is not started when it is made, and can be stopped and started again', async () => {
    const poll = new CountingPoll();
    poll.signal();
    await loopHasTurned();
    assert.equal(poll.calls, 0);
    poll.set(1);
    await untilTrue(() => poll.calls === 1);
    poll.set(0);
    poll.signal();
    await loopHasTurned();
    assert.equal(poll.calls, 1);
    poll.set(1);
    await untilTrue(() => poll.calls === 2);
    poll.close();
  });

  it('closes its eventfd with itself, and calls back no more', async () => {
    const poll = new CountingPoll();
    poll.set(1);
    poll.signal();
    poll.close();
    assert.throws(() => poll.close(), RangeError);
    assert.throws(() => poll.set(1), RangeError);
    await untilTrue(() => !isOpen(poll.eventfd));
    assert.equal(poll.calls, 0);
  });

  it('may be stopped or closed by its own callback', async () => {
    const addon = theAddon();
    let calls = 0;
    const eventfd = addon.eventfd();
    const poll = addon.pollOpen(eventfd, 1, () => {
      calls++;
      if (calls === 1) assert.equal(addon.pollSet(poll, 0, 1), 0);
      else addon.pollClose(poll);
    });
    addon.pollSet(poll, 1, 1);
    addon.eventfdSignal(eventfd);
    await untilTrue(() => calls === 1);
    addon.pollSet(poll, 1, 1);
    addon.eventfdSignal(eventfd);
    await untilTrue(() => calls === 2 && !isOpen(eventfd));
  });

  it('runs its callback like an event: its microtasks follow, its async context is its own', async () => {
    const addon = theAddon();
    const storage = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    const eventfd = addon.eventfd();
    const poll = addon.pollOpen(eventfd, 1, () => {
      seen.push(storage.getStore());
      queueMicrotask(() => seen.push('microtask'));
    });
    addon.pollSet(poll, 1, 1);
    storage.run('of the signaller', () => addon.eventfdSignal(eventfd));
    await untilTrue(() => seen.length > 0);
    assert.deepEqual(seen, [undefined, 'microtask']);
    addon.pollClose(poll);
  });

  it('of another descriptor polls a duplicate, until it is read', async () => {
    const addon = theAddon();
    const fd = addon.eventfd();
    let calls = 0;
    const poll = addon.pollOpen(fd, 0, () => calls++);
    const twin = addon.pollOpen(fd, 0, () => undefined);
    addon.pollSet(poll, 1, 1);
    addon.eventfdSignal(fd);
    await untilTrue(() => calls >= 3);
    assert.equal(readSync(fd, new Uint8Array(8)), 8);
    await loopHasTurned();
    const before = calls;
    await loopHasTurned();
    assert.equal(calls, before);
    addon.pollClose(poll);
    addon.pollClose(twin);
    await loopHasTurned();
    assert.equal(addon.close(fd), 0); // still ours
  });

  it('refuses what cannot be polled, and leaves nothing open', () => {
    const addon = theAddon();
    const file = openSync(join(directory, 'plain'), 'w');
    const open = readdirSync('/proc/self/fd').length;
    assert.equal(
      addon.pollOpen(file, 0, () => undefined),
      -errno.EPERM,
    );
    assert.equal(
      addon.pollOpen(1_000_000, 0, () => undefined),
      -errno.EBADF,
    );
    assert.equal(readdirSync('/proc/self/fd').length, open);
    closeSync(file);
  });

  it('is the only one that is started of its eventfd', () => {
    const poll = new CountingPoll();
    poll.set(1);
    assert.equal(
      poll.addon.pollOpen(poll.eventfd, 1, () => undefined),
      -errno.EEXIST,
    );
    assert.ok(isOpen(poll.eventfd));
    poll.close();
  });

  it('has a number that is given again once it is closed', async () => {
    for (let round = 0; round < 10; round++) {
      const polls = Array.from({ length: 100 }, () => new CountingPoll());
      assert.equal(new Set(polls.map((poll) => poll.id)).size, 100);
      assert.ok(polls.every((poll) => poll.id < 200));
      for (const poll of polls) poll.close();
      await untilTrue(() => polls.every((poll) => !isOpen(poll.eventfd)));
    }
  });
});

describe('the eventfd of the addon', { skip: addonMissing() }, () => {
  it('does not block, and is not inherited', () => {
    const addon = theAddon();
    const fd = addon.eventfd();
    assert.throws(() => readSync(fd, new Uint8Array(8)), { code: 'EAGAIN' });
    addon.eventfdSignal(fd);
    addon.eventfdSignal(fd);
    const count = new BigUint64Array(1);
    readSync(fd, count);
    assert.equal(count[0], 2n);
    assert.equal(addon.close(fd), 0);
  });
});

describe('a process with a poll', { skip: addonMissing() }, () => {
  const open = `const fd = addon.eventfd();
    const poll = addon.pollOpen(fd, 1, () => console.log('called'));`;

  it('ends when the poll does not keep it', async () => {
    const idle = { code: 0, output: 'idle\n', errors: '' };
    assert.deepEqual(await runProgram(`${open} console.log('idle');`), idle);
    assert.deepEqual(await runProgram(`${open} addon.pollSet(poll, 1, 0); console.log('idle');`), idle);
    assert.deepEqual(await runProgram(`${open} addon.pollSet(poll, 0, 1); console.log('idle');`), idle);
    assert.deepEqual(
      await runProgram(`${open} addon.pollSet(poll, 1, 1); addon.pollSet(poll, 1, 0); console.log('idle');`),
      idle,
    );
    assert.deepEqual(
      await runProgram(`${open} addon.pollSet(poll, 1, 1); addon.pollClose(poll); console.log('idle');`),
      idle,
    );
  });

  it('stays while the poll keeps it', async () => {
    const program = startProgram(`
      const poll = addon.pollOpen(0, 0, () => {
        console.log('called');
        addon.pollClose(poll);
      });
      addon.pollSet(poll, 1, 1);
      process.on('beforeExit', () => console.log('nothing left'));
      setImmediate(() => console.log('ready'));`);
    await program.printed('ready\n');
    program.child.stdin.end('wake up');
    assert.deepEqual(await program.ended, { code: 0, output: 'ready\ncalled\nnothing left\n', errors: '' });
  });

  it('ends by process.exit, whatever is open', async () => {
    assert.deepEqual(await runProgram(`${open} addon.pollSet(poll, 1, 1); process.exit(3);`), {
      code: 3,
      output: '',
      errors: '',
    });
  });

  const throws = `const fd = addon.eventfd();
    let calls = 0;
    const poll = addon.pollOpen(fd, 1, () => {
      calls++;
      if (calls === 1) throw new Error('out of the callback');
      addon.pollClose(poll);
    });
    addon.pollSet(poll, 1, 1);
    addon.eventfdSignal(fd);`;

  it('fails on what the callback throws', async () => {
    const { code, errors } = await runProgram(throws);
    assert.equal(code, 1);
    assert.match(errors, /^Error: out of the callback$/m);
  });

  it('may handle what the callback throws, and goes on', async () => {
    const handler = `process.on('uncaughtException', (error, origin) => {
      console.log(origin, error.message);
      addon.eventfdSignal(fd);
    });`;
    assert.deepEqual(await runProgram(`${handler}\n${throws}`), {
      code: 0,
      output: 'uncaughtException out of the callback\n',
      errors: '',
    });
  });
});
