/** The background writer: who needs a buffer finds it clean, and the thread comes back when it has ended. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, afterEach, before, beforeEach, describe, it, test } from 'node:test';
import type { IoMethodName } from '../../src/base/settings.js';
import { BackgroundWriter } from '../../src/buffer/background-writer.js';
import type { Backend } from '../../src/instance/backend.js';
import {
  attachAuxiliary,
  attachInstance,
  createInstance,
  type Instance,
} from '../../src/instance/instance.js';
import { supportedMethods } from '../../src/instance/methods.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { forEachMethod, openRig, type Rig } from '../../testing/instances.js';
import { DataDirectory } from '../../testing/relations.js';
import { untilTrue } from '../../testing/turns.js';

const BUFFERS = 128;
const BLOCKS = 1000;

/** Changes `count` blocks from `from` on, each once. */
async function changeBlocks(
  backend: Backend,
  relation: SmgrRelation,
  from: number,
  count: number,
): Promise<void> {
  for (let block = from; block < from + count; block++) {
    const buffer = await backend.readBlock(relation, block % BLOCKS);
    await buffer.change((page) => (page[100] = 1));
    buffer.release();
  }
}

forEachMethod((ioMethod) => {
  let rig: Rig;
  let a: Backend;
  let relation: SmgrRelation;
  before(async () => {
    rig = await openRig({ ioMethod, sharedBuffers: BUFFERS * 8192 });
    a = rig.backend;
    relation = a.openRelation(rig.data.path, rig.data.write(1, BLOCKS));
  });
  after(() => rig.close());

  it('cleans what the clock hand comes to next, so that backends need not', async () => {
    const writer = new BackgroundWriter(a.buffers, 1000);
    assert.deepEqual(writer.due(), [], 'nobody needed a buffer yet');
    await changeBlocks(a, relation, 0, BUFFERS);
    const evictedAlone = a.counters().pagesEvicted;
    // Without it, each block needs a victim, and all of them are dirty.
    await changeBlocks(a, relation, BUFFERS, BUFFERS);
    const { pagesEvicted, pagesCleaned } = a.counters();
    assert.ok(pagesEvicted - evictedAlone > BUFFERS / 2);
    for (let round = 0; round < 40; round++) {
      const due = writer.due();
      if (due.length > 0) await a.aio.waits.until(writer.cleaning(due));
      for (const buffer of due) assert.ok(!a.buffers.bufferIo.isDirty(buffer));
      await changeBlocks(a, relation, 2 * BUFFERS + round * 8, 8);
    }
    const now = a.counters();
    assert.ok(now.pagesCleaned - pagesCleaned > 200, `${now.pagesCleaned} cleaned`);
    assert.ok(now.pagesEvicted - pagesEvicted < 100, `${now.pagesEvicted - pagesEvicted} evicted dirty`);
  });

  it('does nothing when nobody needs buffers', async () => {
    const writer = new BackgroundWriter(a.buffers, 1000);
    await changeBlocks(a, relation, 0, BUFFERS);
    await changeBlocks(a, relation, BUFFERS, BUFFERS);
    assert.ok(writer.due().length > 0);
    // The average falls to where it rounds to one buffer or so, and the hand stands still.
    for (let round = 0; round < 300; round++) writer.due();
    assert.ok(writer.due().length <= 2);
  });
});

describe('a background writer that cannot begin', () => {
  const warnings: string[] = [];
  let data: DataDirectory;
  let instance: Instance;
  let relation: SmgrRelation;
  let inItsPlace: Backend;
  beforeEach(async () => {
    warnings.length = 0;
    data = new DataDirectory();
    instance = await createInstance({
      maxBackends: 2,
      sharedBuffers: BUFFERS * 8192,
      bgwriterLruMaxpages: 1000,
      bgwriterDelay: 10,
      log: ({ message }) => warnings.push(message),
    });
    relation = instance.backend.openRelation(data.path, data.write(1, BLOCKS));
    inItsPlace = await attachAuxiliary(instance.handle, 'background writer');
    await untilTrue(() => warnings.length > 0);
    assert.match(warnings[0] ?? '', /^the background writer ended: all 1 backends of the instance's own/);
  });
  afterEach(() => {
    data[Symbol.dispose]();
  });

  it('is started again; what users have attached is not in its way', async () => {
    const other = await attachInstance(instance.handle);
    await assert.rejects(attachInstance(instance.handle), {
      message: 'all 2 backends of this instance are attached',
    });
    await inItsPlace.close();
    const { backend } = instance;
    for (let next = 0; backend.counters().pagesCleaned === 0; next += 16) {
      await changeBlocks(backend, relation, next, 16);
      await new Promise(setImmediate);
    }
    await other.close();
    await instance.close();
  });

  it('keeps nobody from closing the instance, which writes what is dirty', async () => {
    await changeBlocks(instance.backend, relation, 7, 1);
    await inItsPlace.close();
    await instance.close();
    assert.equal(readFileSync(data.file(1))[7 * 8192 + 100], 1);
  });
});

// It is started again a second later: all methods wait for that at once.
test('is a thread that works by itself, and is started again when it ends, under every method', async () => {
  await Promise.all(supportedMethods().map(worksAndComesBack));
});

async function worksAndComesBack(ioMethod: IoMethodName): Promise<void> {
  using data = new DataDirectory();
  const warnings: string[] = [];
  await using instance = await createInstance({
    ioMethod,
    sharedBuffers: BUFFERS * 8192,
    ioMemory: '1MB',
    bgwriterLruMaxpages: 1000,
    bgwriterDelay: 10,
    log: ({ message }) => warnings.push(message),
  });
  const { backend } = instance;
  const large = backend.openRelation(data.path, data.write(1, BLOCKS));
  let next = 0;
  const untilItCleans = async (): Promise<void> => {
    const { pagesCleaned } = backend.counters();
    while (backend.counters().pagesCleaned === pagesCleaned) {
      await changeBlocks(backend, large, (next += 16), 16);
      await new Promise(setImmediate);
    }
  };
  await untilItCleans();
  await instance.terminateAuxiliary('background writer');
  const { backendsLost } = backend.counters();
  await untilTrue(() => backend.counters().backendsLost > backendsLost || backend.waits().length > 0);
  await untilItCleans();
  assert.equal(warnings.length, 1, ioMethod);
  assert.match(warnings[0] ?? '', /the thread of backend \d+ ended without closing it/);
}
