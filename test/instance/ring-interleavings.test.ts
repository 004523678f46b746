/**
 * Rows D-80, D-81, F-01: two waiters and an owner, each held between two of the steps that rings.ts draws, while
 * the others go on.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import type { IoHandle } from '../../src/aio/handle.js';
import { Ring } from '../../src/aio/method/io-uring/ring.js';
import { HandleState } from '../../src/aio/states.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { hasJoined } from '../../src/shmem/condition.js';
import { BlockedReader } from '../../testing/blocked-reader.js';
import { BusyOwner } from '../../testing/busy-owner.js';
import type { PipeRead } from '../../testing/pipe-reads.js';
import { READERS, RingRig } from '../../testing/ring-rig.js';
import { untilBackends, untilTrue } from '../../testing/turns.js';

const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

for (const ioUringMemory of ['own', 'mapped'] as const) {
  describe(`io_uring, ring in ${ioUringMemory} memory`, { skip: missing }, () => {
    let ring: RingRig;

    before(async () => {
      ring = await RingRig.open(ioUringMemory);
    });
    afterEach(() => {
      for (const point of ['ringUnlocked', 'ringWoken', 'ownerBeforeEnter'] as const)
        ring.injection.disarm(point);
      assert.equal(ring.rings.holder(0), -1, 'nobody has kept the completion lock');
    });
    after(async () => ring.close());

    const stateOf = ({ reference }: PipeRead): HandleState =>
      ring.rig.backend.aio.thread.table.handle(reference.index).state;

    /** The only I/O of a backend in this state. */
    function handleIn(state: HandleState, owner: number): IoHandle {
      const { table } = ring.rig.backend.aio.thread;
      const { perBackend } = table.region;
      const all = Array.from({ length: perBackend }, (_, at) => table.handle(owner * perBackend + at));
      const [found, ...others] = all.filter((io) => io.state === state);
      assert.ok(found !== undefined && others.length === 0);
      return found;
    }

    it('D-80: an owner held before the kernel takes its entries: who waits for them gets them after it', async () => {
      const { rig, injection } = ring;
      const slot = 1 + READERS;
      const entering = injection.hold('ownerBeforeEnter', { owner: slot, times: 1 });
      const starting = BusyOwner.start(rig.instance.handle, rig.data.path);
      await entering.arrived();
      const { index, generation } = handleIn(HandleState.SUBMITTED, slot);
      const reference = { index, generation };
      const blocked = ring.reader(0).waitFor(reference);
      await ring.untilHolder(ring.reader(0), blocked, slot); // in the kernel, which has nothing of this ring's
      const { aio } = rig.backend;
      const awaited = aio.waits.until(() => aio.waitForReference(reference));
      entering.release();
      const owner = await starting;
      owner.finishRead();
      await Promise.all([blocked, awaited]);
      await owner.end();
      await untilBackends(rig.instance, 1 + READERS);
    });

    it('D-80: who saw an I/O between its executor and the ring sleeps on its latch, and then comes to the ring', async (t) => {
      const { rig } = ring;
      const { slots } = rig.backend.parts.memory;
      let waiting = Promise.resolve();
      const position = t.mock.getter(Ring.prototype, 'nextPosition', function (this: Ring) {
        position.mock.restore();
        const io = handleIn(HandleState.STAGED, 0);
        assert.equal(io.executor, 0);
        const { slot } = ring.reader(0);
        waiting = ring.reader(0).waitFor({ index: io.index, generation: io.generation });
        while (!hasJoined(slots, io.waitersCondition, slot));
        return this.nextPosition;
      });
      const read = ring.pipes.start();
      await ring.untilHolder(ring.reader(0), waiting);
      read.finish();
      await waiting;
      ring.assertOver(read);
    });

    it('D-80: held after it unlocked, with a result in hand: another holder comes and goes meanwhile', async () => {
      const [one, two] = [ring.pipes.start(), ring.pipes.start()];
      const first = ring.reader(0).waitFor(one.reference);
      await ring.untilHolder(ring.reader(0), first);
      const unlocked = ring.injection.hold('ringUnlocked', { owner: ring.reader(0).slot, times: 1 });
      one.finish();
      await unlocked.arrived();
      const second = ring.reader(1).waitFor(two.reference);
      await ring.untilHolder(ring.reader(1), second);
      two.finish();
      await second;
      ring.assertOver(two);
      assert.equal(stateOf(one), HandleState.COMPLETED_IO);
      unlocked.release();
      await first;
      ring.assertOver(one);
    });

    it('D-81: held after it unlocked, with the result that others want: they wait for its callbacks', async () => {
      const read = ring.pipes.start();
      const first = ring.reader(0).waitFor(read.reference);
      await ring.untilHolder(ring.reader(0), first);
      const second = await ring.untilAsleep(ring.reader(1), read);
      const unlocked = ring.injection.hold('ringUnlocked', { owner: ring.reader(0).slot, times: 1 });
      read.finish();
      await unlocked.arrived();
      const third = ring.reader(2).waitFor(read.reference);
      const io = handleIn(HandleState.COMPLETED_IO, 0);
      const { slots } = ring.rig.backend.parts.memory;
      for (const { slot } of [ring.reader(1), ring.reader(2)])
        await untilTrue(() => hasJoined(slots, io.waitersCondition, slot));
      unlocked.release();
      await Promise.all([first, second.waiting, third]);
      ring.assertOver(read);
    });

    it('D-80: a holder that dies after it unlocked: what it had in hand comes to its end all the same', async () => {
      const casualty = await ring.startCasualty();
      const [one, two] = [ring.pipes.start(), ring.pipes.start()];
      const first = casualty.waitFor(one.reference);
      await ring.untilHolder(casualty, first);
      const second = await ring.untilAsleep(ring.reader(0), one);
      const third = await ring.untilAsleep(ring.reader(1), two);
      const unlocked = ring.injection.hold('ringUnlocked', { owner: casualty.slot, times: 1 });
      one.finish();
      await unlocked.arrived();
      assert.equal(stateOf(one), HandleState.COMPLETED_IO);
      await casualty.terminate();
      await second.waiting;
      ring.assertOver(one);
      two.finish();
      await third.waiting;
      ring.assertOver(two);
      await untilBackends(ring.rig.instance, 1 + READERS);
    });

    it('held after it was woken: who comes meanwhile takes the lock, and its I/O with its own', async () => {
      const reads = [ring.pipes.start(), ring.pipes.start(), ring.pipes.start()] as const;
      const first = ring.reader(0).waitFor(reads[0].reference);
      await ring.untilHolder(ring.reader(0), first);
      const second = await ring.untilAsleep(ring.reader(1), reads[1]);
      const woken = ring.injection.hold('ringWoken', { owner: ring.reader(1).slot, times: 1 });
      reads[0].finish();
      await Promise.all([woken.arrived(), first]);
      const third = ring.reader(2).waitFor(reads[2].reference);
      await ring.untilHolder(ring.reader(2), third);
      const taken = ring.injection.hold('ringUnlocked', { owner: ring.reader(2).slot, times: 1 });
      reads[1].finish();
      await taken.arrived();
      taken.release();
      await ring.untilHolder(ring.reader(2), third);
      assert.equal(stateOf(reads[1]), HandleState.COMPLETED_SHARED);
      woken.release();
      await second.waiting;
      reads[2].finish();
      await third;
      ring.assertOver(...reads);
    });

    it('held after it was woken, while its I/O is completed: the wake goes to who sleeps behind it', async () => {
      const reads = [ring.pipes.start(), ring.pipes.start(), ring.pipes.start()] as const;
      const first = ring.reader(0).waitFor(reads[0].reference);
      await ring.untilHolder(ring.reader(0), first);
      const second = await ring.untilAsleep(ring.reader(1), reads[1]);
      const third = await ring.untilAsleep(ring.reader(2), reads[2]);
      const woken = ring.injection.hold('ringWoken', { owner: ring.reader(1).slot, times: 1 });
      reads[0].finish();
      await Promise.all([woken.arrived(), first]);
      reads[1].finish();
      const { index, generation } = reads[1].reference;
      ring.rig.backend.aio.waitForBlocking(index, generation); // who unlocks wakes the one that is held, once more
      assert.equal(ring.rings.holder(0), -1, 'who waits for the third still sleeps');
      woken.release();
      await second.waiting;
      await ring.untilHolder(ring.reader(2), third.waiting);
      reads[2].finish();
      await third.waiting;
      ring.assertOver(reads[0], reads[2]);
    });

    it('a waiter that dies with the wake in hand: who sleeps behind it takes the lock', async () => {
      const casualty = await ring.startCasualty();
      const later = await BlockedReader.start(ring.rig.instance.handle); // of those who sleep, the lowest slot is woken
      const reads = [ring.pipes.start(), ring.pipes.start(), ring.pipes.start()] as const;
      const first = ring.reader(0).waitFor(reads[0].reference);
      await ring.untilHolder(ring.reader(0), first);
      const woken = ring.injection.hold('ringWoken', { owner: casualty.slot, times: 1 });
      await ring.untilAsleep(casualty, reads[1]);
      const second = await ring.untilAsleep(later, reads[2]);
      reads[0].finish();
      await Promise.all([woken.arrived(), first]);
      await casualty.terminate();
      await ring.untilHolder(later, second.waiting);
      for (const read of reads.slice(1)) read.finish();
      await second.waiting;
      const { aio } = ring.rig.backend;
      await aio.waits.until(() => aio.waitForReference(reads[1].reference));
      ring.assertOver(...reads);
      await later.close();
      await untilBackends(ring.rig.instance, 1 + READERS);
    });
  });
}
