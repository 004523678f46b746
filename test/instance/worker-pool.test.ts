/** Rows K-*, D-71, D-73, D-76, D-77, D-79, MA-01, MA-02, MA-05, MA-06 of the contract: methods, and the pool of workers. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { HandleFlag } from '../../src/aio/operation.js';
import { WorkerControl } from '../../src/aio/method/worker/control.js';
import { Backend } from '../../src/instance/backend.js';
import { createInstance, createSharedState } from '../../src/instance/instance.js';
import { supportedMethods } from '../../src/instance/methods.js';
import { Counters } from '../../src/stats/counters.js';
import { BlockReads } from '../../testing/block-reads.js';
import { Injection } from '../../testing/injection.js';
import { withRig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { byteAt, RawReads, writeSample } from '../../testing/raw-reads.js';
import { DataDirectory } from '../../testing/relations.js';
import { untilTrue } from '../../testing/turns.js';
import { poolState, untilWorkers } from '../../testing/worker-pool.js';

const noProc = process.platform === 'linux' ? false : 'only Linux tells such things of a process';
const HOUR = 3_600_000;

function controlOf({ parts: { memory } }: Backend): WorkerControl {
  return new WorkerControl(memory.slots, memory.plan.workers);
}

/** The system call's number. */
const FUTEX: Record<string, string> = { x64: '202', arm64: '98' };

describe('methods', () => {
  it('MA-01: sync and worker are always there; an unknown name is refused with the legal ones', async () => {
    assert.ok(supportedMethods().includes('sync') && supportedMethods().includes('worker'));
    await assert.rejects(createInstance({ ioMethod: 'posix_aio' as 'sync' }), {
      name: 'SettingError',
      hint: /auto, worker, io_uring, sync/,
    });
  });

  for (const ioMethod of supportedMethods()) {
    it(`MA-02: ${ioMethod} is what an instance that asked for it has`, async () => {
      await withRig({ ioMethod }, ({ instance, backend }) => {
        assert.equal(instance.settings.ioMethod, ioMethod);
        assert.equal(backend.aio.ops.name, ioMethod);
      });
    });

    it(`MA-05: ${ioMethod} works before there is any other thread`, async () => {
      using data = new DataDirectory();
      const { handle, loaded, log } = await createSharedState({
        ioMethod,
        maxBackends: 2,
        sharedBuffers: '1MB',
      });
      const backend = new Backend(handle, loaded, log);
      const blocks = new BlockReads(backend, data.path, data.write(100, 20));
      await blocks.read(0, 20);
      const file = backend.openRawFile(writeSample(data.path, 1000));
      assert.equal((await file.read(500, 10))[3], byteAt(503));
      if (ioMethod !== 'io_uring') assert.equal(backend.counters().submissions, 0);
      await backend.close();
      assert.deepEqual(leaksOf(handle), []);
    });

    it(`MA-06: ${ioMethod}: an instance that is closed at once closes`, async () => {
      const descriptors = (): number => readdirSync('/proc/self/fd').length;
      const before = noProc ? 0 : descriptors();
      const instance = await createInstance({ ioMethod });
      await instance.close();
      await instance.close();
      if (!noProc) assert.equal(descriptors(), before);
      assert.deepEqual(leaksOf(instance.handle), []);
      await assert.rejects(async () => instance.backend.openRawFile('/etc/hostname'), {
        code: 'ERR_PGAIO_CLOSED',
      });
    });
  }
});

describe('the pool of workers', () => {
  it('K-01, K-02: limits out of range are refused, and nothing changes', async () => {
    await withRig({ ioMinWorkers: 2 }, async ({ instance }) => {
      assert.throws(() => instance.setWorkerLimits({ ioMinWorkers: 0 }), {
        message: /^0 .*ioMinWorkers \(1 \.\. 32\)/,
      });
      assert.throws(() => instance.setWorkerLimits({ ioMaxWorkers: 33 }), { message: /^33 .*ioMaxWorkers/ });
      assert.throws(() => instance.setWorkerLimits({ ioWorkerIdleTimeout: -5 }), {
        message: /ioWorkerIdleTimeout/,
      });
      assert.equal(instance.workerCount, 2);
    });
  });

  it('an idle worker that may not leave sleeps without end', { skip: noProc }, async () => {
    const few = { ioMethod: 'worker', ioMinWorkers: 2, ioMaxWorkers: 4, ioWorkerIdleTimeout: 1 } as const;
    await withRig(few, async ({ instance, backend }) => {
      const { slots } = backend.parts.memory;
      // Once the time-out is over, a sleep that is bounded by it would be none.
      const sleepsForEver = (worker: number): boolean => {
        const { threadId } = slots.identity(slots.workerSlot(worker));
        const [call, ...words] = readFileSync(`/proc/self/task/${threadId}/syscall`, 'utf8').split(' ');
        return call === FUTEX[process.arch] && words[3] === '0x0'; // no time to wake up at
      };
      await untilWorkers(instance, ({ idle }) => idle === 2);
      await untilTrue(() => sleepsForEver(0) && sleepsForEver(1));
      instance.setWorkerLimits({ ioMinWorkers: 1 });
      await untilWorkers(instance, ({ running }) => running === 1);
      await untilTrue(() => sleepsForEver(0));
    });
  });

  it('K-03: a worker that dies is replaced, and reads work all the while', async () => {
    await withRig({ ioMinWorkers: 1, ioMaxWorkers: 1 }, async ({ instance, backend, data }) => {
      const blocks = new BlockReads(backend, data.path, data.write(100, 40));
      for (let death = 1; death <= 3; death++) {
        instance.terminateWorker(0);
        await blocks.read(death * 10, 10);
        await untilWorkers(instance, ({ workersLost, running }) => workersLost === death && running === 1);
      }
      assert.equal(instance.workerCount, 1);
    });
  });

  it('K-04 … K-06, D-77: the pool follows its limits up and down, and shrinks to the minimum when idle', async () => {
    await withRig(
      { ioMinWorkers: 1, ioMaxWorkers: 32, ioWorkerIdleTimeout: 0 },
      async ({ instance, backend, data }) => {
        for (const workers of [12, 32, 3, 7, 1]) {
          instance.setWorkerLimits({ ioMinWorkers: workers });
          const exactly = await untilWorkers(
            instance,
            ({ count, running }) => count === workers && running === workers,
          );
          assert.deepEqual([exactly.workersLost, exactly.isGapFree], [0, true]);
          await new BlockReads(backend, data.path, data.write(100 + workers, 10)).read(0, 10);
        }
      },
    );
  });

  it('D-78: lowering the maximum makes the highest numbers leave', async () => {
    await withRig({ ioMinWorkers: 5, ioMaxWorkers: 8 }, async ({ instance }) => {
      instance.setWorkerLimits({ ioMinWorkers: 1, ioMaxWorkers: 2 });
      const { workersLost, isGapFree } = await untilWorkers(
        instance,
        ({ count, running }) => count === 2 && running === 2,
      );
      assert.deepEqual([workersLost, isGapFree], [0, true]);
    });
  });

  it('D-76: grows under pressure, up to its maximum', async () => {
    const injection = new Injection();
    const options = { ioMinWorkers: 1, ioMaxWorkers: 4, ioWorkerLaunchInterval: 0, injection: injection.url };
    await withRig(options, async ({ instance, backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const hold = injection.hold('workerBeforeReopen');
      const references = backend.aio.batch(backend.rootScope, () =>
        Array.from({ length: 16 }, () => raw.start()),
      );
      await untilWorkers(instance, ({ running }) => running === 4);
      await hold.arrived(4);
      assert.equal(instance.workerCount, 4);
      hold.release();
      for (const reference of references) raw.wait(reference);
      raw.close();
    });
  });

  it('D-76: launches nothing before the interval is over, and then what pressure asks for', async () => {
    const injection = new Injection();
    const options = {
      ioMinWorkers: 1,
      ioMaxWorkers: 4,
      ioWorkerLaunchInterval: HOUR,
      injection: injection.url,
    };
    await withRig(options, async ({ instance, backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const hold = injection.hold('workerBeforeReopen');
      const references = backend.aio.batch(backend.rootScope, () =>
        Array.from({ length: 16 }, () => raw.start()),
      );
      await hold.arrived();
      const control = controlOf(backend);
      assert.ok(control.growthRequested);
      // What the minimum asks for is launched at once. That it is says that the request has been looked at, too.
      instance.setWorkerLimits({ ioMinWorkers: 2 });
      const { workersStarted } = await untilWorkers(instance, ({ running }) => running === 2);
      await hold.arrived(2);
      assert.deepEqual([workersStarted, control.count, control.growthRequested], [2, 2, true]);
      instance.setWorkerLimits({ ioWorkerLaunchInterval: 0 });
      await untilWorkers(instance, ({ running }) => running === 4);
      hold.release();
      for (const reference of references) raw.wait(reference);
      raw.close();
    });
  });

  it('D-76: a worker that finds nothing to do takes the request back', async () => {
    const injection = new Injection();
    const options = {
      ioMinWorkers: 1,
      ioMaxWorkers: 4,
      ioWorkerLaunchInterval: HOUR,
      injection: injection.url,
    };
    await withRig(options, async ({ instance, backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const hold = injection.hold('workerBeforeReopen');
      const references = backend.aio.batch(backend.rootScope, () =>
        Array.from({ length: 16 }, () => raw.start()),
      );
      await hold.arrived();
      const control = controlOf(backend);
      assert.ok(control.growthRequested);
      hold.release();
      for (const reference of references) raw.wait(reference);
      await untilWorkers(instance, ({ idle }) => idle === 1);
      assert.ok(!control.growthRequested);
      instance.setWorkerLimits({ ioMinWorkers: 2, ioWorkerLaunchInterval: 0 });
      const { workersStarted } = await untilWorkers(instance, ({ idle }) => idle === 2);
      assert.equal(workersStarted, 2);
      raw.close();
    });
  });

  it('D-71: a full queue makes the issuer do the rest itself', async () => {
    const injection = new Injection();
    const options = { ioMinWorkers: 1, ioMaxWorkers: 1, ioMaxConcurrency: 128, injection: injection.url };
    await withRig(options, async ({ backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const hold = injection.hold('workerBeforeReopen', { worker: 0, times: 1 });
      const references = backend.aio.batch(backend.rootScope, () =>
        Array.from({ length: 100 }, () => raw.start()),
      );
      await hold.arrived();
      const { inlineExecutions, submissions } = backend.counters();
      assert.equal(submissions + inlineExecutions, 100);
      assert.ok(
        submissions <= 66 && inlineExecutions >= 34,
        `${submissions} queued, ${inlineExecutions} inline`,
      );
      hold.release();
      for (const reference of references) raw.wait(reference);
      raw.close();
    });
  });

  it('D-73: I/O on the issuer’s own memory never reaches a worker', async () => {
    await withRig({}, async ({ backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const io = raw.acquire();
      io.setFlag(HandleFlag.REFERENCES_LOCAL);
      const reference = raw.startWith(io);
      assert.ok(raw.isDone(reference));
      assert.equal(backend.counters().submissions, 0);
      raw.wait(reference);
      raw.close();
    });
  });

  it('a waiter that finds no worker alive works itself', async () => {
    using data = new DataDirectory();
    const { handle, loaded, log } = await createSharedState({
      ioMethod: 'worker',
      maxBackends: 2,
      sharedBuffers: '1MB',
    });
    const [a, b] = [new Backend(handle, loaded, log), new Backend(handle, loaded, log)];
    const control = controlOf(a);
    const raw = new RawReads(a, data.path);
    for (const waiter of [a, b]) {
      control.markAlive(0); // so the issuer counts on it
      const references = Array.from({ length: 5 }, () => raw.start());
      a.parts.vfds.closeDescriptors(); // the issuer's own descriptor does not help
      control.markGone(0);
      for (const { index, generation } of references) waiter.aio.waitForBlocking(index, generation);
      assert.equal(control.queue.depth, 0);
    }
    a.aio.reclaimCompleted();
    raw.close();
    await a.close();
    await b.close();
    assert.deepEqual(leaksOf(handle), []);
  });

  it('a set-up that cannot work in the workers is reported to the creator, and leaves no thread', async () => {
    const source = `
      import { workerData } from 'node:worker_threads';
      if (workerData?.worker !== undefined) throw new Error('not in a worker');
      export const register = () => {};`;
    const module = `data:text/javascript,${encodeURIComponent(source)}`;
    await assert.rejects(createInstance({ ioMethod: 'worker', modules: [module], log: () => undefined }), {
      code: 'ERR_PGAIO_START',
      message: /not in a worker/,
    });
  });

  it('D-75: with light load only the worker with the lowest number works', async () => {
    await withRig({ ioMinWorkers: 3 }, async ({ instance, backend, data }) => {
      const raw = new RawReads(backend, data.path);
      for (let round = 0; round < 20; round++) {
        await untilWorkers(instance, ({ idle }) => idle === 3);
        raw.wait(raw.start());
      }
      const { words, slots, plan } = backend.parts.memory;
      const readsOf = (worker: number): number =>
        new Counters(words, plan.counters, slots.workerSlot(worker)).snapshot().reads;
      assert.deepEqual([0, 1, 2].map(readsOf), [20, 0, 0]);
      raw.close();
    });
  });

  it('stays as it is when nothing is asked of it', async () => {
    await withRig({ ioMinWorkers: 3 }, async ({ instance }) => {
      await untilWorkers(instance, ({ idle }) => idle === 3);
      const { workersStarted, workersLost } = poolState(instance);
      assert.deepEqual([workersStarted, workersLost], [3, 0]);
    });
  });
});
