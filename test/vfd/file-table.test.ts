import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { VfdRig } from '../../testing/vfd-rig.js';
import type { FileIdentity } from '../../src/vfd/file-table.js';

const file = (name: string, more: Partial<FileIdentity> = {}): FileIdentity => ({
  path: `/some/where/${name}`,
  openFlags: 0,
  device: 1n,
  inode: BigInt(name.length) + 2n ** 63n,
  ...more,
});

describe('the file table', () => {
  it('has one entry a file, and counts its users', () => {
    using rig = new VfdRig(10);
    const [mine, theirs] = [rig.table(0), rig.table(1)];
    const entry = mine.acquire(file('a'));
    assert.equal(theirs.acquire(file('a')), entry);
    assert.deepEqual(theirs.identity(entry), file('a'));
    mine.release(entry);
    assert.equal(mine.entriesInUse, 1);
    assert.ok(mine.tryHold(entry));
    theirs.release(entry);
    mine.release(entry);
    assert.equal(mine.entriesInUse, 0);
    assert.ok(!mine.tryHold(entry), 'nobody’s entry cannot be taken without the lock');
  });

  it('tells files apart by path, device, inode, and how they are opened', () => {
    using rig = new VfdRig(10);
    const table = rig.table();
    const files = [
      file('a'),
      file('b'),
      file('a', { device: 2n }),
      file('a', { inode: 5n }),
      file('a', { openFlags: 1 }),
    ];
    const entries = files.map((one) => table.acquire(one));
    assert.equal(new Set(entries).size, files.length);
    for (const [at, one] of files.entries()) assert.deepEqual(table.identity(entries[at] ?? -1), one);
  });

  it('raises an entry’s generation when it becomes another file’s', () => {
    using rig = new VfdRig(10, 1);
    const table = rig.table();
    const entry = table.acquire(file('a'));
    const generation = table.generation(entry);
    table.release(entry);
    assert.equal(table.acquire(file('b')), entry);
    assert.notEqual(table.generation(entry), generation);
  });

  it('that is full, or has no room for a path, says so: such a file is read by its issuer', () => {
    using rig = new VfdRig(10, 2);
    const table = rig.table();
    assert.ok(table.acquire(file('a')) >= 0);
    assert.ok(table.acquire(file('b')) >= 0);
    assert.equal(table.acquire(file('c')), -1);
    assert.ok(table.acquire(file('b')) >= 0);
    assert.equal(table.acquire(file('x'.repeat(1100))), -1);
  });

  it('agrees with a map', () => {
    const action = fc.record({ name: fc.nat(8), acquire: fc.boolean() });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        using rig = new VfdRig(10, 6);
        const table = rig.table();
        const users = new Map<number, { entry: number; count: number }>();
        for (const { name, acquire } of actions) {
          const known = users.get(name);
          if (acquire) {
            const entry = table.acquire(file(`file-${name}`, { inode: BigInt(name) }));
            if (known !== undefined) {
              assert.equal(entry, known.entry);
              known.count++;
            } else if (users.size < 6) {
              assert.ok(entry >= 0 && ![...users.values()].some((one) => one.entry === entry));
              users.set(name, { entry, count: 1 });
            } else assert.equal(entry, -1);
          } else if (known !== undefined) {
            table.release(known.entry);
            if (--known.count === 0) users.delete(name);
          }
        }
        assert.equal(table.entriesInUse, users.size);
      }),
      { numRuns: 50 },
    );
  });
});

describe('the descriptor budget', () => {
  it('guarantees each thread its floor, shares the rest, and gets everything back', () => {
    using rig = new VfdRig(3);
    const [a, b] = [rig.budget(0), rig.budget(1)];
    for (let taken = 0; taken < 5; taken++) assert.ok(a.tryTake());
    assert.ok(!a.tryTake());
    assert.ok(b.tryTake() && b.tryTake(), 'the floor is there though the stock is empty');
    assert.ok(!b.tryTake());
    a.giveBack();
    assert.ok(b.tryTake());
    assert.equal(a.stock, 0);
    a.giveBackAll();
    b.giveBackAll();
    assert.deepEqual([a.held, b.held, a.stock], [0, 0, 3]);
  });
});
