/**
 * Backends whose threads end with I/O on their private memory: the instance goes on, nothing of it is run by
 * anybody else, and the memory is there as long as the kernel writes into it.
 */
import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { Casualty } from '../../testing/casualty.js';
import { privateScenes } from '../../testing/casualty-scenes.js';
import { forEachMethod, openRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { untilBackends } from '../../testing/turns.js';

const BLOCKS = 20;
/** Threads that come and go meanwhile: one that nothing holds would have ended long before. */
const OTHERS = 3;
const IN_KERNEL = 'with private reads in the kernel’s hands';
/** Those that are about private memory only, and those of any I/O. */
const casualties = [
  ...Object.keys(privateScenes).filter((scene) => scene !== IN_KERNEL),
  'with claims and no I/O',
  'with an I/O defined',
  'after staging, before it says so',
  'with a batch open',
  'before it runs its own I/O',
  'before it says what the kernel answered',
  'before it completes its own I/O',
  'before it wakes who waits',
  'before it reclaims a handle',
  'after it reclaimed, before the handle is idle',
];
/** How many reads there are, none of which is the kernel's yet. */
const neverTaken = [
  ['with a batch open', 1],
  ['before the kernel can see its entries', 2],
  ['before the kernel is told of its entries', 2],
] as const;

forEachMethod((ioMethod) => {
  if (ioMethod === 'sync') return; // as with worker: private I/O runs in its issuer
  let rig: Rig;
  let relation = 100;

  before(async () => {
    rig = await openRig({ ioMethod, maxBackends: casualties.length + 1 });
  });
  after(async () => rig.close());

  /** A thread with a private relation of its own, held in the scene. */
  function start(scene: string): Promise<Casualty> {
    return Casualty.start({
      scene,
      handle: rig.instance.handle,
      dataDirectory: rig.data.path,
      locator: rig.data.write(++relation, BLOCKS),
      isPrivate: true,
      ioHandle: 0,
    });
  }

  async function checkGivenBack(lost: number, count: number): Promise<void> {
    const { backend, instance } = rig;
    await untilBackends(instance, 1);
    assert.equal(backend.counters().backendsLost - lost, count);
    assert.deepEqual(backend.inFlight(), []);
    assert.equal(backend.parts.files.entriesInUse, 0);
    assert.deepEqual(leaksOf(instance.handle, 1), []);
  }

  it('threads end at each place of their private I/O', async () => {
    const { backendsLost } = rig.backend.counters();
    const held = await Promise.all(casualties.map(start));
    await Promise.all(held.map((casualty) => casualty.end()));
    await checkGivenBack(backendsLost, casualties.length);
  });

  if (ioMethod !== 'io_uring') return;

  for (const [scene, count] of neverTaken) {
    it(`what the kernel never took is never carried out: a thread ends ${scene}`, async () => {
      const { backendsLost, reads, ioErrors, readBytes } = rig.backend.counters();
      const casualty = await start(scene);
      await casualty.end();
      await checkGivenBack(backendsLost, 1);
      const now = rig.backend.counters();
      assert.deepEqual(
        [now.reads - reads, now.ioErrors - ioErrors],
        [count, count],
        'they ended as ECANCELED',
      );
      assert.equal(now.readBytes, readBytes);
    });
  }

  it('a thread that ends with private reads in the kernel’s hands ends when those are over', async () => {
    const { backendsLost } = rig.backend.counters();
    const casualty = await start(IN_KERNEL);
    let ended = false;
    const ending = casualty.end().then(() => {
      ended = true;
    });
    for (let round = 0; round < OTHERS; round++) await (await start('idle')).end(); // these end
    const early = ended;
    assert.equal(rig.backend.inFlight().filter(({ referencesLocal }) => referencesLocal).length, 3);
    const pipes = readdirSync(rig.data.path).filter((name) => name.startsWith('pipe-'));
    for (const pipe of pipes) writeFileSync(join(rig.data.path, pipe), Buffer.alloc(8));
    await ending;
    assert.ok(!early, 'its memory would have gone');
    await checkGivenBack(backendsLost, OTHERS + 1);
  });
});
