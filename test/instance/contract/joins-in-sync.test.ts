/** Rows of claims.test.ts that need another thread where a read is over when its start returns: method sync. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import { Actor } from '../../../testing/actor.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { Injection } from '../../../testing/injection.js';
import { openRig, type Rig } from '../../../testing/instances.js';
import { untilTrue } from '../../../testing/turns.js';

const { EIO } = constants.errno;

describe('sync', () => {
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ioMethod: 'sync', injection: injection.url });
    a = rig.backend;
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
  });
  after(async () => rig.close());

  /** A thread that is held while it reads that block, with the kernel's answer in hand. */
  async function heldReader(
    block: number,
  ): Promise<{ mine: BlockReads; release: (answer?: number) => void; outcome: () => Promise<string> }> {
    const locator = rig.data.write(++lastRelation, 20);
    const actor = new Actor({
      role: 'block',
      handle: rig.instance.handle,
      dataDirectory: rig.data.path,
      locator,
      block,
      injection: null,
    });
    const hold = injection.hold('beforeSharedCompletion', { relation: locator.relation, block, times: 1 });
    await hold.arrived();
    const outcome = async (): Promise<string> => {
      const said = await actor.report('outcome');
      await actor.ended();
      return said;
    };
    return {
      mine: new BlockReads(a, rig.data.path, locator),
      release: (answer) => (answer === undefined ? hold.release() : hold.releaseWith(answer)),
      outcome,
    };
  }

  const eventOf = (): string | null => a.waits().find((one) => one.backend === a.number)?.event ?? null;

  /** Waits until this backend sleeps on the held read, lets that go on, and finishes. */
  async function finishHeld(finish: () => Promise<void>, release: () => void): Promise<void> {
    const finished = finish();
    await untilTrue(() => eventOf() === 'AioIoCompletion', finished);
    release();
    await finished;
  }

  it('JN-06, D-60: somebody else’s read is joined; the other blocks are read before it is over', async () => {
    const { reads } = a.counters();
    const { mine, release, outcome } = await heldReader(1);
    const { operations, finish } = await mine.startAll(1, 4);
    assert.deepEqual(operations, [
      { offset: 0, block: 1, io: 'foreign', count: 1 },
      { offset: 1, block: 2, io: 'own', count: 3 },
    ]);
    await finishHeld(finish, release);
    assert.equal(await outcome(), 'done');
    assert.equal(a.counters().reads, reads + 2, 'theirs and ours');
  });

  it('JN-06: a read that is deferred, as a stream defers it, is one operation, and joins while it is waited for', async () => {
    const { reads } = a.counters();
    const { mine, release, outcome } = await heldReader(1);
    mine.deferred = true;
    const { operations, finish } = await mine.startAll(1, 4);
    assert.deepEqual(operations, [{ offset: 0, block: 1, io: 'own', count: 4 }]);
    await finishHeld(finish, release);
    assert.equal(await outcome(), 'done');
    assert.equal(a.counters().reads, reads + 2, 'theirs and ours');
  });

  it('D-40: a buffer under I/O stays where it is, whatever else is read', async () => {
    const { mine, release, outcome } = await heldReader(1);
    const { pool } = a.buffers;
    const buffer = pool.pinBlock(mine.reader.tag, 1, a.rootScope);
    pool.unpin(buffer, a.rootScope);
    const other = new BlockReads(a, rig.data.path, rig.data.write(++lastRelation, 300));
    for (let block = 0; block < 300; block += 10) await other.read(block, 10);
    assert.equal(pool.pinBlock(mine.reader.tag, 1, a.rootScope), buffer);
    pool.unpin(buffer, a.rootScope);
    release();
    assert.equal(await outcome(), 'done');
  });

  for (const [row, fails] of [
    ['RS-06', false],
    ['RS-07', true],
  ] as const) {
    it(`${row}: a stream over a block that another is reading${fails ? ', and fails to read' : ''}`, async () => {
      const { mine, release, outcome } = await heldReader(5);
      const blocks = [0, 2, 5, 7];
      let at = 0;
      const seen: number[] = [];
      const streaming = (async () => {
        for await (const buffer of a.readStream(mine.relation, { nextBlock: () => blocks[at++] ?? -1 }))
          seen.push(buffer.block);
      })();
      await untilTrue(() => seen.length === 2, streaming);
      assert.deepEqual(seen, [0, 2], 'it goes no further than the block that is held');
      release(fails ? -EIO : undefined);
      await streaming;
      assert.deepEqual(seen, blocks);
      assert.equal(await outcome(), fails ? 'ERR_PGAIO_READ_EIO' : 'done');
    });
  }
});
