import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { IO_MEMORY_UNIT } from '../../src/base/settings.js';
import { IoMemory } from '../../src/shmem/io-memory.js';
import { PENDING } from '../../src/shmem/wait.js';
import { makeShared, type Shared } from '../../testing/shared.js';
import type { IoMemoryRegion } from '../../src/shmem/io-memory.js';

const UNITS = 40;
const makeMemory = (): Shared<IoMemoryRegion> =>
  makeShared((plan) => IoMemory.plan(plan, UNITS * IO_MEMORY_UNIT));

describe('I/O memory', () => {
  it('leases runs that do not overlap, finds room where there is some, and gets all of it back', () => {
    const step = fc.oneof(
      fc.record({ lease: fc.integer({ min: 0, max: 12 * IO_MEMORY_UNIT }) }),
      fc.record({ release: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const shared = makeMemory();
        const memory = new IoMemory(shared.slots, 0, shared.regions);
        const owners = new Array<number>(UNITS).fill(0);
        const leases: { offset: number; bytes: number }[] = [];
        const mark = (offset: number, bytes: number, by: number): void => {
          const units = Math.max(1, Math.ceil(bytes / IO_MEMORY_UNIT));
          for (let unit = 0; unit < units; unit++) owners[offset / IO_MEMORY_UNIT + unit]! += by;
        };
        for (const one of steps) {
          if ('lease' in one) {
            const wanted = Math.max(1, Math.ceil(one.lease / IO_MEMORY_UNIT));
            const offset = memory.tryLease(one.lease);
            assert.equal(offset >= 0, hasRun(owners, wanted), 'it finds a run exactly when there is one');
            if (offset < 0) continue;
            mark(offset, one.lease, 1);
            leases.push({ offset, bytes: one.lease });
          } else if (leases.length > 0) {
            const [lease] = leases.splice(one.release % leases.length, 1);
            assert.ok(lease);
            memory.release(lease.offset, lease.bytes);
            mark(lease.offset, lease.bytes, -1);
          }
          assert.ok(owners.every((count) => count === 0 || count === 1));
          assert.equal(memory.unitsInUse, owners.filter((count) => count > 0).length);
        }
        memory.releaseAll();
        assert.equal(memory.unitsInUse, 0);
      }),
    );
  });

  it('refuses at once what it could never give', () => {
    const shared = makeMemory();
    const memory = new IoMemory(shared.slots, 0, shared.regions);
    assert.throws(() => memory.lease(shared.waits(0), memory.capacity + 1), {
      code: 'ERR_PGAIO_EXHAUSTED',
      hint: /ioMemory/,
    });
  });

  it('makes others wait, and wakes them when enough came back', async () => {
    const shared = makeMemory();
    const [mine, theirs] = [
      new IoMemory(shared.slots, 0, shared.regions),
      new IoMemory(shared.slots, 1, shared.regions),
    ];
    const whole = mine.tryLease(mine.capacity);
    const waits = shared.waits(1);
    assert.equal(theirs.lease(waits, 1), PENDING);
    const waiting = waits.until(() => theirs.lease(waits, IO_MEMORY_UNIT));
    mine.release(whole, mine.capacity);
    assert.ok((await waiting) >= 0);
    assert.ok(waits.sleeps > 0);
  });

  it('does not take back what it did not lease, and nothing after a backend has left', () => {
    const shared = makeMemory();
    const memory = new IoMemory(shared.slots, 0, shared.regions);
    const offset = memory.tryLease(IO_MEMORY_UNIT);
    assert.throws(() => memory.release(offset, 2 * IO_MEMORY_UNIT), { name: 'AssertionFailure' });
    memory.release(offset, IO_MEMORY_UNIT);
    assert.throws(() => memory.release(offset, IO_MEMORY_UNIT), { name: 'AssertionFailure' });
    const again = memory.tryLease(1);
    memory.releaseAll();
    memory.release(again, 1);
    assert.equal(memory.unitsInUse, 0);
  });
});

function hasRun(owners: readonly number[], wanted: number): boolean {
  let run = 0;
  return owners.some((count) => {
    run = count === 0 ? run + 1 : 0;
    return run >= wanted;
  });
}
