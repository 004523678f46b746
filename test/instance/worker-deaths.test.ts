/** I/O workers that die at each named point: no I/O is lost, none is carried out twice without need. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Backend } from '../../src/instance/backend.js';
import { DescriptorBudget } from '../../src/vfd/budget.js';
import { BlockReads } from '../../testing/block-reads.js';
import { Injection, points, type Point } from '../../testing/injection.js';
import { openRig, type Rig } from '../../testing/instances.js';
import { untilWorkers } from '../../testing/worker-pool.js';

/** How often the kernel was asked for the I/O: before the death, and after it. */
const physicalReads: Partial<Record<Point, number>> = {
  workerDequeued: 1,
  workerBeforeReopen: 1,
  workerAfterReopen: 1,
  beforeSharedCompletion: 2,
  afterSharedCompletion: 1,
};
/** Where the I/O is its executor's, so that a second death is blamed on it. */
const blamed: readonly Point[] = ['workerBeforeReopen', 'workerAfterReopen', 'beforeSharedCompletion'];

describe('an I/O whose worker dies', () => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let relation = 100;

  before(async () => {
    rig = await openRig({ ioMinWorkers: 2, ioMaxWorkers: 2, injection: injection.url });
    backend = rig.backend;
  });
  after(async () => rig.close());

  const fresh = (): BlockReads => new BlockReads(backend, rig.data.path, rig.data.write(++relation, 20));

  async function kill(worker: number): Promise<void> {
    const lost = backend.counters().workersLost;
    rig.instance.terminateWorker(worker);
    await untilWorkers(rig.instance, ({ workersLost, running }) => workersLost === lost + 1 && running === 2);
  }

  for (const point of points.filter((name) => physicalReads[name] !== undefined)) {
    it(`at ${point} is ended by another`, async () => {
      const blocks = fresh();
      const { reads } = backend.counters();
      const hold = injection.hold(point, { times: 1 });
      const op = blocks.start(3, 4);
      const finished = blocks.finish(op);
      const [worker] = await Promise.all([hold.arrived()]);
      await kill(worker);
      await finished;
      hold.release();
      assert.equal(backend.counters().reads - reads, physicalReads[point]);
      assert.deepEqual(backend.inFlight(), []);
    });

    if (point === 'afterSharedCompletion') continue; // there it does not run again

    it(`at ${point}, twice, ${blamed.includes(point) ? 'fails' : 'is ended all the same'}`, async () => {
      const blocks = fresh();
      const hold = injection.hold(point, { times: 2 });
      const op = blocks.start(3, 4);
      const finished = blocks.finish(op);
      const outcome = finished.then(
        () => 'fine',
        (error: unknown) => (error as { code: string }).code,
      );
      for (let death = 1; death <= 2; death++) {
        const worker = await hold.arrived(death);
        await kill(worker);
      }
      assert.equal(await outcome, blamed.includes(point) ? 'ERR_PGAIO_READ_EIO' : 'fine');
      hold.release();
      await blocks.read(3, 4); // nothing is stuck
      assert.deepEqual(backend.inFlight(), []);
    });
  }

  it('blocks the thread that waits for it no longer than that', async () => {
    const blocks = fresh();
    const hold = injection.hold('workerAfterReopen', { times: 1 });
    const op = blocks.start(0, 2);
    await hold.arrived().then((worker) => rig.instance.terminateWorker(worker));
    await new Promise(setImmediate); // the message is on its way; from here on this thread is blocked
    backend.aio.waits.block(() => backend.buffers.wait(op));
    blocks.check(op);
    blocks.abandon(op);
    hold.release();
    await untilWorkers(rig.instance, ({ running }) => running === 2);
  });

  it('does not cost the pool its descriptors', async () => {
    const { words, plan, slots } = backend.parts.memory;
    const stock = (): number => new DescriptorBudget(words, plan.budget, slots.supervisorSlot).stock;
    const before = stock();
    const files = Array.from({ length: 6 }, fresh);
    for (const file of files) await file.read(0, 1);
    assert.ok(stock() < before, 'some thread has more open than is its due');
    await kill(0);
    await kill(1);
    for (const file of files) backend.closeRelation(file.relation);
    assert.equal(stock(), before);
  });
});
