/** The WAL: what is inserted by many, flushed together, and found again in PostgreSQL's format. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { WalSettings } from '../../src/base/settings.js';
import type { Backend } from '../../src/instance/backend.js';
import type { BackendWal } from '../../src/instance/backend-wal.js';
import { holdFsync } from '../../testing/hold-fsync.js';
import { holdIo, Injection } from '../../testing/injection.js';
import { forEachMethod, withRig, type Rig } from '../../testing/instances.js';
import { seededRandom } from '../../testing/random.js';
import { logicalMessage } from '../../src/wal/logical-message.js';
import { walMessages } from '../../testing/wal-records.js';

const { ENOSPC, EIO } = constants.errno;
const MB = 1 << 20;

const walOf = (backend: Backend): BackendWal => backend.wal;

forEachMethod((ioMethod) => {
  const injection = new Injection();

  async function withWal(
    settings: Partial<WalSettings>,
    body: (rig: Rig, directory: string) => Promise<void>,
  ): Promise<void> {
    const directory = mkdtempSync(join(tmpdir(), 'pgaio-wal-'));
    try {
      const wal = {
        dataDirectory: directory,
        segmentSize: MB,
        buffers: 128 * 1024,
        checkpointer: false,
        ...settings,
      };
      await withRig({ ioMethod, injection: injection.url, wal }, (rig) =>
        body(rig, join(directory, 'pg_wal')),
      );
    } finally {
      injection.disarm('beforeSharedCompletion');
      rmSync(directory, { recursive: true });
    }
  }

  for (const syncMethod of ['fdatasync', 'open_datasync'] as const) {
    for (const direct of [false, true]) {
      describe(`${syncMethod}${direct ? ', direct' : ''}`, () => {
        it('what is committed by several at once is there, once, whole, and in the order of its LSNs', async () => {
          await withWal({ syncMethod, direct }, async (rig, directory) => {
            const other = await rig.attach();
            const random = seededRandom(5);
            const committed: { end: number; text: string }[] = [];
            const committer = async (wal: BackendWal, name: string): Promise<void> => {
              for (let round = 0; round < 20; round++) {
                // Also records that fill pages to the byte, and that go over several.
                const bytes = random.pick([0, 1, 100, 203, 204, 205, 4000, 8192, 8192 - 24 - 53, 30_000]);
                const payload = Buffer.alloc(bytes, `${name}${round}.`);
                const end = await wal.commit(name, payload);
                assert.ok(wal.flushedUpTo >= end);
                committed.push({ end, text: `${name} ${payload.toString()}` });
              }
            };
            await Promise.all(
              [rig.backend, other].flatMap((backend, at) =>
                [1, 2, 3, 4].map((lane) => committer(walOf(backend), `b${at}l${lane}`)),
              ),
            );
            const found = walMessages(directory, MB).map(({ end, prefix, payload }) => ({
              end,
              text: `${prefix} ${payload.toString()}`,
            }));
            assert.deepEqual(
              found,
              committed.sort((one, two) => one.end - two.end),
            );
            assert.equal(found.length, 160);
          });
        });
      });
    }
  }

  it('who only flushes makes durable what others have inserted', async () => {
    await withWal({}, async (rig, directory) => {
      const end = await walOf(rig.backend).append('a', Buffer.from('one'));
      const other = walOf(await rig.attach());
      assert.ok(other.flushedUpTo < end);
      await other.flush(end);
      assert.ok(walOf(rig.backend).flushedUpTo >= end);
      assert.deepEqual(
        walMessages(directory, MB).map(({ payload }) => payload.toString()),
        ['one'],
      );
    });
  });

  it('a full disk: nothing is acknowledged, and the next commit brings it all', async () => {
    await withWal({ syncMethod: 'open_datasync' }, async (rig, directory) => {
      const wal = walOf(rig.backend);
      await wal.commit('a', Buffer.from('one'));
      injection.answer(-ENOSPC, { times: 1 });
      await assert.rejects(wal.commit('a', Buffer.from('two')), {
        name: 'WalFileError',
        code: 'ERR_PGAIO_WAL_WRITE_ENOSPC',
        operation: 'write',
        path: join(directory, '000000010000000000000001'),
      });
      await wal.commit('a', Buffer.from('three'));
      assert.deepEqual(
        walMessages(directory, MB).map(({ payload }) => payload.toString()),
        ['one', 'two', 'three'],
      );
    });
  });

  it('a message that the buffers could never hold is refused; the longest that they can is not', async () => {
    await withWal({}, async (rig, directory) => {
      const wal = walOf(rig.backend);
      const { recordBytesMax } = wal.parts.wal.control;
      const header = logicalMessage('a', Buffer.alloc(70_000)).length - 70_000;
      for (let time = 0; time < 3; time++) {
        await assert.rejects(wal.commit('a', Buffer.alloc(recordBytesMax - header + 1)), {
          code: 'ERR_PGAIO_EXHAUSTED',
          hint: /wal.buffers/,
        });
        await wal.commit('a', Buffer.alloc(recordBytesMax - header));
        await wal.commit('a', Buffer.alloc(3000 * time));
      }
      await assert.rejects(wal.commit('a\0b', 'x'), RangeError);
      assert.equal(walMessages(directory, MB).length, 6);
    });
  });

  it('a failed fsync is final', async () => {
    let wasTried = false;
    const life = withWal({ syncMethod: 'fdatasync' }, async (rig) => {
      const wal = walOf(rig.backend);
      const end = await wal.append('a', Buffer.from('one'));
      const { aio } = rig.backend;
      aio.startFsync = (io, fd) => {
        injection.answer(-EIO, { times: 1 });
        Reflect.deleteProperty(aio, 'startFsync');
        aio.startFsync(io, fd);
      };
      await assert.rejects(wal.flush(end), { code: 'ERR_PGAIO_WAL_SYNC_EIO', operation: 'sync' });
      for (let again = 0; again < 2; again++)
        await assert.rejects(wal.commit('a', Buffer.from('two')), { code: 'ERR_PGAIO_WAL_SYNC_EIO' });
      assert.ok(wal.flushedUpTo < end);
      wasTried = true;
    });
    await assert.rejects(life, { code: 'ERR_PGAIO_WAL_SYNC_EIO' }, 'there is no last checkpoint');
    assert.ok(wasTried);
  });

  it('a short write goes on with the rest; with less than a page it is taken for a full disk', async () => {
    await withWal({ syncMethod: 'open_datasync' }, async (rig, directory) => {
      const lengths = (): number[] => walMessages(directory, MB).map(({ payload }) => payload.length);
      injection.answer(16_384, { times: 1 });
      await walOf(rig.backend).commit('a', Buffer.alloc(20_000, 65));
      assert.deepEqual(lengths(), [20_000]);
      injection.answer(4096, { times: 1 });
      await assert.rejects(walOf(rig.backend).commit('a', Buffer.alloc(10_000, 65)), {
        code: 'ERR_PGAIO_WAL_WRITE_ENOSPC',
      });
      await walOf(rig.backend).commit('a', Buffer.alloc(10, 65));
      assert.deepEqual(lengths(), [20_000, 10_000, 10]);
    });
  });

  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
  };

  if (ioMethod !== 'sync')
    it('who commits while an fdatasync runs waits for it, and one write and one sync are for all of them', async () => {
      await withWal({ syncMethod: 'fdatasync' }, async (rig, directory) => {
        const other = await rig.attach();
        const held = holdFsync(injection, rig.backend);
        const before = rig.backend.counters();
        const first = walOf(rig.backend).commit('a', 'one');
        await turns();
        await held().arrived();
        const group = [rig.backend, other].flatMap((backend, at) =>
          [1, 2, 3].map((lane) => walOf(backend).commit('b', `b${at}l${lane}`)),
        );
        await turns();
        assert.equal(rig.backend.counters().writes - before.writes, 1, 'they wait');
        held().release();
        await Promise.all([first, ...group]);
        const after = rig.backend.counters();
        assert.equal(after.writes - before.writes, 2, 'that of the first, and theirs');
        assert.equal(after.syncs - before.syncs, 2);
        assert.equal(walMessages(directory, MB).length, 7);
      });
    });

  if (ioMethod !== 'sync')
    it('while an fdatasync runs, much is written without waiting for it', async () => {
      await withWal({ syncMethod: 'fdatasync', buffers: 512 * 1024 }, async (rig) => {
        const held = holdFsync(injection, rig.backend);
        const first = walOf(rig.backend).commit('a', 'one');
        await turns();
        await held().arrived();
        const before = rig.backend.counters();
        const second = walOf(rig.backend).commit('b', Buffer.alloc(100_000));
        await turns();
        assert.equal(rig.backend.counters().submissions, before.submissions + 1, 'one write');
        held().release();
        await Promise.all([first, second]);
      });
    });

  for (const syncMethod of ['fdatasync', 'open_datasync'] as const) {
    it(`${syncMethod}: small records on either side of a page's end are durable by one write`, async () => {
      await withWal({ syncMethod }, async (rig) => {
        const wal = walOf(rig.backend);
        const page = Math.floor(wal.insertedUpTo / 8192);
        await wal.flush();
        const first = await wal.append('a', Buffer.alloc(500));
        while (Math.floor(wal.insertedUpTo / 8192) === page) await wal.append('a', Buffer.alloc(500));
        const before = rig.backend.counters();
        await wal.flush(first);
        const after = rig.backend.counters();
        assert.equal(wal.flushedUpTo, wal.insertedUpTo);
        assert.equal(after.writes - before.writes, 1);
        assert.equal(after.syncs - before.syncs, syncMethod === 'fdatasync' ? 1 : 0);
      });
    });
  }

  it('open_datasync: several full pages are written without the page behind them', async () => {
    await withWal({ syncMethod: 'open_datasync' }, async (rig) => {
      const wal = walOf(rig.backend);
      const first = await wal.append('a', Buffer.alloc(500));
      const last = await wal.append('a', Buffer.alloc(30_000));
      await wal.flush(first);
      assert.equal(wal.flushedUpTo, last - (last % 8192));
      await wal.flush(last);
      assert.equal(wal.flushedUpTo, last);
    });
  });

  it('a thread that blocks makes its own system calls', async () => {
    await withWal({ syncMethod: 'fdatasync' }, async (rig, directory) => {
      const before = rig.backend.counters();
      walOf(rig.backend).commitBlocking('a', 'one');
      assert.equal(rig.backend.counters().inlineExecutions - before.inlineExecutions, 2);
      assert.equal(walMessages(directory, MB).length, 1);
    });
  });

  if (ioMethod !== 'sync')
    it('a commit waits for the write that another has begun, and goes on when that is over', async () => {
      await withWal({ syncMethod: 'open_datasync' }, async (rig) => {
        const other = walOf(await rig.attach());
        const hold = holdIo(injection, rig.backend, 'beforeSharedCompletion');
        const first = walOf(rig.backend).commit('a', Buffer.from('one'));
        await hold.arrived();
        let isOver = false;
        const second = other.commit('b', Buffer.from('two')).then(() => (isOver = true));
        for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
        assert.ok(!isOver, 'the page of the first is in flight');
        hold.release();
        await Promise.all([first, second]);
      });
    });
});
