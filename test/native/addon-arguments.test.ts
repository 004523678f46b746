/** Every function of the addon refuses what a caller may get wrong: nothing of it reaches the kernel. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RingOut, type NativeAddon } from '../../src/native/addon.js';
import { addonMissing, errno, theAddon } from '../../testing/native-ring.js';

type AnyFunction = (...args: unknown[]) => unknown;

const out = new Int32Array(RingOut.WORDS);
const nothing = (): void => undefined;

/** How to call each function rightly, as far as types go. */
const sound: Record<Exclude<keyof NativeAddon, 'eventfd'>, unknown[]> = {
  registerMemory: [new Uint8Array(8)],
  forgetMemory: [0],
  address: [new Uint8Array(8)],
  advise: [0, 0, 0, 0],
  ringSetup: [1, -1, 0, 0, 0, out],
  ringViews: [0],
  ringClose: [0],
  ringAttach: [0, 0],
  ringEnter: [0, 0, 0, 0],
  ringRegisterEventfd: [0, -1],
  ringCancel: [0, 0, 0],
  ringProbe: [0, new Uint8Array(64)],
  pollOpen: [-1, 0, nothing],
  pollSet: [0, 0, 0],
  pollClose: [0],
  eventfdSignal: [-1],
  noticeReceiver: [-1],
  exitNotice: [0, 0, 1, -1],
  withdrawNotice: [0],
  transfer: [-1, 0, 0, 0, 0, 0, 0],
  open: ['/nowhere', 0, 0],
  close: [-1],
  sync: [-1, 0],
  fadvise: [-1, 0, 0, 0],
  fallocate: [-1, 0, 0, 0],
  directAlignment: ['/nowhere', out],
  limit: [0],
};

const outsideCases: [name: keyof NativeAddon, args: (memory: number) => unknown[], why: string][] = [
  ['forgetMemory', () => [-1], 'a negative number'],
  ['forgetMemory', () => [1023], 'a number that is not in use'],
  ['forgetMemory', () => [100_000], 'a number behind the table'],
  ['advise', () => [-1, 0, 0, 0], 'no memory'],
  ['advise', (memory) => [memory, -1, 1, 0], 'a negative offset'],
  ['advise', (memory) => [memory, 0, -1, 0], 'a negative length'],
  ['advise', (memory) => [memory, 0, 4097, 0], 'more than the memory'],
  ['advise', (memory) => [memory, 4096, 1, 0], 'behind the memory'],
  ['advise', (memory) => [memory, 1e300, 1, 0], 'an offset beyond all numbers'],
  ['ringSetup', () => [0, -1, 0, 0, 0, out], 'no entries'],
  ['ringSetup', () => [-8, -1, 0, 0, 0, out], 'a negative number of entries'],
  ['ringSetup', () => [12, -1, 0, 0, 0, out], 'a number of entries that is no power of two'],
  ['ringSetup', () => [65536, -1, 0, 0, 0, out], 'too many entries'],
  ['ringSetup', () => [8, 1023, 0, 0, 0, out], 'no memory'],
  ['ringSetup', (memory) => [8, memory, -64, 0, 4096, out], 'submission entries before the memory'],
  ['ringSetup', (memory) => [128, memory, 0, 0, 4096, out], 'submission entries that reach behind it'],
  ['ringSetup', (memory) => [8, memory, 0, 1, 4096, out], 'a ring that reaches behind it'],
  ['ringSetup', (memory) => [8, memory, 0, -1, 4096, out], 'a ring before the memory'],
  ['ringSetup', (memory) => [8, memory, 0, 0, -1, out], 'a negative size'],
  ['ringViews', () => [-1], 'a negative number'],
  ['ringViews', () => [4095], 'a ring that is not there'],
  ['ringClose', () => [-1], 'a negative number'],
  ['ringAttach', () => [-1, 1], 'a negative number'],
  ['ringEnter', () => [0, -1, 0, 0], 'a negative number of entries'],
  ['ringEnter', () => [0, 0, -1, 0], 'a negative number of completions'],
  ['pollSet', () => [-1, 0, 0], 'a negative number'],
  ['pollSet', () => [1_000_000, 0, 0], 'a poll that is not there'],
  ['pollClose', () => [-1], 'a negative number'],
  ['pollClose', () => [1_000_000], 'a poll that is not there'],
  ['exitNotice', () => [-1, 0, 1, -1], 'no memory'],
  ['exitNotice', (memory) => [memory, -4, 1, -1], 'before the memory'],
  ['exitNotice', (memory) => [memory, 4096, 1, -1], 'behind the memory'],
  ['exitNotice', (memory) => [memory, 4094, 1, -1], 'half behind the memory'],
  ['exitNotice', (memory) => [memory, 2, 1, -1], 'no whole word'],
  ['withdrawNotice', () => [-1], 'a negative number'],
  ['withdrawNotice', () => [256], 'a number behind the table'],
  ['transfer', (memory) => [-1, memory, -1, 0, 0, 0, 0], 'no memory for the vector'],
  ['transfer', (memory) => [-1, -1, memory, 0, 0, 0, 0], 'no memory for the data'],
  ['transfer', (memory) => [-1, memory, memory, 0, -1, 0, 0], 'a negative number of pieces'],
  ['transfer', (memory) => [-1, memory, memory, 0, 1025, 0, 0], 'too many pieces'],
  ['transfer', (memory) => [-1, memory, memory, -8, 1, 0, 0], 'a vector before the memory'],
  ['transfer', (memory) => [-1, memory, memory, 4092, 1, 0, 0], 'a vector half behind the memory'],
  ['transfer', (memory) => [-1, memory, memory, 2, 1, 0, 0], 'a vector of no whole words'],
  ['limit', () => [999], 'no resource'],
];

describe('the arguments of the addon', { skip: addonMissing() }, () => {
  const functions = theFunctions();

  it('all of its functions are tested here', () => {
    assert.deepEqual(Object.keys(functions).sort(), [...Object.keys(sound), 'eventfd'].sort());
  });

  for (const [name, args] of Object.entries(sound)) {
    it(`${name} refuses missing ones`, () => {
      for (let count = 0; count < args.length; count++) {
        assert.throws(() => functions[name]!(...args.slice(0, count)), {
          name: 'TypeError',
          code: 'ERR_PGAIO_NATIVE',
        });
      }
    });

    it(`${name} refuses those of another type`, () => {
      for (const [at, arg] of args.entries()) {
        const wrong: unknown[] = [{}, undefined, null, Symbol('x'), new DataView(new ArrayBuffer(64)), 1n];
        if (typeof arg === 'number') wrong.push('1', nothing);
        else wrong.push(1);
        for (const other of wrong) {
          const changed = args.with(at, other);
          assert.throws(() => functions[name]!(...changed), { name: 'TypeError' }, `${at}: ${String(other)}`);
        }
      }
    });
  }

  for (const [name, args, why] of outsideCases) {
    it(`${name} refuses ${why}`, () => {
      const memory = theAddon().registerMemory(new Uint8Array(new SharedArrayBuffer(4096)));
      try {
        assert.throws(() => functions[name]!(...args(memory)), {
          name: 'RangeError',
          code: 'ERR_PGAIO_NATIVE',
        });
      } finally {
        theAddon().forgetMemory(memory);
      }
    });
  }

  it('words for results must be enough', () => {
    const addon = theAddon();
    assert.throws(() => addon.ringSetup(1, -1, 0, 0, 0, new Int32Array(11)), TypeError);
    assert.throws(() => addon.ringProbe(0, new Uint8Array(63)), TypeError);
    assert.throws(() => addon.directAlignment('/', new Int32Array(1)), TypeError);
  });

  it('a kind of typed array that the addon does not know is refused', { skip: float16Missing() }, () => {
    const Float16 = (globalThis as unknown as Record<string, new (length: number) => Uint8Array>)[
      'Float16Array'
    ]!;
    assert.throws(() => theAddon().registerMemory(new Float16(64)), TypeError);
  });

  it('words are aligned as the memory is, not as the view is', () => {
    const addon = theAddon();
    const memory = addon.registerMemory(new Uint8Array(new SharedArrayBuffer(4096), 1));
    assert.throws(() => addon.exitNotice(memory, 0, 1, -1), RangeError);
    assert.throws(() => addon.transfer(-1, memory, memory, 0, 1, 0, 0), RangeError);
    addon.withdrawNotice(addon.exitNotice(memory, 3, 1, -1));
    assert.equal(addon.transfer(-1, memory, memory, 3, 0, 0, 0), -errno.EBADF);
    addon.forgetMemory(memory);
  });

  it('a vector whose piece lies outside the memory is refused', () => {
    const addon = theAddon();
    const words = new Int32Array(new SharedArrayBuffer(4096));
    const vector = addon.registerMemory(words);
    const data = addon.registerMemory(new Uint8Array(new SharedArrayBuffer(100)));
    const pieces: [offset: number, length: number][] = [
      [0, 101],
      [101, 0],
      [99, 2],
      [-1, 1],
      [1, -1],
    ];
    for (const [offset, length] of pieces) {
      words.set([0, 100, offset, length, 0, 100]);
      assert.throws(() => addon.transfer(-1, data, vector, 0, 3, 0, 0), RangeError, `${offset}, ${length}`);
    }
    addon.forgetMemory(data);
    addon.forgetMemory(vector);
  });

  it('a descriptor that is none is an error of the kernel', () => {
    const addon = theAddon();
    const memory = addon.registerMemory(new Uint8Array(8));
    assert.equal(addon.transfer(-1, memory, memory, 0, 0, 0, 0), -errno.EBADF);
    assert.equal(addon.close(-1), -errno.EBADF);
    assert.equal(addon.sync(-1, 0), -errno.EBADF);
    assert.equal(addon.fadvise(-1, 0, 0, 0), -errno.EBADF);
    assert.equal(addon.fallocate(-1, 0, 0, 1), -errno.EBADF);
    assert.equal(addon.eventfdSignal(-1), -errno.EBADF);
    assert.equal(addon.pollOpen(-1, 0, nothing), -errno.EBADF);
    assert.equal(addon.pollOpen(-7, 1, nothing), -errno.EBADF);
    addon.forgetMemory(memory);
  });
});

function theFunctions(): Record<string, AnyFunction> {
  return addonMissing() === false ? (theAddon() as unknown as Record<string, AnyFunction>) : {};
}

function float16Missing(): string | false {
  return 'Float16Array' in globalThis ? false : 'this Node has no Float16Array';
}
