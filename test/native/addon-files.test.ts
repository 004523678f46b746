/** What the addon does with memory and with files. */
import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Advice, Limit, type NativeAddon } from '../../src/native/addon.js';
import { addonMissing, errno, theAddon } from '../../testing/native-ring.js';

const directory = mkdtempSync(join(tmpdir(), 'pgaio-addon-'));
after(() => rmSync(directory, { recursive: true }));

/** Registered memory and a vector for it, for one test. */
class Pieces {
  readonly addon: NativeAddon = theAddon();
  readonly data: Uint8Array<SharedArrayBuffer> = new Uint8Array(new SharedArrayBuffer(4096));
  readonly #words = new Int32Array(new SharedArrayBuffer(1024 * 8));
  readonly memory: number = this.addon.registerMemory(this.data);
  readonly #vector: number = this.addon.registerMemory(this.#words);

  transfer(
    fd: number,
    position: number,
    isWrite: boolean,
    ...pieces: [offset: number, length: number][]
  ): number {
    this.#words.set(pieces.flat());
    const { memory } = this;
    return this.addon.transfer(fd, memory, this.#vector, 0, pieces.length, position, isWrite ? 1 : 0);
  }

  text(offset: number, length: number): string {
    return Buffer.from(this.data.slice(offset, offset + length)).toString();
  }

  [Symbol.dispose](): void {
    this.addon.forgetMemory(this.memory);
    this.addon.forgetMemory(this.#vector);
  }
}

describe('the memory of the addon', { skip: addonMissing() }, () => {
  it('has numbers, which are given again once they are forgotten', () => {
    const addon = theAddon();
    const first = addon.registerMemory(new Uint8Array(8));
    const second = addon.registerMemory(new BigInt64Array(new SharedArrayBuffer(8)));
    assert.notEqual(first, second);
    addon.forgetMemory(first);
    assert.throws(() => addon.forgetMemory(first), RangeError);
    assert.equal(addon.registerMemory(new Int32Array(2)), first);
    addon.forgetMemory(first);
    addon.forgetMemory(second);
  });

  it('is limited', () => {
    const addon = theAddon();
    const numbers: number[] = [];
    assert.throws(() => {
      for (;;) numbers.push(addon.registerMemory(new Uint8Array(8)));
    }, RangeError);
    assert.equal(numbers.length, 1024);
    for (const number of numbers) addon.forgetMemory(number);
  });

  it('is addressed by byte', () => {
    const addon = theAddon();
    const buffer = new SharedArrayBuffer(64);
    const start = addon.address(new Uint8Array(buffer));
    assert.ok(Number.isSafeInteger(start) && start > 0);
    assert.equal(addon.address(new Int32Array(buffer, 8)), start + 8);
    assert.equal(addon.address(new BigInt64Array(buffer, 16)), start + 16);
  });

  it('takes advice', () => {
    const addon = theAddon();
    const { buffer } = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const memory = addon.registerMemory(new Uint8Array(buffer));
    assert.equal(addon.advise(memory, 0, 65536, Advice.NO_FORK), 0);
    assert.equal(addon.advise(memory, 1, 4096, Advice.NO_FORK), -errno.EINVAL);
    assert.equal(addon.advise(memory, 0, 4096, 9999), -errno.EINVAL);
    addon.forgetMemory(memory);
  });
});

describe('the files of the addon', { skip: addonMissing() }, () => {
  it('are opened with flags and a mode, and closed', () => {
    const addon = theAddon();
    const path = join(directory, 'made');
    const fd = addon.open(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR, 0o600);
    assert.ok(fd >= 0);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    // It is not inherited.
    assert.match(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'), /flags:\s+0?2\d{6}$/m);
    assert.equal(addon.open(path, constants.O_CREAT | constants.O_EXCL, 0o600), -errno.EEXIST);
    assert.equal(addon.close(fd), 0);
    assert.equal(addon.close(fd), -errno.EBADF);
    assert.equal(addon.open(join(directory, 'absent'), constants.O_RDONLY, 0), -errno.ENOENT);
  });

  it('have whole paths, in UTF-8', () => {
    const addon = theAddon();
    const path = join(directory, 'Füße 🦶');
    writeFileSync(path, '');
    assert.equal(addon.close(addon.open(path, constants.O_RDONLY, 0)), 0);
    const out = new Int32Array(2);
    for (const [wrong, error] of [
      [`${path}\0`, errno.EINVAL],
      [`${path}\0.txt`, errno.EINVAL],
      [`/${'./'.repeat(3000)}`, errno.ENAMETOOLONG],
    ] as const) {
      assert.equal(addon.open(wrong, constants.O_RDONLY, 0), -error);
      assert.equal(addon.directAlignment(wrong, out), -error);
    }
  });

  it('are read and written at a position, in one piece and in several', () => {
    using pieces = new Pieces();
    const path = join(directory, 'pieces');
    const fd = openSync(path, 'w+');
    pieces.data.set(Buffer.from('hello, world'), 100);
    assert.equal(pieces.transfer(fd, 3, true, [100, 5]), 5);
    assert.equal(pieces.transfer(fd, 8, true, [107, 5], [105, 2], [100, 5]), 12);
    assert.equal(readFileSync(path, 'latin1'), '\0\0\0helloworld, hello');

    assert.equal(pieces.transfer(fd, 3, false, [0, 10]), 10);
    assert.equal(pieces.text(0, 10), 'helloworld');
    assert.equal(pieces.transfer(fd, 8, false, [20, 5], [0, 0], [10, 7]), 12);
    assert.equal(pieces.text(10, 15), ', hello\0\0\0world');
    assert.equal(pieces.transfer(fd, 18, false, [0, 10]), 2); // at the end
    assert.equal(pieces.transfer(fd, 20, false, [0, 10], [10, 10]), 0); // behind it
    assert.equal(pieces.transfer(fd, 0, false), 0); // nothing at all
    assert.equal(pieces.transfer(fd, -1, false, [0, 1]), -errno.EINVAL);
    closeSync(fd);
  });

  it('are read beyond 4 GB', () => {
    using pieces = new Pieces();
    const fd = openSync(join(directory, 'sparse'), 'w+');
    const far = 5 * 2 ** 30 + 1;
    pieces.data.set(Buffer.from('far'), 0);
    assert.equal(pieces.transfer(fd, far, true, [0, 3]), 3);
    assert.equal(pieces.transfer(fd, far - 2 ** 32, false, [10, 3]), 3);
    assert.equal(pieces.text(10, 3), '\0\0\0');
    assert.equal(pieces.transfer(fd, far, false, [10, 1], [11, 2]), 3);
    assert.equal(pieces.text(10, 3), 'far');
    closeSync(fd);
  });

  it('take as many pieces as the kernel does', () => {
    using pieces = new Pieces();
    const fd = openSync(join(directory, 'many'), 'w+');
    pieces.data.fill(7);
    const many = Array.from({ length: 1024 }, (_, at): [number, number] => [at * 4, 3]);
    assert.equal(pieces.transfer(fd, 0, true, ...many), 3072);
    assert.deepEqual(readFileSync(join(directory, 'many')), Buffer.alloc(3072, 7));
    closeSync(fd);
  });

  it('are synced, advised and allocated', () => {
    const addon = theAddon();
    const path = join(directory, 'allocated');
    const fd = openSync(path, 'w+');
    assert.equal(addon.sync(fd, 0), 0);
    assert.equal(addon.sync(fd, 1), 0);
    assert.equal(addon.fadvise(fd, 0, 0, 4 /* POSIX_FADV_DONTNEED */), 0);
    assert.equal(addon.fadvise(fd, 0, 0, 9999), -errno.EINVAL);
    const result = addon.fallocate(fd, 0, 8192, 8192);
    if (result !== -errno.EOPNOTSUPP) {
      assert.equal(result, 0);
      assert.equal(statSync(path).size, 16384);
    }
    assert.equal(addon.fallocate(fd, 0, -1, 1), -errno.EINVAL);
    closeSync(fd);
  });

  it('say how O_DIRECT is aligned, or that they do not', () => {
    const addon = theAddon();
    const path = join(directory, 'aligned');
    writeFileSync(path, '');
    const out = new Int32Array([-1, -1]);
    assert.equal(addon.directAlignment(path, out), 0);
    for (const value of out)
      assert.ok(value === 0 || (value >= 1 && (value & (value - 1)) === 0), `${value}`);
    assert.equal(addon.directAlignment('/proc/self/stat', out), 0);
    assert.deepEqual([...out], [0, 0]);
    out.fill(-1);
    assert.equal(addon.directAlignment(join(directory, 'absent'), out), -errno.ENOENT);
    assert.deepEqual([...out], [0, 0]);
  });
});

describe('the limits of the process', { skip: addonMissing() }, () => {
  it('are soft and hard', () => {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    for (const [resource, name] of [
      [Limit.OPEN_FILES, 'Max open files'],
      [Limit.LOCKED_MEMORY, 'Max locked memory'],
    ] as const) {
      const [, soft, hard] = new RegExp(`^${name} +(\\w+) +(\\w+)`, 'm').exec(limits) ?? [];
      const words = theAddon().limit(resource);
      assert.deepEqual(
        words.map((value) => (value === Infinity ? 'unlimited' : String(value))),
        [soft, hard],
      );
    }
  });
});
