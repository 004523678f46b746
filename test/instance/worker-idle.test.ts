/** Row D-77 of the contract: when an I/O worker leaves, by a clock that the test moves. */
import assert from 'node:assert/strict';
import { afterEach, it, mock } from 'node:test';
import { WorkerControl, type WorkerLimits } from '../../src/aio/method/worker/control.js';
import { WorkerLoop } from '../../src/aio/method/worker/loop.js';
import { Backend } from '../../src/instance/backend.js';
import { createSharedState } from '../../src/instance/instance.js';
import { OwnLatch } from '../../src/shmem/latch.js';

afterEach(() => mock.restoreAll());

const LIMITS: WorkerLimits = { minWorkers: 1, maxWorkers: 4, idleTimeout: 1000, launchInterval: 0 };

/**
 * What worker `number` of `count` does with nothing to do: how long it means to sleep each time, and how many workers
 * are left when it leaves. A sleep ends with what is next in `events`; behind the last the pool stops.
 */
async function idle(
  { number, count }: { number: number; count: number },
  limits: WorkerLimits,
  events: ((clock: { now: number }, control: WorkerControl) => void)[],
): Promise<{ sleeps: number[]; left: number }> {
  const { handle, loaded, log } = await createSharedState({
    ioMethod: 'worker',
    maxBackends: 2,
    sharedBuffers: '128kB',
  });
  const backend = new Backend(handle, loaded, log);
  const { slots, plan } = backend.parts.memory;
  const control = new WorkerControl(slots, plan.workers);
  for (let worker = 0; worker < count; worker++) control.tryChangeCount(worker, worker + 1);
  control.setLimits(limits);
  const clock = { now: 5000 };
  const sleeps: number[] = [];
  mock.method(performance, 'now', () => clock.now);
  mock.method(OwnLatch.prototype, 'sleep', (_seen: number, millis: number) => {
    sleeps.push(millis);
    const event = events.shift();
    if (event === undefined) control.requestStop();
    else event(clock, control);
    return true;
  });
  new WorkerLoop(backend.parts.thread, control, number).run();
  mock.restoreAll();
  await backend.close();
  return { sleeps, left: control.count };
}

const after =
  (millis: number) =>
  (clock: { now: number }): void => {
    clock.now += millis;
  };

it('D-77: the highest number leaves once it was idle for so long', async () => {
  const { sleeps, left } = await idle({ number: 2, count: 3 }, LIMITS, [after(400), after(599), after(1)]);
  assert.deepEqual(sleeps, [1000, 600, 1]);
  assert.equal(left, 2);
});

it('D-77: a lower number stays, so that numbers have no gap, and looks again when the highest has left', async () => {
  const { sleeps, left } = await idle({ number: 1, count: 3 }, LIMITS, [
    after(5000),
    (_clock, control) => void control.tryChangeCount(3, 2),
    after(1000),
  ]);
  // By then it has been idle for long enough.
  assert.deepEqual(sleeps, [Infinity, Infinity]);
  assert.equal(left, 1);
});

it('D-77: the minimum stays', async () => {
  const { sleeps, left } = await idle({ number: 1, count: 2 }, { ...LIMITS, minWorkers: 2 }, [after(5000)]);
  assert.deepEqual(sleeps, [Infinity, Infinity]);
  assert.equal(left, 2);
});

it('D-77: with a time-out of -1 nobody leaves', async () => {
  const { sleeps, left } = await idle({ number: 2, count: 3 }, { ...LIMITS, idleTimeout: -1 }, [after(1e9)]);
  assert.deepEqual(sleeps, [Infinity, Infinity]);
  assert.equal(left, 3);
});

it('D-77: another time-out starts the clock again', async () => {
  const { sleeps, left } = await idle({ number: 2, count: 3 }, LIMITS, [
    after(900),
    (clock, control) => {
      clock.now += 50;
      control.setLimits({ ...LIMITS, idleTimeout: 300 });
    },
    after(299),
    after(1),
  ]);
  assert.deepEqual(sleeps, [1000, 100, 300, 1]);
  assert.equal(left, 2);
});
