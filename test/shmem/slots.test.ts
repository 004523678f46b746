import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InstanceCrashedError } from '../../src/base/errors.js';
import { Phase } from '../../src/shmem/header.js';
import { MAX_BACKENDS_LIMIT, MAX_IO_WORKERS, MAX_SLOTS, SlotStatus } from '../../src/shmem/slots.js';
import { currentThreadIdentity, threadMayBeAlive, UNKNOWN_THREAD } from '../../src/shmem/thread-identity.js';
import { makeShared } from '../../testing/shared.js';

const nothing = (): null => null;

describe('slots', () => {
  it('are taken by one, with its identity, and free again after release', () => {
    const { slots } = makeShared(nothing);
    const identity = { threadId: 12, startTime: 2 ** 40 };
    assert.equal(slots.claimBackend(identity), 0);
    assert.equal(slots.claimBackend(identity), 1);
    assert.deepEqual(slots.identity(0), identity);
    assert.ok(!slots.tryClaim(0, identity));
    slots.release(0);
    assert.equal(slots.status(0), SlotStatus.FREE);
    assert.equal(slots.claimBackend(identity), 0);
  });

  it('that are all taken are an error with a hint', () => {
    const { slots } = makeShared(nothing);
    for (let slot = 0; slot < slots.region.maxBackends; slot++) slots.claimBackend(UNKNOWN_THREAD);
    assert.throws(() => slots.claimBackend(UNKNOWN_THREAD), {
      code: 'ERR_PGAIO_EXHAUSTED',
      hint: /maxBackends/,
    });
  });

  it('have numbers that fit beside a generation', () => {
    assert.equal(MAX_BACKENDS_LIMIT + MAX_IO_WORKERS + 1, MAX_SLOTS);
    assert.ok(MAX_SLOTS + 1 <= 256);
    const { slots } = makeShared(nothing);
    assert.equal(slots.describe(3), 'backend 3');
    assert.equal(slots.describe(slots.workerSlot(4)), 'I/O worker 4');
    assert.equal(slots.describe(slots.supervisorSlot), 'supervisor');
  });

  it('count critical sections', () => {
    const { slots } = makeShared(nothing);
    slots.enterCritical(1);
    slots.enterCritical(1);
    slots.leaveCritical(1);
    assert.ok(slots.inCritical(1));
    slots.leaveCritical(1);
    assert.ok(!slots.inCritical(1));
  });
});

describe('thread identity', () => {
  it('says that this thread lives, and that one with another start time does not', () => {
    const identity = currentThreadIdentity();
    assert.ok(threadMayBeAlive(identity));
    assert.ok(!threadMayBeAlive({ ...identity, startTime: identity.startTime + 1 }));
    assert.ok(threadMayBeAlive(UNKNOWN_THREAD), 'who is unknown is never declared dead');
  });
});

describe('the header', () => {
  it('keeps the first reason of a crash, and tells it to everybody', () => {
    const { header } = makeShared(nothing);
    header.checkOpen();
    header.markCrashed('the first reason');
    header.markCrashed('another');
    assert.throws(() => header.checkCrashed(), new InstanceCrashedError('the first reason'));
    header.beginClosing();
    assert.equal(header.phase, Phase.CRASHED, 'closing does not hide a crash');
  });

  it('refuses what is no instance, another layout, and other callbacks', () => {
    const { header } = makeShared(nothing);
    assert.throws(() => header.checkLayout(1), { code: 'ERR_PGAIO_NOT_A_SEGMENT' });
    header.initialize(1, 2);
    header.checkLayout(1);
    header.checkFingerprint(2);
    assert.throws(() => header.checkLayout(2), { code: 'ERR_PGAIO_FINGERPRINT', message: /settings/ });
    assert.throws(() => header.checkFingerprint(1), { code: 'ERR_PGAIO_FINGERPRINT', message: /callbacks/ });
  });
});
