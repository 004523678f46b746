/** Threads that come, end well, end badly, or should not be let in. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { attachInstance } from '../../src/instance/instance.js';
import type { InstanceHandle } from '../../src/instance/shared-state.js';
import { SlotStatus } from '../../src/shmem/slots.js';
import { Actor, type Role } from '../../testing/actor.js';
import { BlockReads } from '../../testing/block-reads.js';
import { Injection } from '../../testing/injection.js';
import { forEachMethod, openRig, withRig, type Rig } from '../../testing/instances.js';
import { leaksOf } from '../../testing/leaks.js';
import { DataDirectory } from '../../testing/relations.js';
import { untilBackends, untilTrue } from '../../testing/turns.js';

/** Another relation for each test that shares an instance: none of its blocks is in the pool. */
const locator = { database: 5, relation: 100 };
const crash = (reason: RegExp): object => ({ code: 'ERR_PGAIO_INSTANCE_CRASHED', message: reason });

function actor(
  role: Role,
  data: DataDirectory,
  handle: InstanceHandle | null,
  block = 1,
  injection: Injection | null = null,
): Actor {
  return new Actor({
    role,
    handle,
    dataDirectory: data.path,
    locator,
    block,
    injection: injection?.url ?? null,
  });
}

/** A rig whose instance will crash: closing it may fail, and what it leaves is not looked at. */
async function withCrashingRig(options: object, body: (rig: Rig) => Promise<void>): Promise<void> {
  const rig = await openRig(options);
  try {
    rig.data.write(locator.relation, 20);
    await body(rig);
  } finally {
    await rig.instance.close().catch(() => undefined);
    rig.data[Symbol.dispose]();
  }
}

/** Waits like any backend does, for something that never comes: until the crash. */
function waitForever(rig: Rig): Promise<unknown> {
  const { bufferIo, pool } = rig.backend.buffers;
  const blocks = new BlockReads(rig.backend, rig.data.path, locator);
  const buffer = pool.pinBlock(blocks.reader.tag, 7, rig.backend.rootScope);
  bufferIo.claim(buffer);
  return rig.backend.aio.waits.until(() => bufferIo.waitForClaim(rig.backend.aio.waits, buffer));
}

forEachMethod((ioMethod) => {
  // Of the tests after which an instance goes on: each leaves it with its first backend alone.
  let shared: Rig;
  before(async () => {
    shared = await openRig({ ioMethod });
  });
  beforeEach(() => shared.data.write(++locator.relation, 20));
  after(() => shared.close());

  for (const role of ['return', 'exit', 'throw'] as const) {
    it(`a thread that ends without closing (${role}) is closed cleanly`, async () => {
      const { instance, data, backend } = shared;
      for (let round = 0; round < 2; round++) {
        const thread = actor(role, data, instance.handle);
        assert.equal(await thread.report('backend'), 1, 'the slot is used again');
        await thread.ended();
      }
      assert.deepEqual(leaksOf(instance.handle, 1), []);
      await new BlockReads(backend, data.path, locator).read(0, 20);
    });
  }

  it('a backend thread that is terminated is given back, and the others do not notice', async () => {
    const { instance, data, backend, log } = shared;
    for (let round = 0; round < 2; round++) {
      const thread = actor('stay', data, instance.handle);
      assert.equal(await thread.report('backend'), 1, 'the slot is used again');
      await thread.report('ready');
      await thread.terminate();
      await untilBackends(instance, 1);
    }
    assert.match(log.at(-1)?.message ?? '', /the thread of backend 1 ended without closing it/);
    assert.deepEqual(leaksOf(instance.handle, 1), []);
    await new BlockReads(backend, data.path, locator).read(0, 20);
  });

  it('one that dies in a critical section crashes the instance, typed, for everybody', async () => {
    await withCrashingRig({ ioMethod }, async (rig) => {
      const { instance, backend } = rig;
      const thread = actor('critical', rig.data, instance.handle);
      await thread.report('ready');
      const waiting = waitForever(rig);
      await thread.terminate();
      const reason = crash(/the thread of backend 1 ended inside a critical section/);
      await assert.rejects(waiting, reason);
      assert.throws(() => backend.openRawFile('/etc/hostname'), reason);
      await assert.rejects(attachInstance(instance.handle), reason);
    });
  });

  it('a slot whose thread ended while it took it is free again', async () => {
    const { instance, backend } = shared;
    const { slots } = backend.parts.memory;
    const thread = new Worker(
      'import("node:fs").then(({ readlinkSync: read }) => require("node:worker_threads").parentPort.postMessage(read("/proc/thread-self")))',
      { eval: true },
    );
    const exited = once(thread, 'exit'); // a last message and the exit may come in one turn
    const [path] = (await once(thread, 'message')) as [string];
    await exited;
    slots.words.store(slots.base(1), SlotStatus.CLAIMED | (Number(path.split('/').at(-1)) << 2));
    await untilBackends(instance, 1);
  });

  it('a thread with other settings, or another memory, is refused, and touches nothing', async () => {
    const { handle } = shared.instance;
    const settings = { ...handle.settings, maxBackends: 3 };
    await assert.rejects(attachInstance({ ...handle, settings }), { code: 'ERR_PGAIO_FINGERPRINT' });
    const control = new WebAssembly.Memory({ initial: 64, maximum: 64, shared: true });
    await assert.rejects(attachInstance({ ...handle, control }), { code: 'ERR_PGAIO_NOT_A_SEGMENT' });
    const module = 'data:text/javascript,export const register = (r) => r.addCallback(99, { name: "more" });';
    await assert.rejects(attachInstance({ ...handle, modules: [module] }), {
      code: 'ERR_PGAIO_FINGERPRINT',
      message: /callbacks/,
    });
    assert.deepEqual(leaksOf(handle, 1), []);
  });

  it('no more backends attach than there are places for', async () => {
    await withRig({ ioMethod, maxBackends: 2 }, async ({ instance }) => {
      const second = await attachInstance(instance.handle);
      await assert.rejects(attachInstance(instance.handle), {
        code: 'ERR_PGAIO_EXHAUSTED',
        hint: /maxBackends/,
      });
      await second.close();
      await (await attachInstance(instance.handle)).close();
    });
  });

  it('F-01, D-17: what a blocked thread has only staged, or submitted, is read by who wants it', async () => {
    const { instance, backend, data } = shared;
    const thread = actor('stage', data, instance.handle, 3);
    await thread.report('ready');
    await new BlockReads(backend, data.path, locator).read(3, 1);
    await thread.terminate();
    await untilBackends(instance, 1);
  });
});

describe('worker', () => {
  it('a supervision thread that dies takes the instance with it: waiters in loops and blocked ones are told', async () => {
    using data = new DataDirectory();
    data.write(locator.relation, 20);
    const injection = new Injection();
    const creator = actor('create', data, null, 0, injection);
    const handle = await creator.report('handle');
    const hold = injection.hold('workerBeforeReopen');
    const backend = await attachInstance(handle);
    const blocks = new BlockReads(backend, data.path, locator);
    const op = blocks.start(3);
    const blocked = actor('block', data, handle, 5);
    await blocked.report('ready');
    await hold.arrived(2);
    const waiting = blocks.finish(op);
    await creator.terminate();
    await assert.rejects(waiting, crash(/its supervision thread ended/));
    assert.equal(await blocked.report('outcome'), 'ERR_PGAIO_INSTANCE_CRASHED');
    await blocked.ended();
    await backend.close().catch(() => undefined);
  });

  it('closing the instance while another backend has I/O in flight: that is finished, the next use is refused', async () => {
    const injection = new Injection();
    await withRig({ injection: injection.url }, async ({ instance, data }) => {
      data.write(locator.relation, 20);
      const other = await attachInstance(instance.handle);
      const blocks = new BlockReads(other, data.path, locator);
      const hold = injection.hold('workerAfterReopen', { times: 1 });
      const op = blocks.start(3);
      await hold.arrived();
      const closed = instance.close();
      await untilTrue(() => other.parts.memory.header.phase !== 0);
      hold.release();
      await blocks.finish(op);
      await closed;
      assert.throws(() => other.openRawFile('/etc/hostname'), { code: 'ERR_PGAIO_CLOSED' });
      await other.close();
    });
  });
});
