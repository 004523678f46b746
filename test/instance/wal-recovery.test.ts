/** What an instance finds of the WAL of the one before: after it was closed, and as a crash leaves it. */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { WalSettings } from '../../src/base/settings.js';
import { createInstance, type Instance } from '../../src/instance/instance.js';
import { walMessages } from '../../testing/wal-records.js';

const MB = 1 << 20;
const SEGMENT = (number: number): string =>
  `0000000100000000000000${number.toString(16).padStart(2, '0').toUpperCase()}`;

describe('the WAL of an instance before', () => {
  let home: string;
  let count = 0;
  before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-recovery-'))));
  after(() => rmSync(home, { recursive: true }));

  const fresh = (): string => join(home, `data${count++}`);

  function open(dataDirectory: string, wal: Partial<WalSettings> = {}): Promise<Instance> {
    return createInstance({
      ioMethod: 'sync',
      wal: { dataDirectory, checkpointer: false, ...wal },
      log: () => undefined,
    });
  }

  const create = (dataDirectory: string, wal: Partial<WalSettings> = {}): Promise<Instance> =>
    open(dataDirectory, { segmentSize: MB, ...wal });

  /** As a crash would leave it now: nothing but what is in the files. */
  function crash(dataDirectory: string): string {
    const copy = fresh();
    cpSync(dataDirectory, copy, { recursive: true });
    rmSync(join(copy, 'postmaster.pid'));
    return copy;
  }

  const texts = (dataDirectory: string): string[] =>
    walMessages(join(dataDirectory, 'pg_wal'), MB).map(({ payload }) => Buffer.from(payload).toString());

  async function commitAll(instance: Instance, messages: readonly string[]): Promise<void> {
    for (const message of messages) await instance.backend.wal.commit('test', message);
  }

  it('that was closed goes on where it ended', async () => {
    const data = fresh();
    const first = await create(data);
    await commitAll(first, ['one', 'two']);
    await first.close();
    const second = await open(data);
    assert.deepEqual([second.recovery?.wasNeeded, second.recovery?.records], [false, 1]);
    await commitAll(second, ['three']);
    await second.close();
    assert.deepEqual(texts(data), ['one', 'two', 'three']);
  });

  it('that crashed is there up to what was acknowledged, again and again', async () => {
    const data = fresh();
    const first = await create(data);
    await commitAll(first, ['one', 'two']);
    const crashed = crash(data);
    await first.close();
    const second = await open(crashed);
    assert.equal(second.recovery?.wasNeeded, true);
    assert.equal(second.recovery.records, 3, 'the checkpoint and two messages');
    await commitAll(second, ['three']);
    const again = crash(crashed);
    await second.close();
    const third = await open(again);
    assert.equal(third.recovery?.wasNeeded, true);
    await third.close();
    assert.deepEqual(texts(again), ['one', 'two', 'three']);
  });

  it('ends at a torn record, and what lies behind it never comes back', async () => {
    const data = fresh();
    const first = await create(data);
    // Of one size, so that a new record fits exactly where the torn one was.
    const names = Array.from(
      { length: 300 },
      (_, at) => `message ${String(at).padStart(4, '0')} ${'x'.repeat(500)}`,
    );
    await commitAll(first, names);
    const crashed = crash(data);
    await first.close();
    const found = walMessages(join(crashed, 'pg_wal'), MB);
    const torn = found[150];
    assert.ok(torn !== undefined);
    const path = join(crashed, 'pg_wal', SEGMENT(1));
    const bytes = readFileSync(path);
    bytes[(torn.end - 100) % MB]! ^= 1;
    writeFileSync(path, bytes);
    const second = await open(crashed);
    assert.match(second.recovery?.reason ?? '', /its CRC does not match its contents/);
    const instead = names[150]?.replace('message', 'instead') ?? '';
    await commitAll(second, [instead]);
    const again = crash(crashed);
    await second.close();
    const third = await open(again);
    await third.close();
    assert.deepEqual(texts(again), [...names.slice(0, 150), instead]);
  });

  it('begins with the last checkpoint, and lets go of what lies before', async () => {
    const data = fresh();
    const first = await create(data);
    const payload = 'x'.repeat(100_000);
    for (let round = 0; round < 4; round++) {
      await commitAll(
        first,
        Array.from({ length: 12 }, () => payload),
      );
      await first.backend.wal.checkpoint();
    }
    await commitAll(first, ['after']);
    const segments = readdirSync(join(data, 'pg_wal')).filter((name) => name.length === 24);
    assert.ok(segments.length <= 5, `${segments.length} segments`);
    assert.ok(!segments.includes(SEGMENT(1)));
    const crashed = crash(data);
    await first.close();
    const second = await open(crashed);
    assert.equal(second.recovery?.records, 3, 'redo, checkpoint, and one message');
    await second.close();
  });

  it('never becomes two segments at once, where somebody ended before a recycled file lost its old name', async () => {
    const data = fresh();
    const first = await create(data);
    const payload = 'x'.repeat(100_000);
    const fill = (): Promise<void> =>
      commitAll(
        first,
        Array.from({ length: 12 }, () => payload),
      );
    await fill();
    linkSync(join(data, 'pg_wal', SEGMENT(1)), join(data, 'pg_wal', SEGMENT(3)));
    for (let round = 0; round < 3; round++) {
      await fill();
      await first.backend.wal.checkpoint();
      const files = readdirSync(join(data, 'pg_wal')).map((name) => join(data, 'pg_wal', name));
      assert.equal(new Set(files.map((path) => statSync(path).ino)).size, files.length);
    }
    await first.close();
    await (await open(data)).close();
  });

  it('is kept if it is to be', async () => {
    const data = fresh();
    const first = await create(data, { keepSize: 'all' });
    const all = Array.from({ length: 30 }, (_, at) => `${at} `.repeat(20_000));
    for (const message of all) {
      await commitAll(first, [message]);
      await first.backend.wal.checkpoint();
    }
    await first.close();
    assert.deepEqual(texts(data), all);
  });

  it('may lie on another disk', async () => {
    const [data, elsewhere] = [fresh(), fresh()];
    mkdirSync(elsewhere);
    mkdirSync(data);
    symlinkSync(elsewhere, join(data, 'pg_wal'));
    const first = await create(data);
    await commitAll(first, ['one']);
    await first.close();
    assert.deepEqual(readdirSync(elsewhere), [SEGMENT(1)]);
  });

  describe('has a checkpointer', () => {
    /** Looks again at each turn of the loop, until it is so. */
    async function until(isSo: () => boolean): Promise<void> {
      while (!isSo()) await new Promise(setImmediate);
    }

    it('that makes durable what nobody waited for', async () => {
      await using instance = await create(fresh(), { checkpointer: true });
      const { wal } = instance.backend;
      const end = await wal.append('test', 'asynchronous');
      await until(() => wal.flushedUpTo >= end);
    });

    it('that takes a checkpoint when there is so much WAL, and prepares the next segment', async () => {
      const data = fresh();
      const instance = await create(data, { checkpointer: true, maxWalSize: '2MB' });
      const { wal } = instance.backend;
      const { redo } = wal;
      for (let at = 0; at < 30; at++) await wal.commit('test', Buffer.alloc(100_000));
      await until(() => wal.redo > redo + 2 * MB);
      const next = Math.floor((wal.insertedUpTo + 0.75 * MB) / MB);
      await until(() => existsSync(join(data, 'pg_wal', SEGMENT(next))));
      await instance.close();
    });
  });

  describe('is refused', () => {
    it('while another instance has it', async () => {
      const data = fresh();
      const first = await create(data);
      await assert.rejects(open(data), {
        code: 'ERR_PGAIO_DATA_DIRECTORY_IN_USE',
        message: /in use by another instance of this process/,
      });
      await first.close();
      await (await open(data)).close();
    });

    it('while a process has it that lives; not when it is gone, or began at another time', async () => {
      const data = fresh();
      await (await create(data)).close();
      const lock = join(data, 'postmaster.pid');
      writeFileSync(lock, `${process.ppid}\n${data}\n1\n`);
      await assert.rejects(open(data), { message: new RegExp(`in use by process ${process.ppid}`) });
      writeFileSync(lock, '');
      await assert.rejects(open(data), { message: /in use by a server that is starting/ });
      for (const gone of [`${2 ** 22 + 1}\n${data}\n1\n`, `${process.pid}\n${data}\n1\n`]) {
        writeFileSync(lock, gone);
        await (await open(data)).close();
      }
    });

    it('where there is something else', async () => {
      const data = fresh();
      mkdirSync(data);
      writeFileSync(join(data, 'letter.txt'), 'dear');
      await assert.rejects(open(data), {
        code: 'ERR_PGAIO_DATA_DIRECTORY',
        message: /is not empty, and has no control file \(there is letter.txt\)/,
      });
      await assert.rejects(open(join(data, 'letter.txt')), { message: /cannot be used: EEXIST|ENOTDIR/ });
      assert.deepEqual(readdirSync(data), ['letter.txt']);
      // Where the kernel says that the directory is not there, although it is.
      await assert.rejects(open('/proc/pgaio/data'), { message: /cannot be used: ENOENT/ });
    });

    it('with segments of another size than asked for', async () => {
      const data = fresh();
      await (await create(data)).close();
      await assert.rejects(open(data, { segmentSize: 2 * MB }), {
        message: /segments of 1048576 bytes, not of 2097152/,
      });
    });

    it('if what the control file names is not there', async () => {
      const data = fresh();
      await (await create(data)).close();
      const path = join(data, 'pg_wal', SEGMENT(1));
      const bytes = readFileSync(path);
      rmSync(path);
      await assert.rejects(open(data), {
        code: 'ERR_PGAIO_RECOVERY',
        message: /WAL ends before the last checkpoint/,
      });
      bytes.fill(0, 40);
      writeFileSync(path, bytes);
      await assert.rejects(open(data), {
        code: 'ERR_PGAIO_RECOVERY',
        message: /nothing was ever written there/,
      });
      const control = join(data, 'global', 'pg_control');
      const damaged = readFileSync(control);
      damaged[40]! ^= 1;
      writeFileSync(control, damaged);
      await assert.rejects(open(data), { code: 'ERR_PGAIO_CONTROL_FILE' });
    });
  });
});
