/**
 * D-80: backends whose threads end between the move to SUBMITTED and the kernel's taking the entry. Nobody
 * carries such I/O: it is done again for those who wait, and the slot's next owner finds an empty ring.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { IoHandle } from '../../src/aio/handle.js';
import { Ring } from '../../src/aio/method/io-uring/ring.js';
import { Rings } from '../../src/aio/method/io-uring/rings.js';
import { HandleState } from '../../src/aio/states.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { BlockedReader } from '../../testing/blocked-reader.js';
import { BlockReads } from '../../testing/block-reads.js';
import { Casualty } from '../../testing/casualty.js';
import { Injection } from '../../testing/injection.js';
import { openRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { theAddon } from '../../testing/native-ring.js';
import type { DataDirectory } from '../../testing/relations.js';
import { ringScenes } from '../../testing/ring-scenes.js';
import { untilBackends } from '../../testing/turns.js';

type Locator = ReturnType<DataDirectory['write']>;

const BLOCKS = 20;
const SURVIVORS = 2;
const TAKEN_IN_PART = 'after the kernel took one of its two entries';
/** Of how many of the scene's two reads the kernel knew. */
const taken = (scene: string): number => (scene === TAKEN_IN_PART ? 1 : 0);
const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

for (const ioUringMemory of ['own', 'mapped'] as const) {
  describe(`io_uring, ring in ${ioUringMemory} memory`, { skip: missing }, () => {
    const injection = new Injection();
    let rig: Rig;
    let reader: BlockedReader;
    /** Of the slot that every casualty has. */
    let ring: Ring;
    let relation = 100;

    before(async () => {
      rig = await openRig({
        ioMethod: 'io_uring',
        ioUringMemory,
        ioMaxConcurrency: 8,
        injection: injection.url,
      });
      const { slots, plan } = rig.backend.parts.memory;
      reader = await BlockedReader.start(rig.instance.handle);
      ring = new Ring(theAddon(), new Rings(slots, plan.rings), reader.slot + 1);
    });
    after(async () => {
      await reader.close();
      await rig.close();
    });

    const start = (scene: string, locator: Locator): Promise<Casualty> =>
      Casualty.start({
        scene,
        handle: rig.instance.handle,
        dataDirectory: rig.data.path,
        locator,
        ioHandle: 0,
      });

    const write = (): Locator => rig.data.write(++relation, BLOCKS);

    /** The casualty's two reads, joined by this thread. */
    async function join(blocks: BlockReads): Promise<(() => Promise<void>)[]> {
      const joined = [await blocks.startAll(3, 4), await blocks.startAll(9, 4)];
      const whose = joined.flatMap(({ operations }) => operations.map(({ io }) => io));
      assert.ok(whose.every((io) => io === 'foreign'));
      return joined.map(({ finish }) => finish);
    }

    /** The next owner of the slot, on the same ring, submits its own read and nothing old. */
    async function checkNextOwner(): Promise<void> {
      const { backend, instance } = rig;
      const { reads } = backend.counters();
      const tail = ring.completionTail;
      const next = await start('with pins', write());
      assert.equal(next.backend, ring.index);
      assert.equal(backend.counters().reads - reads, 1);
      assert.equal(ring.completionTail - tail, 1);
      await next.end();
      await untilBackends(instance, SURVIVORS);
    }

    for (const scene of Object.keys(ringScenes)) {
      it(`D-80: a thread ends ${scene}`, async () => {
        const { backend, instance } = rig;
        const locator = write();
        const { reads } = backend.counters();
        const tail = ring.completionTail;
        const casualty = await start(scene, locator);
        assert.equal(casualty.backend, ring.index);
        const blocks = new BlockReads(backend, rig.data.path, locator);
        const joined = await join(blocks);
        await casualty.end();
        for (const finish of joined) await finish();
        await untilBackends(instance, SURVIVORS);
        assert.equal(backend.counters().reads - reads, 2, 'each was carried out once');
        assert.deepEqual(leaksOf(instance.handle, SURVIVORS), []);
        assert.equal(ring.completionTail - tail, taken(scene));

        await checkNextOwner();
        backend.closeRelation(blocks.relation);
      });
    }

    it('D-80: what another is taking from the ring just then is left to it', async () => {
      const { backend, instance } = rig;
      const locator = write();
      const { reads } = backend.counters();
      const casualty = await start(TAKEN_IN_PART, locator);
      const blocks = new BlockReads(backend, rig.data.path, locator);
      const { table } = backend.aio.thread;
      const { perBackend } = table.region;
      const carried = Array.from({ length: perBackend }, (_, at) =>
        table.handle(ring.index * perBackend + at),
      );
      const first = carried.find(
        (io) => io.state === HandleState.SUBMITTED && ring.wasTaken(io.ringPosition),
      ) as IoHandle;
      const taking = injection.hold('ringTaken', { owner: reader.slot, times: 1 });
      const waiting = reader.waitFor({ index: first.index, generation: first.generation });
      await taking.arrived();
      const [finishFirst, finishSecond] = (await join(blocks)) as [() => Promise<void>, () => Promise<void>];
      await casualty.end();
      await finishSecond(); // carried out by the supervisor, which has seen to the ring before
      assert.equal(first.state, HandleState.COMPLETED_IO);
      taking.release();
      await waiting;
      await finishFirst();
      await untilBackends(instance, SURVIVORS);
      assert.equal(backend.counters().reads - reads, 2);
      assert.deepEqual(leaksOf(instance.handle, SURVIVORS), []);
      await checkNextOwner();
      backend.closeRelation(blocks.relation);
    });
  });
}
