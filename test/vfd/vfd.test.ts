import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { constants as os } from 'node:os';
import { describe, it } from 'node:test';
import type { IoHandle } from '../../src/aio/handle.js';
import { ReopenCache } from '../../src/vfd/reopen.js';
import type { Vfd, VfdCache } from '../../src/vfd/vfd.js';
import { VfdRig } from '../../testing/vfd-rig.js';

const first = (fd: number): string => {
  const bytes = Buffer.alloc(1);
  readSync(fd, bytes, 0, 1, 0);
  return bytes.toString();
};

/** Opens files named by their content. */
function openAll(rig: VfdRig, cache: VfdCache, names: string): Vfd[] {
  return names.split('').map((name) => {
    writeFileSync(rig.path(name), name);
    return cache.open(rig.path(name));
  });
}

describe('virtual file descriptors', () => {
  it('keep more files open than the kernel has descriptors for them', () => {
    using rig = new VfdRig(1); // three for this thread
    const cache = rig.cache();
    const files = openAll(rig, cache, 'abcdefgh');
    for (const name of 'hgfedcbahaha') {
      assert.equal(first(cache.use(files['abcdefgh'.indexOf(name)]!)), name);
      assert.ok(files.filter(({ fd }) => fd >= 0).length <= 3);
    }
    cache.closeAll();
    assert.deepEqual([rig.budget().held, rig.budget().stock, rig.table().entriesInUse], [0, 1, 0]);
  });

  it('close the least recently used first, after what is staged on it was submitted', () => {
    using rig = new VfdRig(1);
    const cache = rig.cache();
    const closed: number[] = [];
    cache.hooks.beforeClose = (fd) => {
      fstatSync(fd); // still open
      closed.push(fd);
    };
    const [a, b, c] = openAll(rig, cache, 'abc') as [Vfd, Vfd, Vfd];
    const { fd } = b;
    cache.use(a);
    cache.use(c);
    openAll(rig, cache, 'd');
    assert.deepEqual(closed, [fd]);
    assert.equal(b.fd, -1);
    cache.closeAll();
  });

  it('give a descriptor of the same file or none, whatever became of its path', () => {
    using rig = new VfdRig(10);
    const cache = rig.cache();
    const [file] = openAll(rig, cache, 'a') as [Vfd];
    cache.closeDescriptors();
    renameSync(rig.path('a'), rig.path('moved'));
    assert.equal(cache.use(file), -os.errno.ENOENT);
    writeFileSync(rig.path('a'), 'another');
    assert.equal(cache.use(file), -os.errno.ENOENT);
    assert.throws(() => cache.useOrThrow(file), { code: 'ERR_PGAIO_READ_ENOENT', path: rig.path('a') });
    renameSync(rig.path('moved'), rig.path('a'));
    assert.equal(first(cache.use(file)), 'a');
    cache.closeAll();
  });

  it('make room when the kernel has none left, and fail as the kernel does when that does not help', () => {
    using rig = new VfdRig(0);
    const cache = rig.cache();
    assert.throws(() => cache.open(rig.path('missing')), { code: 'ERR_PGAIO_READ_ENOENT' });
    mkdirSync(rig.path('directory'));
    assert.throws(() => cache.open(rig.path('directory')), { code: 'ERR_PGAIO_NOT_A_FILE' });
    assert.equal(rig.budget().held, 0, 'a failure gives its right back');
    const reserved = [
      cache.openKernel('/dev/null', constants.O_RDONLY),
      cache.openKernel('/dev/null', constants.O_RDONLY),
    ];
    assert.throws(() => openAll(rig, cache, 'x'), {
      code: 'ERR_PGAIO_READ_EMFILE',
      hint: /maxFilesPerProcess/,
    });
    reserved.forEach((fd) => cache.closeReopened(fd));
  });
});

describe('reopening for an I/O of another thread', () => {
  /** What the cache asks an I/O for: the issuer's descriptor. */
  const io = (file: Vfd): IoHandle => ({ fd: file.fd }) as unknown as IoHandle;
  const reopen = (reopens: ReopenCache, file: Vfd): number =>
    reopens.reopen(io(file), file.entry, file.entryGeneration);

  it('opens a file once, and again when its epoch was raised', () => {
    using rig = new VfdRig(10);
    const [file] = openAll(rig, rig.cache(0), 'a') as [Vfd];
    let opened = 0;
    const reopens = new ReopenCache(rig.cache(1), () => opened++);
    const fd = reopen(reopens, file);
    assert.equal(first(fd), 'a');
    assert.notEqual(fd, file.fd, 'a descriptor of this thread’s own');
    assert.equal(reopen(reopens, file), fd);
    assert.equal(opened, 1);
    rig.table().raiseEpoch(file.entry);
    assert.equal(first(reopen(reopens, file)), 'a');
    assert.equal(opened, 2);
    reopens.close();
    assert.equal(rig.budget(1).held, 0);
  });

  it('finds a file that was renamed, unlinked or replaced through its issuer’s descriptor', () => {
    for (const fate of ['renamed', 'unlinked', 'replaced'] as const) {
      using rig = new VfdRig(10);
      const [file] = openAll(rig, rig.cache(0), 'a') as [Vfd];
      if (fate === 'unlinked') rmSync(rig.path('a'));
      else renameSync(rig.path('a'), rig.path('moved'));
      if (fate === 'replaced') writeFileSync(rig.path('a'), 'z');
      const reopens = new ReopenCache(rig.cache(1), () => undefined);
      assert.equal(first(reopen(reopens, file)), 'a', fate);
      reopens.close();
    }
  });

  it('never takes the file that got the issuer’s number for the one that had it', () => {
    using rig = new VfdRig(10);
    const issuer = rig.cache(0);
    const [file] = openAll(rig, issuer, 'a') as [Vfd];
    const { fd } = file;
    writeFileSync(rig.path('other'), 'z');
    rmSync(rig.path('a'));
    issuer.closeDescriptors();
    const squatter = openSync(rig.path('other'), 'r');
    const reopens = new ReopenCache(rig.cache(1), () => undefined);
    assert.equal(
      reopens.reopen({ fd } as unknown as IoHandle, file.entry, file.entryGeneration),
      -os.errno.ENOENT,
    );
    assert.equal(rig.budget(1).held, 0);
    closeSync(squatter);
  });

  it('does not serve an entry that is another file’s by now', () => {
    using rig = new VfdRig(10, 1);
    const issuer = rig.cache(0);
    const [a] = openAll(rig, issuer, 'a') as [Vfd];
    const reopens = new ReopenCache(rig.cache(1), () => undefined);
    reopen(reopens, a);
    issuer.close(a);
    const [b] = openAll(rig, issuer, 'b') as [Vfd];
    assert.equal(b.entry, a.entry);
    assert.equal(first(reopen(reopens, b)), 'b');
    assert.equal(reopens.reopen(io(a), a.entry, a.entryGeneration), -os.errno.ENOENT);
    reopens.close();
    issuer.closeAll();
  });

  it('lives within its share of descriptors', () => {
    using rig = new VfdRig(0); // two a thread
    const issuer = rig.cache(0);
    const reopens = new ReopenCache(rig.cache(1), () => undefined);
    for (const name of 'abcdef') {
      const [file] = openAll(rig, issuer, name) as [Vfd];
      assert.equal(first(reopen(reopens, file)), name);
      assert.ok(rig.budget(1).held <= 2);
    }
    reopens.close();
  });
});
