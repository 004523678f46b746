/** What a thread's end, an error or another backend's checkpoint at the wrong moment must not do to WAL and pages. */
import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  linkSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { IoMethodName } from '../../src/base/settings.js';
import type { Backend } from '../../src/instance/backend.js';
import { attachInstance, createInstance, type Instance } from '../../src/instance/instance.js';
import { initPage, setPageLower } from '../../src/page/init-page.js';
import { PageHeaderOffset } from '../../src/page/page-header.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { WaitEvent } from '../../src/shmem/wait.js';
import { WalControl, WalTask, type ReserveOptions } from '../../src/wal/wal-control.js';
import { holdFsync } from '../../testing/hold-fsync.js';
import { Injection } from '../../testing/injection.js';
import { forEachMethod } from '../../testing/instances.js';
import { untilTrue } from '../../testing/turns.js';

const MB = 1 << 20;
const RELATION = 16384;
const AT = 100;

let home: string;
let count = 0;
before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-hazards-'))));
after(() => rmSync(home, { recursive: true }));

function open(dataDirectory: string, ioMethod: IoMethodName = 'sync', injection?: string): Promise<Instance> {
  return createInstance({
    ioMethod,
    sharedBuffers: '1MB',
    ioMemory: '1MB',
    ...(injection !== undefined && { injection }),
    bgwriterLruMaxpages: 0,
    wal: { dataDirectory, checkpointer: false, segmentSize: MB },
    log: () => undefined,
  });
}

/** As a crash would leave it now. */
function crash(dataDirectory: string): string {
  const copy = join(home, `data${count++}`);
  cpSync(dataDirectory, copy, { recursive: true });
  rmSync(join(copy, 'postmaster.pid'));
  return copy;
}

const opened = (backend: Backend, data: string, relation = RELATION): SmgrRelation =>
  backend.openRelation(data, { database: 1, relation });

interface Scene {
  readonly data: string;
  readonly instance: Instance;
  readonly backend: Backend;
  readonly relation: SmgrRelation;
}

/** An instance with a relation of empty pages. */
async function create(blocks: number, ioMethod?: IoMethodName, injection?: string): Promise<Scene> {
  const data = join(home, `data${count++}`);
  const instance = await open(data, ioMethod, injection);
  const { backend } = instance;
  const relation = opened(backend, data);
  relation.create(0);
  for (const buffer of await backend.writes.extendRelation(relation, blocks)) {
    await backend.wal.change(buffer, empty);
    buffer.release();
  }
  return { data, instance, backend, relation };
}

function empty(page: Uint8Array): void {
  initPage(page);
  setPageLower(page, 200);
}

async function put(backend: Backend, relation: SmgrRelation, block: number, value: number): Promise<number> {
  using buffer = await backend.readBlock(relation, block);
  return await backend.wal.change(buffer, (page) => (page[AT] = value));
}

async function valueAfterCrash(
  data: string,
  block: number,
  relation = RELATION,
): Promise<number | undefined> {
  const copy = crash(data);
  const instance = await open(copy);
  using buffer = await instance.backend.readBlock(opened(instance.backend, copy, relation), block);
  const value = buffer.page[AT];
  buffer.release();
  await instance.close();
  return value;
}

forEachMethod((ioMethod) => {
  if (ioMethod !== 'sync')
    it('no checkpoint lies between the record of a truncation and the cut', async () => {
      const injection = new Injection();
      const { data, instance, backend, relation } = await create(6, ioMethod, injection.url);
      const other = await attachInstance(instance.handle);
      await backend.wal.flush(await put(backend, relation, 4, 77));
      await backend.wal.flush();
      const held = holdFsync(injection, backend);
      const truncating = backend.truncateRelation(relation, 2);
      await untilTrue(() => backend.waits().some(({ event }) => event !== null));
      const hold = held();
      await hold.arrived();
      const checkpoint = other.wal.checkpoint();
      await untilTrue(() =>
        other.waits().some(({ backend: slot, event }) => slot === other.number && event === 'Checkpoint'),
      );
      assert.equal(relation.blockCount(0), 6);
      const copy = crash(data); // the record is in the file, or not: all of it is done, or nothing
      const recovered = await open(copy);
      const found = opened(recovered.backend, copy);
      if (found.blockCount(0) > 2) assert.equal(await valueAfterCrash(data, 4), 77);
      await recovered.close();
      hold.release();
      await truncating;
      await checkpoint;
      assert.equal(relation.blockCount(0), 2);
      await other.close();
      await instance.close();
    });

  it('a truncation that is in the WAL and cannot be done crashes the instance; recovery does it', async () => {
    const { data, instance, backend, relation } = await create(6, ioMethod);
    await put(backend, relation, 4, 77);
    relation.truncate = () => {
      throw new Error('no');
    };
    await assert.rejects(backend.truncateRelation(relation, 2), { message: 'no' });
    await assert.rejects(backend.readBlock(relation, 0), { code: 'ERR_PGAIO_INSTANCE_CRASHED' });
    const copy = crash(data);
    const recovered = await open(copy);
    assert.equal(opened(recovered.backend, copy).blockCount(0), 2);
    await recovered.close();
    await assert.rejects(instance.close(), { code: 'ERR_PGAIO_INSTANCE_CRASHED' });
  });

  it('a thread that leaves in the middle of its checkpoint leaves no lock behind', async () => {
    const { instance, backend } = await create(20, ioMethod);
    const thread = new Worker(new URL('../../testing/checkpointing-leaver-thread.js', import.meta.url), {
      workerData: instance.handle,
    });
    await new Promise((resolve) => thread.once('exit', resolve));
    await backend.wal.checkpoint();
    await instance.close();
  });
});

describe('the log', () => {
  it('does not recycle a segment that has another name already', async () => {
    const { data, instance, backend } = await create(1);
    const directory = join(data, 'pg_wal');
    const segments = (): string[] => readdirSync(directory).filter((name) => /^[0-9A-F]{24}$/.test(name));
    const fill = async (): Promise<void> => {
      for (let message = 0; message < 40; message++) await backend.wal.commit('fill', Buffer.alloc(60_000));
    };
    await fill();
    // A thread that took a checkpoint ended here: between giving a segment its new name, and taking the old one away.
    const [first = '', last = ''] = [segments().sort().at(0), segments().sort().at(-1)];
    const next =
      last.slice(0, -2) +
      (Number.parseInt(last.slice(-2), 16) + 1).toString(16).padStart(2, '0').toUpperCase();
    if (existsSync(join(directory, next))) rmSync(join(directory, next));
    linkSync(join(directory, first), join(directory, next));
    for (let round = 0; round < 2; round++) {
      await backend.wal.checkpoint();
      await fill();
    }
    const inodes = segments().map((name) => statSync(join(directory, name)).ino);
    assert.equal(new Set(inodes).size, inodes.length);
    const end = backend.wal.flushedUpTo;
    const copy = crash(data);
    const recovered = await open(copy);
    assert.equal(recovered.recovery?.end, end);
    await recovered.close();
    await instance.close();
  });

  it('has an image of a page whose LSN it has not come to', async () => {
    const { data, instance, backend } = await create(1);
    const page = new Uint8Array(8192);
    empty(page);
    new DataView(page.buffer).setUint32(PageHeaderOffset.lsnHigh, 16, true); // the high half: 64 GB further on
    writeFileSync(join(data, 'base/1/20000'), page);
    const relation = backend.openRelation(data, { database: 1, relation: 20_000 });
    backend.ignoreChecksumFailure = true;
    await backend.wal.flush(await put(backend, relation, 0, 55));
    assert.equal(await valueAfterCrash(data, 0, 20_000), 55);
    await instance.close();
  });

  it('has no record of a change whose scope ended while it waited for space', async () => {
    const { data, instance, backend, relation } = await create(2);
    await backend.wal.flush(await put(backend, relation, 0, 3));
    const { wal } = backend.wal.parts;
    const inserting = wal.inserting.bind(wal);
    let isThereSpace = false;
    wal.inserting = ((record: Uint8Array, options: ReserveOptions) => {
      const step = inserting(record, options);
      return () => (isThereSpace ? step() : backend.aio.waits.waitForOwnThread(WaitEvent.Checkpoint));
    }) as typeof inserting;
    let changing: Promise<unknown> = Promise.resolve();
    await backend.scope(async (scope) => {
      const buffer = await backend.readBlock(relation, 0, { scope });
      changing = backend.wal.change(buffer, (page) => (page[AT] = 7));
      changing.catch(() => undefined);
    });
    isThereSpace = true;
    backend.aio.waits.lookAgain();
    await assert.rejects(changing, { code: 'ERR_PGAIO_CLOSED' });
    await backend.wal.flush();
    assert.equal(await valueAfterCrash(data, 0), 3);
    using buffer = await backend.readBlock(relation, 0);
    assert.equal(buffer.page[AT], 3);
    buffer.release();
    await instance.close();
  });

  it('gives a lost write to who asks, with that one’s handle', async () => {
    const { instance, backend } = await create(1);
    await backend.wal.flush();
    const { slots, plan } = backend.parts.memory;
    let isOver = false;
    const { shape } = backend.wal.parts.wal.control;
    assert.ok(plan.wal !== null);
    const control = new WalControl(slots, backend.number, plan.wal, shape, () => isOver);
    const insert = (): number => {
      control.reserve(100, () => undefined);
      control.inserted();
      return control.reserved;
    };
    assert.equal(control.next(insert(), 1, 11), WalTask.WRITE); // its thread ends before it starts it
    const want = insert();
    isOver = true;
    assert.equal(control.next(want, 2, 22), WalTask.WRITE);
    isOver = false;
    const { flight, written } = control;
    assert.equal(control.next(want, 3, 33), WalTask.WAIT, 'that page is being written');
    control.flightOver(flight, 2, 22, 8192);
    assert.ok(control.written > written);
    await instance.close();
  });
});
