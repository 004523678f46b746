/** D-82: what a submission does when the kernel takes nothing or not all, when there is no room, or no READ. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, before, describe, it } from 'node:test';
import type { WaitReference } from '../../../src/aio/handle.js';
import { Ring, RingOperation } from '../../../src/aio/method/io-uring/ring.js';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import { Backend } from '../../../src/instance/backend.js';
import { createSharedState, releaseSharedState } from '../../../src/instance/instance.js';
import { supportedMethods } from '../../../src/instance/methods.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { openRig, withRig, type Rig } from '../../../testing/instances.js';
import { watchEnter, type Enter } from '../../../testing/kernel-answers.js';
import { theAddon } from '../../../testing/native-ring.js';
import { PipeReads } from '../../../testing/pipe-reads.js';
import { RawReads } from '../../../testing/raw-reads.js';
import { DataDirectory } from '../../../testing/relations.js';

const { EAGAIN, EBADF, EBUSY, ECANCELED, ETIME } = constants.errno;
const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

interface Batch {
  readonly references: WaitReference[];
  readonly results: AioReturn[];
}

/** Reads of one piece each, in one submission. */
function submitTogether(raw: RawReads, count: number): Batch {
  const { aio, rootScope } = raw.backend;
  const results = Array.from({ length: count }, () => new AioReturn());
  const references = aio.batch(rootScope, () => results.map((result) => raw.start(rootScope, result)));
  return { references, results };
}

for (const ioUringMemory of ['own', 'mapped'] as const) {
  describe(`io_uring, ring in ${ioUringMemory} memory`, { skip: missing }, () => {
    let rig: Rig;
    let raw: RawReads;
    let pipes: PipeReads;

    before(async () => {
      rig = await openRig({ ioMethod: 'io_uring', ioUringMemory, ioMaxConcurrency: 8 });
      raw = new RawReads(rig.backend, rig.data.path);
      pipes = new PipeReads(rig.backend, rig.data.path);
    });
    after(async () => {
      pipes.close();
      raw.close();
      await rig.close();
    });

    /** Each once, and all right. */
    function assertRead({ references, results }: Batch, reads: number): void {
      for (const reference of references) raw.wait(reference);
      assert.deepEqual(
        results.map(({ value }) => value),
        results.map(() => 8192),
      );
      assert.equal(rig.backend.counters().reads - reads, results.length);
    }

    it('D-82: short of memory, of room for completions, or taking nothing: it waits, and offers all again', () => {
      const { reads } = rig.backend.counters();
      const answers = [-EAGAIN, -EBUSY, 0];
      const watch = watchEnter((submit, call, take) => answers[call] ?? take(submit));
      const batch = submitTogether(raw, 2);
      watch.end();
      const wait: Enter = [0, 1, -ETIME]; // nothing else is in flight that could complete
      assert.deepEqual(watch.calls, [
        [2, 0, -EAGAIN],
        wait,
        [2, 0, -EBUSY],
        wait,
        [2, 0, 0],
        wait,
        [2, 0, 2],
      ]);
      assertRead(batch, reads);
    });

    it('D-82: without room for completions, those that are there are taken, and nobody waits', () => {
      const early = pipes.start();
      const { reads } = rig.backend.counters();
      const watch = watchEnter((submit, call, take) => {
        if (call > 0) return take(submit);
        early.finish();
        return -EBUSY;
      });
      const busy = submitTogether(raw, 1);
      watch.end();
      assert.deepEqual(watch.calls, [
        [1, 0, -EBUSY],
        [1, 0, 1],
      ]);
      assertRead(busy, reads + 1);
      raw.wait(early.reference);
      assert.equal(early.result.value, 8);
    });

    it('D-82: of what is offered the kernel takes one: the others are offered again', () => {
      const { reads, submissions } = rig.backend.counters();
      const watch = watchEnter((_submit, _call, take) => take(1));
      const batch = submitTogether(raw, 4);
      watch.end();
      assert.deepEqual(watch.calls, [
        [4, 0, 1],
        [3, 0, 1],
        [2, 0, 1],
        [1, 0, 1],
      ]);
      assertRead(batch, reads);
      assert.equal(rig.backend.counters().submissions - submissions, 4);
    });

    it('D-82: a full queue is submitted, and waited for, before the next entry is written', (t) => {
      const { reads } = rig.backend.counters();
      const rooms = [1, 0, 1, 2];
      const room = t.mock.getter(Ring.prototype, 'room', () => rooms.shift() ?? 0);
      const watch = watchEnter((submit, _call, take) => take(submit));
      const batch = submitTogether(raw, 4);
      watch.end();
      room.mock.restore();
      assert.deepEqual(rooms, []);
      assert.deepEqual(watch.calls, [
        [1, 0, 1],
        [0, 1, -ETIME], // what was submitted has been taken already
        [1, 0, 1],
        [2, 0, 2],
      ]);
      assertRead(batch, reads);
    });
  });
}

describe('io_uring', { skip: missing }, () => {
  it('D-82: what the kernel did not take when the creator closed the ring ends as cancelled', async () => {
    using data = new DataDirectory();
    const { handle, loaded, log, memory } = await createSharedState({
      ioMethod: 'io_uring',
      ioMaxConcurrency: 8,
      maxBackends: 1,
      sharedBuffers: '1MB',
      ioMemory: '1MB',
    });
    const backend = new Backend(handle, loaded, log);
    const raw = new RawReads(backend, data.path);
    const watch = watchEnter((_submit, call, take) => {
      if (call === 0) return take(1);
      backend.parts.thread.header.beginClosing();
      return -EBADF;
    });
    const { references, results } = submitTogether(raw, 3);
    watch.end();
    for (const reference of references) raw.wait(reference);
    assert.deepEqual(
      results.map(({ status, value }) => [status, value]),
      [
        [ResultStatus.OK, 8192],
        [ResultStatus.ERROR, -ECANCELED],
        [ResultStatus.ERROR, -ECANCELED],
      ],
    );
    raw.close();
    await backend.close();
    await releaseSharedState(memory);
  });

  for (const lacking of ['READ', 'WRITE'] as const) {
    it(`without the operation ${lacking}, READV and WRITEV serve for single blocks too`, async (t) => {
      const addon = theAddon();
      const probe = addon.ringProbe.bind(addon);
      addon.ringProbe = (ring, has) => {
        const result = probe(ring, has);
        has[RingOperation[lacking]] = 0;
        return result;
      };
      try {
        await withRig({ ioMethod: 'io_uring', ioMaxConcurrency: 8 }, async ({ backend, data }) => {
          const push = t.mock.method(Ring.prototype, 'push');
          const blocks = new BlockReads(backend, data.path, data.write(100, 40));
          await Promise.all([0, 2, 4].map((block) => blocks.read(block, 1)));
          await blocks.read(10, 4);
          const { locks, pool, writeBack } = backend.buffers;
          const buffer = pool.lookup(blocks.reader.tag, 2, backend.rootScope);
          const lock = locks.tryLock(backend.rootScope, buffer, 'exclusive');
          lock?.change((page) => {
            page[100] = 0xab;
          });
          lock?.release();
          pool.unpin(buffer, backend.rootScope);
          const { writes } = backend.counters();
          backend.aio.waits.block(writeBack.flushing([buffer]));
          assert.equal(backend.counters().writes - writes, 1);
          const { READV, WRITEV } = RingOperation;
          assert.deepEqual(
            push.mock.calls.map(({ arguments: [operation] }) => operation),
            [READV, READV, READV, READV, WRITEV],
          );
          push.mock.restore();
        });
      } finally {
        addon.ringProbe = probe;
      }
    });
  }
});
