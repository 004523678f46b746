/**
 * What becomes of commits when files cannot be written, by a kernel that really refuses: nothing is acknowledged that is
 * not durable, who commits is told why, and it goes on when the reason is gone.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { TargetId } from '../../src/aio/ids.js';
import type { WalSettings } from '../../src/base/settings.js';
import { createInstance, type Instance } from '../../src/instance/instance.js';
import { initPage } from '../../src/page/init-page.js';
import { Injection } from '../../testing/injection.js';
import { forEachMethod } from '../../testing/instances.js';
import { walMessages } from '../../testing/wal-records.js';

const MB = 1 << 20;
const RELATION = 16384;
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

  /** An instance with one changed page, whose change is durable in the WAL. */
  async function withPage(
    dataDirectory: string,
  ): Promise<{ instance: Instance; change: (value: number) => Promise<number> }> {
    const instance = await open(dataDirectory);
    const { backend } = instance;
    const relation = backend.openRelation(dataDirectory, { database: 1, relation: RELATION });
    relation.create(0);
    for (const buffer of await backend.writes.extendRelation(relation, 1)) buffer.release();
    const change = async (value: number): Promise<number> => {
      const buffer = await backend.readBlock(relation, 0);
      const lsn = await backend.wal.change(buffer, (page) => {
        if (value === 1) initPage(page, 8);
        page[8190] = value;
      });
      buffer.release();
      await backend.wal.flush(lsn);
      return lsn;
    };
    await change(1);
    return { instance, change };
  }

  const valueOnDisk = (dataDirectory: string): number | undefined =>
    readFileSync(join(dataDirectory, 'base', '1', String(RELATION)))[8190];

  it('a page that cannot be written fails the checkpoint, not the commits; the next checkpoint makes up for it', async () => {
    const data = fresh();
    const { instance, change } = await withPage(data);
    const { wal } = instance.backend;
    await wal.checkpoint();
    await change(2);
    injection.answer(-EIO, { relation: RELATION });
    const pageRefused = { code: 'ERR_PGAIO_WRITE_EIO', path: `base/1/${RELATION}` };
    await assert.rejects(wal.checkpoint(), pageRefused);
    await assert.rejects(wal.checkpoint(), pageRefused);
    injection.disarm('beforeSharedCompletion');
    await change(3);
    await wal.checkpoint();
    assert.equal(valueOnDisk(data), 3);
    await instance.close();
  });

  it('a file whose fsync failed fails every checkpoint; commits go on, and are there after the next recovery', async () => {
    const data = fresh();
    const { instance, change } = await withPage(data);
    const { wal } = instance.backend;
    const { aio } = instance.backend;
    const startFsync = aio.startFsync.bind(aio);
    aio.startFsync = (io, fd) => {
      if (io.target === TargetId.SMGR) injection.answer(-EIO, { times: 1, relation: RELATION });
      startFsync(io, fd);
    };
    await assert.rejects(wal.checkpoint(), { code: 'ERR_PGAIO_SYNC_EIO' });
    Reflect.deleteProperty(aio, 'startFsync');
    const control = readFileSync(join(data, 'global', 'pg_control'));
    await change(2);
    await assert.rejects(wal.checkpoint(), { code: 'ERR_PGAIO_SYNC_EIO' });
    assert.deepEqual(
      readFileSync(join(data, 'global', 'pg_control')),
      control,
      'the checkpoint before holds',
    );
    await change(3);
    await assert.rejects(instance.close(), { code: 'ERR_PGAIO_SYNC_EIO' });
    // What the disk may have been left with.
    writeFileSync(join(data, 'base', '1', String(RELATION)), Buffer.alloc(8192, 0xee));
    const next = await open(data);
    assert.equal(next.recovery?.wasNeeded, true);
    const relation = next.backend.openRelation(data, { database: 1, relation: RELATION });
    const buffer = await next.backend.readBlock(relation, 0);
    assert.equal(buffer.page[8190], 3);
    buffer.release();
    await next.close();
    assert.equal(valueOnDisk(data), 3);
  });

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
