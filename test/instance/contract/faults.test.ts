/** Rows SR-*, HE-*, WR-*, MA-08, D-38, D-51, D-62 of the contract: short reads, hard errors, failing workers. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { Injection, points } from '../../../testing/injection.js';
import { forEachMethod, forEachVariant, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { stampOf } from '../../../testing/relations.js';
import { untilWorkers } from '../../../testing/worker-pool.js';

const { EIO } = constants.errno;

forEachMethod((ioMethod) => {
  it('MA-08: injection points that no instance has are an error, never silence', async () => {
    const injection = new Injection();
    const arms = [
      (): unknown => injection.hold('beforeSharedCompletion'),
      (): unknown => (injection.answer(0), undefined),
      (): unknown => (injection.throwAt('workerAfterReopen'), undefined),
    ];
    await withRig({ ioMethod }, () => {
      for (const arm of arms) assert.throws(arm, /no thread has these injection points/);
    });
    await withRig({ ioMethod, injection: injection.url }, () => {
      for (const arm of arms) assert.doesNotThrow(arm);
      for (const point of points) injection.disarm(point);
    });
  });
});

forEachVariant((variant) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url });
    backend = rig.backend;
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
  });
  after(async () => rig.close());

  const fresh = (): BlockReads => new BlockReads(backend, rig.data.path, rig.data.write(++lastRelation, 20));
  const path = (): string => rig.data.relativeFile(lastRelation);

  async function scan(blocks: BlockReads): Promise<number[]> {
    const seen: number[] = [];
    for await (const buffer of backend.readStream(blocks.relation)) seen.push(stampOf(buffer.page).block);
    return seen;
  }
  const all = Array.from({ length: 20 }, (_, block) => block);

  it('SR-01: an answer that shortens nothing changes nothing', async () => {
    injection.answer(8192, { block: 2 });
    await fresh().read(2, 1);
  });

  it('SR-02: less than one block is an error, not a retry without end', async () => {
    const blocks = fresh();
    injection.answer(17, { block: 2 });
    await assert.rejects(blocks.read(2, 1), {
      name: 'ShortReadError',
      message: `could not read blocks 2..2 in file "${path()}": read only 0 of 8192 bytes`,
      got: 0,
      wanted: 8192,
    });
    assert.equal(backend.pinCached(blocks.relation, 2), null);
    injection.disarm('beforeSharedCompletion');
    await blocks.read(2, 1);
  });

  it('SR-03, D-51, D-63: a partial read is continued by whoever waits, block by block', async () => {
    const blocks = fresh();
    await blocks.read(4, 1);
    injection.answer(8192 + 100);
    assert.deepEqual(await blocks.read(0, 4), [{ offset: 0, block: 0, io: 'own', count: 4 }]);
    assert.deepEqual(await scan(blocks), all);
  });

  it('HE-01, HE-02, HE-03: a hard error keeps its errno, is not cached, and leaves nothing behind', async () => {
    const blocks = fresh();
    await blocks.read(0, 2);
    await blocks.read(3, 17);
    injection.answer(-EIO, { block: 2 });
    for (let attempt = 0; attempt < 2; attempt++) {
      const reads = backend.counters().reads;
      await assert.rejects(scan(blocks), {
        name: 'ReadFailedError',
        code: 'ERR_PGAIO_READ_EIO',
        message: `could not read blocks 2..2 in file "${path()}": EIO: i/o error`,
        errno: EIO,
        firstBlock: 2,
        lastBlock: 2,
        path: path(),
      });
      assert.equal(backend.counters().reads, reads + 1);
    }
    injection.disarm('beforeSharedCompletion');
    assert.deepEqual(await scan(blocks), all);
  });

  it('an error in the middle of a stream comes behind the blocks before it', async () => {
    const blocks = fresh();
    injection.answer(-EIO, { block: 9 });
    const seen: number[] = [];
    const listed = backend.readStream(blocks.relation, { nextBlock: listOf([0, 2, 4, 9, 11]) });
    await assert.rejects(
      async () => {
        for await (const buffer of listed) seen.push(buffer.block);
      },
      { code: 'ERR_PGAIO_READ_EIO' },
    );
    assert.deepEqual(seen, [0, 2, 4]);
    assert.deepEqual(await listed.next(), { value: undefined, done: true }, 'the stream is over');
  });

  it('a file’s read fails with its position and path', async () => {
    const file = backend.openRawFile(rig.data.file(lastRelation));
    injection.answer(-EIO);
    await assert.rejects(file.read(100, 50), {
      code: 'ERR_PGAIO_READ_EIO',
      message: `could not read 50 bytes at position 100 of "${file.path}": EIO: i/o error`,
    });
    injection.answer(30);
    assert.equal((await file.read(100, 50)).length, 30);
    file.close();
  });

  if (variant.ioMethod === 'worker') {
    it('WR-01, WR-02, D-74: a worker that cannot open files fails its I/O as a missing file, ends, and is replaced', async () => {
      const blocks = fresh();
      const lost = backend.counters().workersLost;
      injection.throwAt('workerAfterReopen', { block: 1, times: 1 });
      await assert.rejects(blocks.read(1, 1), {
        code: 'ERR_PGAIO_READ_ENOENT',
        message: `could not read blocks 1..1 in file "${path()}": ENOENT: no such file or directory`,
      });
      await untilWorkers(
        rig.instance,
        ({ workersLost, running }) => workersLost === lost + 1 && running === 2,
      );
      assert.ok(rig.log.some(({ message }) => message.includes('on behalf of backend 0')));
      assert.deepEqual(await scan(blocks), all);
    });
  }
});

function listOf(blocks: readonly number[]): () => number {
  let at = 0;
  return () => blocks[at++] ?? -1;
}
