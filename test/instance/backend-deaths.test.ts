/** Backends whose threads are ended at each place where a thread can end: the instance goes on, with nothing lost. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Casualty, type CasualtyInput } from '../../testing/casualty.js';
import { scenes, workerScenes } from '../../testing/casualty-scenes.js';
import { BlockReads } from '../../testing/block-reads.js';
import { Injection } from '../../testing/injection.js';
import { forEachVariant, openRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { untilBackends } from '../../testing/turns.js';
import { untilWorkers } from '../../testing/worker-pool.js';

const BLOCKS = 20;

forEachVariant((variant) => {
  const { ioMethod, ioMaxConcurrency, ioUringMemory } = variant;
  if (ioMaxConcurrency === 4) return; // nothing is different from both others
  // How many handles there are, and where a ring's memory is, matters to what has to do with I/O.
  const only =
    ioMaxConcurrency === 1 || ioUringMemory === 'mapped' ? /handle|I\/O|stag|batch|reclaim|complet/ : /./;
  const injection = new Injection();
  let rig: Rig;
  let relation = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url, maxFilesPerProcess: 200 });
  });
  after(async () => rig.close());

  const fresh = (): Omit<CasualtyInput, 'scene'> => ({
    handle: rig.instance.handle,
    dataDirectory: rig.data.path,
    locator: rig.data.write(++relation, BLOCKS),
    ioHandle: 0,
  });

  const readers: BlockReads[] = [];
  function reader(locator: CasualtyInput['locator']): BlockReads {
    const blocks = new BlockReads(rig.backend, rig.data.path, locator);
    readers.push(blocks);
    return blocks;
  }

  /** Everything can be read, and every buffer be used for it. */
  async function checkInstance(locator: CasualtyInput['locator']): Promise<void> {
    const { backend, instance } = rig;
    const blocks = reader(locator);
    await blocks.read(0, BLOCKS);
    const { pool } = backend.buffers;
    await backend.scope((scope) => {
      const { count } = pool.region;
      for (let block = 0; block < count; block++) pool.pinBlock(blocks.reader.tag, 5000 + block, scope);
      for (let buffer = 0; buffer < count; buffer++) pool.unpin(buffer, scope);
    });
    for (const one of readers.splice(0)) backend.closeRelation(one.relation);
    assert.deepEqual(backend.inFlight(), []);
    assert.equal(backend.parts.files.entriesInUse, 0);
    assert.deepEqual(leaksOf(instance.handle, 1), []);
  }

  for (const scene of Object.keys(scenes).filter((name) => only.test(name))) {
    it(`a thread ends ${scene}`, async () => {
      const input = fresh();
      const lost = rig.backend.counters().backendsLost;
      const casualty = await Casualty.start({ ...input, scene });
      const waiting = reader(input.locator).startAll(0, BLOCKS);
      await casualty.end();
      await (await waiting).finish();
      await untilBackends(rig.instance, 1);
      assert.equal(rig.backend.counters().backendsLost - lost, 1);
      await checkInstance(input.locator);
    });
  }

  if (ioMethod !== 'worker') return;

  describe('with workers', () => {
    // Without one, the issuer carries out its I/O itself; tests may end one or two.
    beforeEach(async () => {
      await untilWorkers(rig.instance, ({ running }) => running >= 2);
    });

    it('a thread ends with an I/O in a worker’s hands: its slot waits for that', async () => {
      const input = fresh();
      const hold = injection.hold('workerAfterReopen', { owner: 1 });
      const casualty = await Casualty.start({ ...input, scene: 'with an I/O submitted' });
      await hold.arrived();
      await casualty.end();
      const reading = reader(input.locator).read(0, BLOCKS);
      await untilBackends(rig.instance, 1, 'attached');
      assert.equal(
        rig.backend.inFlight().some(({ owner }) => owner === 1),
        true,
      );
      hold.release();
      await reading;
      await untilBackends(rig.instance, 1);
      await checkInstance(input.locator);
    });

    it('a thread ends, then the worker that has its I/O, twice: it fails for nobody but the dead', async () => {
      const input = fresh();
      const hold = injection.hold('workerAfterReopen', { owner: 1, times: 2 });
      const casualty = await Casualty.start({ ...input, scene: 'with an I/O submitted' });
      let worker = await hold.arrived();
      await casualty.end();
      const reading = reader(input.locator).read(0, BLOCKS);
      rig.instance.terminateWorker(worker);
      worker = await hold.arrived(2);
      rig.instance.terminateWorker(worker);
      await reading;
      await untilBackends(rig.instance, 1);
      hold.release();
      await checkInstance(input.locator);
    });

    for (const scene of ['before it hands an I/O to the queue', 'before it wakes a worker'] as const) {
      it(`a thread ends ${scene}`, async () => {
        const input = fresh();
        const casualty = await Casualty.start({ ...input, scene });
        const reading = reader(input.locator).read(0, BLOCKS);
        await casualty.end();
        await reading;
        await untilBackends(rig.instance, 1);
        await checkInstance(input.locator);
      });
    }

    for (const scene of Object.keys(workerScenes).filter((name) => name.includes('another'))) {
      it(`a thread ends ${scene}`, async () => {
        const input = fresh();
        const hold = injection.hold('workerDequeued', { owner: 0, times: 1 });
        const blocks = reader(input.locator);
        const op = blocks.start(3, 4);
        const finished = blocks.finish(op);
        await hold.arrived();
        const casualty = await Casualty.start({ ...input, scene, ioHandle: op.ioHandle });
        await casualty.end();
        await finished;
        hold.release();
        await untilBackends(rig.instance, 1);
        await checkInstance(input.locator);
      });
    }
  });
});
