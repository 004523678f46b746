/**
 * Rows D-80 … D-84, F-01 and what design calls completions by anyone: who takes completions from a ring, who
 * sleeps, who is woken. Every waiter here sleeps without a time limit, so a wake-up that is lost hangs.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { constants } from 'node:os';
import { after, afterEach, before, describe, it } from 'node:test';
import type { Rings } from '../../src/aio/method/io-uring/rings.js';
import { ResultStatus } from '../../src/aio/result.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { alwaysPunt } from '../../testing/always-punt.js';
import { BusyOwner } from '../../testing/busy-owner.js';
import type { BlockedReader } from '../../testing/blocked-reader.js';
import type { Injection } from '../../testing/injection.js';
import type { Rig } from '../../testing/instances.js';
import type { PipeRead, PipeReads } from '../../testing/pipe-reads.js';
import { KERNEL_SLICE_MILLIS, READERS, RingRig } from '../../testing/ring-rig.js';
import { untilBackends, untilTrue } from '../../testing/turns.js';

const { ECANCELED } = constants.errno;
const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

for (const ioUringMemory of ['own', 'mapped'] as const) {
  describe(`io_uring, ring in ${ioUringMemory} memory`, { skip: missing }, () => {
    let ring: RingRig;
    let rig: Rig;
    let rings: Rings;
    let pipes: PipeReads;
    let injection: Injection;

    before(async () => {
      ring = await RingRig.open(ioUringMemory);
      ({ rig, rings, pipes, injection } = ring);
    });
    afterEach(() => {
      for (const point of ['ringWaiterMarked', 'ringLockMissed', 'ringTaken'] as const)
        injection.disarm(point);
      assert.equal(rings.holder(0), -1, 'nobody has kept the completion lock');
    });
    after(async () => ring.close());

    const reader = (at: number): BlockedReader => ring.reader(at);
    const assertOver = (...reads: PipeRead[]): void => {
      ring.assertOver(...reads);
    };
    const untilHolder = (at: number, waiting: Promise<void>): Promise<void> =>
      ring.untilHolder(reader(at), waiting);
    const untilAsleep = (at: number, read: PipeRead): Promise<{ waiting: Promise<void> }> =>
      ring.untilAsleep(reader(at), read);

    it('F-01, D-80: another backend completes what a thread submitted that does not look', async () => {
      const read = pipes.start();
      const waiting = reader(0).waitFor(read.reference);
      await untilHolder(0, waiting);
      read.finish();
      await waiting;
      assertOver(read);
    });

    it('D-81: two wait for one I/O: one takes it, both return', async () => {
      const read = pipes.start();
      const first = reader(0).waitFor(read.reference);
      await untilHolder(0, first);
      const second = await untilAsleep(1, read);
      read.finish();
      await first;
      await second.waiting;
      assertOver(read);
    });

    it('the holder leaves with its I/O, and who waits for another takes its place', async () => {
      const one = pipes.start();
      const two = pipes.start();
      const first = reader(0).waitFor(one.reference);
      await untilHolder(0, first);
      const second = await untilAsleep(1, two);
      one.finish();
      await first;
      await untilHolder(1, second.waiting);
      two.finish();
      await second.waiting;
      assertOver(one, two);
    });

    it('the holder completes what others wait for, and goes on waiting', async () => {
      const one = pipes.start();
      const two = pipes.start();
      const first = reader(0).waitFor(one.reference);
      await untilHolder(0, first);
      const second = await untilAsleep(1, two);
      two.finish();
      await second.waiting;
      await untilHolder(0, first);
      one.finish();
      await first;
      assertOver(one, two);
    });

    it('held after marking itself, while the holder unlocks and looks: it takes the lock', async () => {
      const one = pipes.start();
      const two = pipes.start();
      const first = reader(0).waitFor(one.reference);
      await untilHolder(0, first);
      const marked = injection.hold('ringWaiterMarked', { owner: reader(1).slot, times: 1 });
      const second = reader(1).waitFor(two.reference);
      await marked.arrived();
      one.finish();
      await first;
      assert.equal(rings.holder(0), -1);
      marked.release();
      await untilHolder(1, second);
      two.finish();
      await second;
      assertOver(one, two);
    });

    it('held after marking itself, while its own I/O is taken by another', async () => {
      const read = pipes.start();
      const first = reader(0).waitFor(read.reference);
      await untilHolder(0, first);
      const marked = injection.hold('ringWaiterMarked', { owner: reader(1).slot, times: 1 });
      const second = reader(1).waitFor(read.reference);
      await marked.arrived();
      read.finish();
      await first;
      marked.release();
      await second;
      assertOver(read);
    });

    it('held after missing the lock, while the holder leaves: the wake is not lost', async () => {
      const one = pipes.start();
      const two = pipes.start();
      const first = reader(0).waitFor(one.reference);
      await untilHolder(0, first);
      const missed = injection.hold('ringLockMissed', { owner: reader(1).slot, times: 1 });
      const second = reader(1).waitFor(two.reference);
      await missed.arrived();
      one.finish();
      await first;
      missed.release();
      await untilHolder(1, second);
      two.finish();
      await second;
      assertOver(one, two);
    });

    it('a woken waiter that needs the ring no more passes the wake on', async () => {
      const reads = [pipes.start(), pipes.start(), pipes.start()] as const;
      const first = reader(0).waitFor(reads[0].reference);
      await untilHolder(0, first);
      const second = await untilAsleep(1, reads[1]);
      const third = await untilAsleep(2, reads[2]);
      const taken = injection.hold('ringTaken', { owner: reader(0).slot, times: 1 });
      reads[0].finish();
      await taken.arrived();
      reads[1].finish(); // complete before the holder unlocks: it wakes the second, and takes this as well
      taken.release();
      await Promise.all([first, second.waiting]);
      await untilHolder(2, third.waiting);
      reads[2].finish();
      await third.waiting;
      assertOver(...reads);
    });

    it('the owner’s loop resumes though another has the lock, and the other way round', async () => {
      const { aio } = rig.backend;
      const one = pipes.start();
      const two = pipes.start();
      const first = reader(0).waitFor(one.reference);
      await untilHolder(0, first);
      const own = aio.waits.until(() => aio.waitForReference(two.reference));
      two.finish();
      await own;
      assert.equal(two.result.value, 8);
      one.finish();
      await first;
      assertOver(one);
    });

    for (const how of ['awaits', 'blocks'] as const) {
      it(`F-01: who ${how} gets the I/O of a thread that computes without a pause`, async () => {
        const owner = await BusyOwner.start(rig.instance.handle, rig.data.path);
        const { aio } = rig.backend;
        const waiting =
          how === 'blocks'
            ? reader(0).waitFor(owner.reference)
            : aio.waits.until(() => aio.waitForReference(owner.reference));
        owner.finishRead();
        await waiting;
        await owner.end();
      });
    }

    it('processes that are started meanwhile disturb no I/O', async () => {
      const reads = Array.from({ length: 20 }, () => pipes.start());
      execFileSync(process.execPath, ['--version']);
      for (const read of reads) read.finish();
      execFileSync(process.execPath, ['--version']);
      const { aio } = rig.backend;
      for (const { reference } of reads) await aio.waits.until(() => aio.waitForReference(reference));
      assertOver(...reads);
    });

    it('a holder that dies in the kernel: the lock is freed, and who slept goes on', async () => {
      const casualty = await ring.startCasualty(KERNEL_SLICE_MILLIS);
      const one = pipes.start();
      const two = pipes.start();
      const first = casualty.waitFor(one.reference);
      await untilTrue(() => rings.holder(0) === casualty.slot, first);
      const second = await untilAsleep(0, two);
      await casualty.terminate();
      await untilHolder(0, second.waiting);
      two.finish();
      await second.waiting;
      one.finish();
      rig.backend.aio.waitForBlocking(one.reference.index, one.reference.generation);
      assertOver(one, two);
      await untilBackends(rig.instance, 1 + READERS);
    });

    it('a holder that dies with completions in hand: the next one finds them again', async () => {
      const casualty = await ring.startCasualty();
      const one = pipes.start();
      const two = pipes.start();
      const first = casualty.waitFor(one.reference);
      await untilTrue(() => rings.holder(0) === casualty.slot, first);
      const second = await untilAsleep(0, two);
      const taken = injection.hold('ringTaken', { owner: casualty.slot, times: 1 });
      one.finish();
      await taken.arrived();
      two.finish();
      await casualty.terminate();
      await second.waiting;
      const { aio } = rig.backend;
      await aio.waits.until(() => aio.waitForReference(one.reference));
      assertOver(one, two);
      await untilBackends(rig.instance, 1 + READERS);
    });

    it('a waiter that dies after it was woken, before it took the lock: others go on', async () => {
      const casualty = await ring.startCasualty();
      const reads = [pipes.start(), pipes.start(), pipes.start()] as const;
      const first = reader(0).waitFor(reads[0].reference);
      await untilHolder(0, first);
      const missed = injection.hold('ringLockMissed', { owner: casualty.slot, times: 1 });
      void casualty.waitFor(reads[1].reference);
      await missed.arrived();
      injection.disarm('ringLockMissed');
      const third = await untilAsleep(1, reads[2]);
      reads[0].finish();
      await first;
      await casualty.terminate();
      await untilHolder(1, third.waiting);
      for (const read of reads.slice(1)) read.finish();
      await third.waiting;
      const { aio } = rig.backend;
      await aio.waits.until(() => aio.waitForReference(reads[1].reference));
      assertOver(...reads);
      await untilBackends(rig.instance, 1 + READERS);
    });

    it('what its owner wants no more ends without having been carried out, whoever takes it', async () => {
      const { aio } = rig.backend;
      const undo = alwaysPunt(rig.backend);
      const { reads } = rig.backend.counters();
      try {
        for (const byOther of [true, false]) {
          const dropped = pipes.start();
          const other = pipes.start();
          const { index, generation } = dropped.reference;
          const waiting = byOther ? reader(0).waitFor(dropped.reference) : Promise.resolve();
          if (byOther) await untilHolder(0, waiting);
          aio.cancel(index, generation);
          await waiting;
          await aio.waits.until(() => aio.waitForReference(dropped.reference));
          assert.deepEqual(
            [dropped.result.status, dropped.result.errorData],
            [ResultStatus.ERROR, ECANCELED],
          );
          aio.cancel(index, generation); // over: it names nothing any more
          other.finish();
          await aio.waits.until(() => aio.waitForReference(other.reference));
          assert.equal(other.result.value, 8);
        }
        assert.equal(rig.backend.counters().reads - reads, 2, 'they count as no I/O');
      } finally {
        undo();
      }
    });

    it('D-84: with more completions than are taken at once, each handle gets its own result', async () => {
      const reads = Array.from({ length: 60 }, () => pipes.start());
      const last = reads.at(-1) as PipeRead;
      const waiting = reader(0).waitFor(last.reference);
      await untilHolder(0, waiting);
      for (const read of reads) read.finish();
      await waiting;
      const { aio } = rig.backend;
      for (const { reference, result } of reads) {
        await aio.waits.until(() => aio.waitForReference(reference));
        assert.equal(result.value, 8);
      }
    });
  });
}
