/** Rings of the addon: what is submitted is checked, old numbers are refused, nothing is left behind. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { RingOut } from '../../src/native/addon.js';
import {
  addonMissing,
  errno,
  Flag,
  Opcode,
  ownMemoryMissing,
  ringsMissing,
  TestRing,
  theAddon,
  type Entry,
} from '../../testing/native-ring.js';
import { untilTrue } from '../../testing/turns.js';

const directory = mkdtempSync(join(tmpdir(), 'pgaio-addon-'));
after(() => rmSync(directory, { recursive: true }));
const content = Buffer.from(Array.from({ length: 20_000 }, (_, at) => (at * 7) & 0xff));
const path = join(directory, 'content');
writeFileSync(path, content);

describe('a mapped ring', { skip: ringsMissing() }, () => {
  ringWorks(() => TestRing.mapped());

  it('is shown as memory that lasts when it is closed', () => {
    const addon = theAddon();
    const out = new Int32Array(RingOut.WORDS);
    const id = addon.ringSetup(8, -1, 0, 0, 0, out);
    assert.equal(out[RingOut.SQ_ENTRIES], 8);
    assert.equal(out[RingOut.CQ_ENTRIES], 16);
    const [sqes, ring] = addon.ringViews(id);
    const again = addon.ringViews(id);
    assert.equal(sqes.byteLength, 8 * 64);
    new Uint8Array(sqes).fill(5);
    addon.ringClose(id);
    assert.deepEqual(new Uint8Array(sqes), new Uint8Array(512).fill(5));
    assert.deepEqual(new Uint8Array(again[0]), new Uint8Array(512).fill(5));
    assert.equal(new Int32Array(ring)[out[RingOut.CQ_TAIL]! >> 2], 0);
    assert.throws(() => addon.ringViews(id), RangeError);
  });
});

describe('a ring in own memory', { skip: ownMemoryMissing() }, () => {
  ringWorks(() => TestRing.inOwnMemory());

  it('has no views', () => {
    const ring = TestRing.inOwnMemory();
    assert.throws(() => ring.addon.ringViews(ring.id), TypeError);
    ring.close();
  });

  it('is not written to by the kernel once it is closed, which Linux does for as long as it has the pages', () => {
    const addon = theAddon();
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const memory = addon.registerMemory(new Uint8Array(buffer));
    const out = new Int32Array(RingOut.WORDS);
    const [sqes, rings] = [new Int32Array(buffer, 0, 1024), new Int32Array(buffer, 4096, 1024)];
    // Each ring stands where the one before it was, and has completed another number of entries: a late store of
    // the tail, some milliseconds after closing, is seen whenever it comes.
    for (let round = 0; round < 1500; round++) {
      const ring = addon.ringSetup(8, memory, 0, 4096, 4096, out);
      const entries = 1 + (round % 8);
      sqes.fill(0);
      Atomics.add(rings, out[RingOut.SQ_TAIL]! / 4, entries);
      assert.equal(addon.ringEnter(ring, entries, entries, 1000), entries);
      assert.equal(Atomics.load(rings, out[RingOut.CQ_TAIL]! / 4), entries);
      addon.ringClose(ring);
      assert.ok(rings.every((word) => word === 0));
    }
    addon.forgetMemory(memory);
  });

  it('that is too small is refused before the kernel writes to it', () => {
    const addon = theAddon();
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const bytes = new Uint8Array(buffer);
    const memory = addon.registerMemory(bytes);
    const out = new Int32Array(RingOut.WORDS);
    for (const ringBytes of [0, 4, 64, 64 + 8 * 36 - 1]) {
      assert.equal(addon.ringSetup(8, memory, 0, 4096, ringBytes, out), -errno.EOVERFLOW);
    }
    assert.ok(bytes.every((byte) => byte === 0));
    addon.forgetMemory(memory);
  });

  it('that is not aligned is refused by the kernel', () => {
    const addon = theAddon();
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const memory = addon.registerMemory(new Uint8Array(buffer));
    const out = new Int32Array(RingOut.WORDS);
    assert.equal(addon.ringSetup(8, memory, 0, 4096 + 64, 4096, out), -errno.EINVAL);
    addon.forgetMemory(memory);
  });
});

/** What every ring can do. */
function ringWorks(make: () => TestRing): void {
  const withRing =
    (work: (ring: TestRing, fd: number) => void | Promise<void>) => async (): Promise<void> => {
      const ring = make();
      const fd = openSync(path, 'r+');
      try {
        await work(ring, fd);
      } finally {
        closeSync(fd);
        ring.close();
      }
    };

  it(
    'reads, writes and syncs',
    withRing((ring, fd) => {
      const read = { opcode: Opcode.READ, fd, address: ring.dataAddress, length: 100, position: 50 };
      assert.equal(ring.carryOut(read), 100);
      assert.deepEqual(Buffer.from(ring.data.slice(0, 100)), content.subarray(50, 150));
      assert.equal(ring.carryOut({ ...read, flags: Flag.ASYNC, position: 19_990 }), 10);
      assert.equal(ring.carryOut({ ...read, fd: -1 }), -errno.EBADF);
      assert.equal(ring.carryOut({ opcode: Opcode.NOP }), 0);
      assert.equal(ring.carryOut({ opcode: Opcode.FSYNC, fd }), 0);

      ring.data.set(content.subarray(1000, 1100));
      assert.equal(ring.carryOut({ ...read, opcode: Opcode.WRITE, position: 1000 }), 100);
      assert.deepEqual(readFileSync(path), content);
    }),
  );

  it(
    'reads and writes in pieces',
    withRing((ring, fd) => {
      for (const at of [0, 3]) {
        const address = ring.vector(at, [
          [ring.dataAddress + 4096, 10],
          [ring.dataAddress + 8192, 20],
        ]);
        const entry = { fd, address, length: 2, position: 5 };
        assert.equal(ring.carryOut({ ...entry, opcode: Opcode.READV }), 30);
        assert.deepEqual(Buffer.from(ring.data.slice(8192, 8212)), content.subarray(15, 35));
        assert.equal(ring.carryOut({ ...entry, opcode: Opcode.WRITEV }), 30);
        assert.deepEqual(readFileSync(path), content);
      }
    }),
  );

  it(
    'gives each entry one completion, round and round',
    withRing((ring) => {
      for (let round = 0; round < 10; round++) {
        for (let at = 0; at < 8; at++) ring.prepare({ opcode: Opcode.NOP, userData: round * 8 + at });
        assert.equal(ring.enter(8, 8), 8);
        assert.deepEqual(
          ring.reap(),
          Array.from({ length: 8 }, (_, at) => ({ userData: round * 8 + at, result: 0 })),
        );
      }
    }),
  );

  it(
    'takes no more than there is',
    withRing((ring) => {
      assert.equal(ring.enter(8), 0);
      ring.prepare({ opcode: Opcode.NOP });
      assert.equal(ring.enter(8), 1);
      assert.throws(() => ring.enter(9), RangeError);
      assert.equal(ring.reap().length, 1);
    }),
  );

  it(
    'waits for a while',
    withRing((ring) => {
      assert.equal(ring.enter(0, 1, 1), -errno.ETIME);
      assert.equal(ring.enter(0, 1, 0), -errno.ETIME);
      ring.prepare({ opcode: Opcode.NOP });
      ring.enter(1);
      assert.equal(ring.enter(0, 1, 1), 0);
      assert.equal(ring.enter(0, 1, -1), 0);
      assert.equal(ring.enter(0, 2, 1), 0); // not as many, but some
    }),
  );

  it('refuses an entry that points outside the registered memory', withRing(refusesOutside));
  it('refuses a vector that stands outside it, or points there', withRing(refusesVectors));

  it(
    'refuses what it does not know',
    withRing((ring, fd) => {
      const read = { opcode: Opcode.READ, fd, address: ring.dataAddress, length: 1 };
      refuses(ring, { ...read, opcode: Opcode.OPENAT });
      refuses(ring, { ...read, opcode: 255 });
      refuses(ring, { ...read, flags: Flag.FIXED_FILE });
      for (const flag of [2, 4, 8, 32, 64, 128]) refuses(ring, { ...read, flags: flag });
    }),
  );

  it(
    'says what the kernel can do',
    withRing((ring) => {
      const out = new Uint8Array(64).fill(9);
      assert.equal(ring.addon.ringProbe(ring.id, out), 0);
      for (const opcode of Object.values(Opcode)) assert.equal(out[opcode], 1, `${opcode}`);
      assert.ok(out.every((value) => value < 2));
    }),
  );

  it(
    'drops what has not begun, if it is told to',
    withRing((ring) => {
      const pipe = join(directory, 'pipe');
      execFileSync('mkfifo', [pipe]);
      const fd = openSync(pipe, 'r+');
      const [low, high] = [(2 ** 31 + 5) | 0, 7];
      const userData = high * 2 ** 32 + (low >>> 0);
      ring.prepare({ opcode: Opcode.READ, fd, address: ring.dataAddress, length: 10, userData });
      assert.equal(ring.enter(1), 1);
      const cancel = (index: number, tag: number): number => ring.addon.ringCancel(ring.id, index, tag);
      assert.equal(cancel(5, high), -errno.ENOENT);
      assert.equal(cancel(low, high), 0);
      ring.enter(0, 1);
      assert.deepEqual(ring.reap(), [{ userData, result: -errno.ECANCELED }]);
      assert.equal(cancel(low, high), -errno.ENOENT);
      closeSync(fd);
      rmSync(pipe);
    }),
  );

  it(
    'signals an eventfd, until it gets another one or none',
    withRing(async (ring) => {
      const { addon } = ring;
      const called = [0, 0];
      const eventfds = [addon.eventfd(), addon.eventfd()] as const;
      const polls = eventfds.map((fd, at) => addon.pollOpen(fd, 1, () => called[at]!++));
      for (const poll of polls) assert.equal(addon.pollSet(poll, 1, 1), 0);
      const complete = (): void => assert.equal(ring.carryOut({ opcode: Opcode.NOP }), 0);

      assert.equal(addon.ringRegisterEventfd(ring.id, eventfds[0]), 0);
      complete();
      await untilTrue(() => called[0] === 1);
      assert.equal(addon.ringRegisterEventfd(ring.id, eventfds[1]), 0);
      complete();
      await untilTrue(() => called[1] === 1);
      assert.equal(addon.ringRegisterEventfd(ring.id, -1), 0);
      complete();
      addon.eventfdSignal(eventfds[0]);
      await untilTrue(() => called[0] === 2);
      assert.deepEqual(called, [2, 1]);
      assert.equal(addon.ringRegisterEventfd(ring.id, 1_000_000), -errno.EBADF);
      for (const poll of polls) addon.pollClose(poll);
    }),
  );

  it('is not there once it is closed', () => {
    const ring = make();
    const { addon, id } = ring;
    ring.close();
    const next = make();
    assert.notEqual(next.id, id);
    for (const old of [id, -1, 2 ** 31 - 1]) {
      assert.equal(addon.ringEnter(old, 0, 0, 0), -errno.EBADF);
      assert.equal(addon.ringEnter(old, 1, 1, -1), -errno.EBADF);
      assert.equal(addon.ringRegisterEventfd(old, -1), -errno.EBADF);
      assert.equal(addon.ringCancel(old, 0, 0), -errno.EBADF);
      assert.equal(addon.ringProbe(old, new Uint8Array(64)), -errno.EBADF);
      assert.throws(() => addon.ringViews(old), RangeError);
    }
    addon.ringAttach(id, 1);
    addon.ringClose(id);
    assert.equal(next.carryOut({ opcode: Opcode.NOP }), 0);
    next.close();
  });
}

function refuses(ring: TestRing, entry: Entry): void {
  const before = ring.head;
  // Behind a sound one, which must then not be taken either.
  ring.prepare({ opcode: Opcode.NOP });
  ring.prepare(entry);
  assert.throws(() => ring.enter(2), RangeError, JSON.stringify(entry));
  assert.equal(ring.head, before);
  assert.equal(ring.completed, 0);
  ring.takeBack();
}

function refusesOutside(ring: TestRing, fd: number): void {
  const { dataAddress, end } = ring;
  const start = end - ring.handle.memory.buffer.byteLength;
  for (const opcode of [Opcode.READ, Opcode.WRITE]) {
    const base = { opcode, fd };
    refuses(ring, { ...base, address: end, length: 1 });
    refuses(ring, { ...base, address: end - 10, length: 11 });
    refuses(ring, { ...base, address: start - 1, length: 1 });
    refuses(ring, { ...base, address: 0, length: 1 });
    refuses(ring, { ...base, address: dataAddress, length: 2 ** 32 - 1 });
    assert.equal(ring.carryOut({ opcode: Opcode.READ, fd, address: end - 10, length: 10 }), 10);
  }
  // Memory that is registered, and no more.
  const other = new Uint8Array(new SharedArrayBuffer(4096));
  const address = ring.addon.address(other);
  const number = ring.addon.registerMemory(other);
  assert.equal(ring.carryOut({ opcode: Opcode.READ, fd, address, length: 4096 }), 4096);
  ring.addon.forgetMemory(number);
  refuses(ring, { opcode: Opcode.READ, fd, address, length: 4096 });
}

function refusesVectors(ring: TestRing, fd: number): void {
  const { dataAddress, end } = ring;
  for (const opcode of [Opcode.READV, Opcode.WRITEV]) {
    const entry = (address: number, length: number): Entry => ({ opcode, fd, address, length });
    refuses(ring, entry(end, 1));
    refuses(ring, entry(end - 31, 2));
    refuses(ring, entry(0, 1));
    refuses(ring, entry(dataAddress, 1025));
    refuses(ring, entry(dataAddress, 2 ** 28));
    const good: [number, number] = [dataAddress + 4096, 16];
    for (const bad of [
      [end, 1],
      [end - 1, 2],
      [0, 1],
      [dataAddress, 2 ** 52],
    ] as [number, number][]) {
      refuses(ring, entry(ring.vector(0, [bad]), 1));
      refuses(ring, entry(ring.vector(0, [good, bad, good]), 3));
      refuses(ring, entry(ring.vector(0, [good, good, bad]), 3));
    }
    assert.equal(ring.carryOut({ ...entry(ring.vector(0, [good, good]), 2), opcode: Opcode.READV }), 32);
  }
}

describe('old numbers of rings', { skip: addonMissing() }, () => {
  it('are harmless where there never was a ring', () => {
    theAddon().ringClose(4095);
    theAddon().ringAttach(4095, 1);
    assert.equal(theAddon().ringEnter(4095, 0, 0, 0), -errno.EBADF);
  });
});
