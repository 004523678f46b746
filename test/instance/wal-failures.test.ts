/**
 * What becomes of commits when files cannot be written, by a kernel that really refuses: nothing is acknowledged that is
 * not durable, who commits is told why, and it goes on when the reason is gone.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import type { WalSettings } from '../../src/base/settings.js';
import { createInstance, type Instance } from '../../src/instance/instance.js';
import { Injection } from '../../testing/injection.js';
import { forEachMethod } from '../../testing/instances.js';
import { walMessages } from '../../testing/wal-records.js';

const MB = 1 << 20;
const { EIO, EROFS } = constants.errno;

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let home: string;
  let count = 0;
  before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-failures-'))));
  after(() => rmSync(home, { recursive: true }));

  const fresh = (): string => join(home, `data${count++}`);

  const open = (dataDirectory: string, wal: Partial<WalSettings> = {}): Promise<Instance> =>
    createInstance({
      ioMethod,
      injection: injection.url,
      wal: { dataDirectory, segmentSize: MB, checkpointer: false, keepSize: 'all', ...wal },
      log: () => undefined,
    });

  const lengths = (dataDirectory: string): number[] =>
    walMessages(join(dataDirectory, 'pg_wal'), MB).map(({ payload }) => payload.length);

  /** The kernel lets no file of this process grow, nor be written, beyond so many bytes: EFBIG. */
  function limitFiles(bytes: number | 'unlimited'): void {
    execFileSync('prlimit', ['--pid', String(process.pid), `--fsize=${bytes}:`]);
  }

  it('no room in the segment: a part is written, and the next commit behind it brings the rest', async () => {
    const data = fresh();
    const instance = await open(data);
    const { wal } = instance.backend;
    await wal.commit('a', Buffer.alloc(30_000));
    limitFiles(64 * 1024);
    try {
      const refused = { code: 'ERR_PGAIO_WAL_WRITE_EFBIG', hint: /ulimit -f/ };
      await assert.rejects(wal.commit('a', Buffer.alloc(50_000)), refused);
      assert.throws(() => wal.commitBlocking('a', Buffer.alloc(1)), refused);
      assert.ok(wal.flushedUpTo < wal.insertedUpTo);
    } finally {
      limitFiles('unlimited');
    }
    await wal.commit('a', Buffer.alloc(2));
    assert.equal(wal.flushedUpTo, wal.insertedUpTo);
    await instance.close();
    assert.deepEqual(lengths(data), [30_000, 50_000, 1, 2]);
  });

  it('no room for the next segment: what is in this one stays durable, and the rest follows', async () => {
    const data = fresh();
    const instance = await open(data);
    const { wal } = instance.backend;
    const payload = Buffer.alloc(100_000);
    for (let message = 0; message < 10; message++) await wal.commit('a', payload);
    limitFiles(MB - 8192);
    try {
      // The segment's last page lies beyond the limit, and so would the whole of the next segment.
      await assert.rejects(wal.commit('a', payload), { code: /^ERR_PGAIO_WAL_(WRITE|OPEN)_EFBIG$/ });
    } finally {
      limitFiles('unlimited');
    }
    await wal.commit('a', Buffer.alloc(1));
    await instance.close();
    assert.deepEqual(lengths(data), [...Array.from({ length: 11 }, () => 100_000), 1]);
  });

  it('the directory of the WAL is gone: refused until it is back', async () => {
    const data = fresh();
    const wal = join(data, 'pg_wal');
    const instance = await open(data);
    await instance.backend.wal.commit('a', Buffer.alloc(1));
    renameSync(wal, `${wal}.away`);
    await assert.rejects(instance.backend.wal.commit('a', Buffer.alloc(2)), {
      code: 'ERR_PGAIO_WAL_OPEN_ENOENT',
      hint: /bring it back/,
    });
    await assert.rejects(instance.backend.wal.checkpoint(), { code: 'ERR_PGAIO_WAL_OPEN_ENOENT' });
    renameSync(`${wal}.away`, wal);
    await instance.backend.wal.commit('a', Buffer.alloc(3));
    await instance.close();
    assert.deepEqual(lengths(data), [1, 2, 3]);
  });

  it('the directory of the WAL was replaced: refused for good, and what was acknowledged is in the one before', async () => {
    const data = fresh();
    const wal = join(data, 'pg_wal');
    const instance = await open(data);
    await instance.backend.wal.commit('a', Buffer.alloc(1));
    renameSync(wal, `${wal}.away`);
    mkdirSync(wal);
    await assert.rejects(instance.backend.wal.commit('a', Buffer.alloc(2)), {
      code: 'ERR_PGAIO_WAL_OPEN_ENOENT',
    });
    cpSync(`${wal}.away`, wal, { recursive: true });
    await assert.rejects(instance.backend.wal.commit('a', Buffer.alloc(2)), {
      code: 'ERR_PGAIO_WAL_OPEN_ESTALE',
      hint: /restart/,
    });
    await assert.rejects(instance.close(), { code: 'ERR_PGAIO_WAL_OPEN_ESTALE' });
    rmSync(wal, { recursive: true });
    renameSync(`${wal}.away`, wal);
    const next = await open(data);
    assert.equal(next.recovery?.wasNeeded, true);
    await next.close();
    assert.deepEqual(lengths(data).slice(0, 1), [1]);
  });

  for (const [errno, name] of [
    [EIO, 'EIO'],
    [EROFS, 'EROFS'],
  ] as const) {
    it(`${name} when it is written: refused, and tried again`, async () => {
      const data = fresh();
      const instance = await open(data, { syncMethod: 'open_datasync' });
      const { wal } = instance.backend;
      injection.answer(-errno, { times: 2 });
      for (let time = 0; time < 2; time++)
        await assert.rejects(wal.commit('a', Buffer.alloc(1)), { code: `ERR_PGAIO_WAL_WRITE_${name}` });
      await wal.commit('a', Buffer.alloc(2));
      await instance.close();
      assert.deepEqual(lengths(data), [1, 1, 2]);
    });
  }

  it('an fsync that was never begun, because its thread ended, is no failure', async () => {
    const data = fresh();
    const instance = await open(data);
    const { backend } = instance;
    const { control } = backend.wal.parts.wal;
    const end = await backend.wal.append('a', Buffer.alloc(1));
    const { aio } = backend;
    aio.startFsync = (io, fd) => {
      injection.answer(-constants.errno.ECANCELED, { times: 1 });
      Reflect.deleteProperty(aio, 'startFsync');
      aio.startFsync(io, fd);
    };
    await backend.wal.flush(end);
    assert.ok(control.syncErrno === 0 && control.writeFailures === 0);
    await instance.close();
    assert.deepEqual(lengths(data), [1]);
  });
});
