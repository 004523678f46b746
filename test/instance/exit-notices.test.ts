/** The supervisor hears that a thread has ended; a notice for a slot that is another thread's by now harms nobody. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BackendRecovery } from '../../src/instance/backend-recovery.js';
import { attachInstance, createSharedState, releaseSharedState } from '../../src/instance/instance.js';
import { Backend } from '../../src/instance/backend.js';
import { ThreadParts, type AttachedMemory } from '../../src/instance/thread-parts.js';
import { SlotStatus } from '../../src/shmem/slots.js';
import { currentThreadIdentity } from '../../src/shmem/thread-identity.js';
import { Actor } from '../../testing/actor.js';
import { withRig, type Rig } from '../../testing/instances.js';
import { addonMissing } from '../../testing/native-ring.js';
import { untilBackends } from '../../testing/turns.js';

/** Backends of this thread, which lives, and a supervisor that looks when it is told to. */
async function withoutThreads(
  body: (attach: () => Backend, recovery: BackendRecovery, memory: AttachedMemory) => Promise<void> | void,
): Promise<void> {
  const { handle, loaded, log, memory } = await createSharedState({
    ioMethod: 'sync',
    maxBackends: 3,
    sharedBuffers: '1MB',
    log: () => undefined,
  });
  const { slots } = memory;
  assert.ok(slots.tryClaim(slots.supervisorSlot, currentThreadIdentity()));
  const parts = new ThreadParts(memory, slots.supervisorSlot, loaded, log);
  await body(() => new Backend(handle, loaded, log), new BackendRecovery(parts), memory);
  slots.release(slots.supervisorSlot);
  await releaseSharedState(memory);
}

describe('what a notice says', () => {
  it('is believed, although the thread could still be found', async () => {
    await withoutThreads((attach, recovery, { slots }) => {
      const { number } = attach();
      recovery.lookAfterBackends();
      assert.equal(slots.status(number), SlotStatus.ATTACHED);
      slots.words.store(slots.exitNoticeWord(number), slots.identity(number).threadId);
      recovery.lookAtNotices();
      assert.equal(slots.status(number), SlotStatus.FREE);
    });
  });

  it('is nothing where the slot is another thread’s', async () => {
    await withoutThreads(async (attach, recovery, { slots }) => {
      const backend = attach();
      const { threadId } = slots.identity(backend.number);
      slots.words.store(slots.exitNoticeWord(backend.number), threadId + 1);
      recovery.lookAtNotices();
      recovery.lookAfterBackends();
      assert.equal(slots.status(backend.number), SlotStatus.ATTACHED);
      await backend.close();
    });
  });

  it('is forgotten when the slot is taken again, also by a thread with the same number', async () => {
    await withoutThreads(async (attach, recovery, { slots }) => {
      const first = attach();
      await first.close();
      slots.words.store(slots.exitNoticeWord(first.number), currentThreadIdentity().threadId);
      const second = attach();
      assert.equal(second.number, first.number);
      recovery.lookAtNotices();
      assert.equal(slots.status(second.number), SlotStatus.ATTACHED);
      await second.close();
    });
  });
});

describe('threads that end', { skip: addonMissing() }, () => {
  function start(rig: Rig, role: 'stay' | 'return' | 'close'): Actor {
    const { handle } = rig.instance;
    const locator = rig.data.write(100, 10);
    return new Actor({ role, handle, dataDirectory: rig.data.path, locator, block: 1, injection: null });
  }
  const noticeOf = ({ backend }: Rig, slot: number): number => {
    const { slots } = backend.parts.memory;
    return slots.words.load(slots.exitNoticeWord(slot));
  };

  it('without closing tell it, once, under their own number', async () => {
    await withRig({ ioMethod: 'worker' }, async (rig) => {
      const actor = start(rig, 'stay');
      const slot = await actor.report('backend');
      await actor.report('ready');
      const { threadId } = rig.backend.parts.memory.slots.identity(slot);
      assert.equal(noticeOf(rig, slot), 0);
      await actor.terminate();
      assert.equal(noticeOf(rig, slot), threadId, 'it is there when the thread has gone');
      await untilBackends(rig.instance, 1);
      assert.equal(rig.backend.counters().backendsLost, 1);
    });
  });

  it('after closing say nothing: the slot’s next backend is let alone', async () => {
    await withRig({ ioMethod: 'worker' }, async (rig) => {
      const actor = start(rig, 'close');
      const slot = await actor.report('backend');
      await actor.report('ready'); // it has closed, and lives
      const next = await attachInstance(rig.instance.handle);
      assert.equal(next.number, slot);
      await actor.terminate();
      assert.equal(noticeOf(rig, slot), 0);
      assert.equal(rig.backend.parts.memory.slots.status(slot), SlotStatus.ATTACHED);
      await next.close();
      assert.equal(rig.backend.counters().backendsLost, 0);
    });
  });
});
