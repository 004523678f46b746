import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Scope } from '../../src/aio/scope.js';
import { makeForkTag, PIN_MASK, TAG_VALID, USAGE_MASK, type ForkTag } from '../../src/buffer/descriptor.js';
import { BufferPool } from '../../src/buffer/pool.js';
import { planBuffers, type BufferRegion } from '../../src/buffer/region.js';
import { PrivatePins } from '../../src/buffer/private-pins.js';
import { manualInstance } from '../../testing/manual-method.js';
import { makeShared, type Shared } from '../../testing/shared.js';

const makeScope = (): Scope => new Scope(manualInstance(1).backend(0).aio, null);
const tag = makeForkTag(0, 1663, 5, 100, 0);

function makePool(count: number): {
  shared: Shared<BufferRegion>;
  pools: BufferPool[];
  pins: (buffer: number) => number;
} {
  const shared = makeShared((plan) => planBuffers(plan, 8, count));
  const pools = [0, 1, 2].map((slot) => new BufferPool(shared.slots, slot, shared.regions));
  const [first] = pools;
  assert.ok(first);
  return { shared, pools, pins: (buffer) => shared.words.load(first.base(buffer)) & PIN_MASK };
}

describe('the buffer pool', () => {
  it('gives a block one buffer, whoever asks, and counts one pin a backend', () => {
    const { pools, pins } = makePool(16);
    const [a, b] = pools as [BufferPool, BufferPool];
    const [mine, theirs] = [makeScope(), makeScope()];
    const buffer = a.pinBlock(tag, 7, mine);
    assert.ok(!a.foundValid);
    assert.equal(a.pinBlock(tag, 7, mine), buffer);
    assert.equal(pins(buffer), 1);
    assert.equal(b.lookup(tag, 7, theirs), buffer);
    assert.equal(pins(buffer), 2);
    a.unpin(buffer, mine);
    assert.equal(pins(buffer), 2);
    a.unpin(buffer, mine);
    b.unpin(buffer, theirs);
    assert.equal(pins(buffer), 0);
    assert.equal(a.lookup(tag, 8, mine), -1);
  });

  it('tells blocks apart by every part of their tag', () => {
    const { pools } = makePool(64);
    const [pool] = pools as [BufferPool];
    const scope = makeScope();
    const tags: ForkTag[] = [
      tag,
      makeForkTag(1, 1663, 5, 100, 0),
      makeForkTag(0, 1664, 5, 100, 0),
      makeForkTag(0, 1663, 6, 100, 0),
      makeForkTag(0, 1663, 5, 101, 0),
      makeForkTag(0, 1663, 5, 100, 1),
      // In the same bucket as the first, with the same relation number.
      { ...makeForkTag(0, 1663, 7, 100, 0), hashBase: tag.hashBase },
    ];
    const buffers = tags.map((one) => pool.pinBlock(one, 3, scope));
    assert.equal(new Set(buffers).size, tags.length);
    assert.deepEqual(
      tags.map((one) => pool.lookup(one, 3, scope)),
      buffers,
    );
  });

  it('block numbers use all 32 bits', () => {
    const { pools } = makePool(16);
    const [pool] = pools as [BufferPool];
    const scope = makeScope();
    const blocks = [0, 0x7fff_ffff, 0x8000_0000 | 0, 0xffff_fffe | 0];
    const buffers = blocks.map((block) => pool.pinBlock(tag, block, scope));
    assert.deepEqual(
      blocks.map((block) => pool.lookup(tag, block, scope)),
      buffers,
    );
  });

  it('agrees with a map, under eviction, for several backends', () => {
    const step = fc.record({ backend: fc.nat(2), block: fc.nat(60), keep: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
        const { pools, shared, pins } = makePool(16);
        const scopes = pools.map(makeScope);
        const held: { backend: number; buffer: number; block: number }[] = [];
        for (const { backend, block, keep } of steps) {
          const pool = pools[backend]!;
          const scope = scopes[backend]!;
          const buffer = pool.pinBlock(tag, block, scope);
          const state = shared.words.load(pool.base(buffer));
          assert.ok((state & TAG_VALID) !== 0 && (state & USAGE_MASK) !== 0);
          for (const other of held) assert.equal(other.buffer === buffer, other.block === block);
          if (keep && held.length < 10) held.push({ backend, buffer, block });
          else pool.unpin(buffer, scope);
        }
        // What is pinned is still where it was, and every pin is accounted for.
        for (const { backend, buffer, block } of held)
          assert.equal(pools[backend]!.lookup(tag, block, scopes[backend]!), buffer);
        for (const { backend, buffer } of held) {
          pools[backend]!.unpin(buffer, scopes[backend]!);
          pools[backend]!.unpin(buffer, scopes[backend]!);
        }
        for (let buffer = 0; buffer < 16; buffer++) assert.equal(pins(buffer), 0);
      }),
      { numRuns: 60 },
    );
  });

  it('finds the last free buffer, wherever the hand is', () => {
    const { pools } = makePool(16);
    const [a, b] = pools as [BufferPool, BufferPool];
    const [mine, theirs] = [makeScope(), makeScope()];
    const pinned = Array.from({ length: 16 }, (_, block) => a.pinBlock(tag, block, mine));
    for (const buffer of pinned) {
      a.unpin(buffer, mine);
      assert.equal(b.pinBlock(tag, 1000 + buffer, theirs), buffer);
      b.unpin(buffer, theirs);
      a.pinBlock(tag, 2000 + buffer, mine);
    }
    assert.throws(() => b.pinBlock(tag, 5000, theirs), {
      code: 'ERR_PGAIO_NO_UNPINNED_BUFFERS',
      detail: /Of 16 buffers 16 are pinned: 0 by this backend/,
    });
    assert.equal(theirs.pinCount, 0);
  });
});

describe('private pins', () => {
  it('are counted by buffer and scope', () => {
    const action = fc.record({ buffer: fc.nat(3), scope: fc.nat(2), add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
        const pins = new PrivatePins(4);
        const scopes = [makeScope(), makeScope(), makeScope()];
        const model = scopes.map(() => [0, 0, 0, 0]);
        for (const { buffer, scope: at, add } of actions) {
          const scope = scopes[at]!;
          const counts = model[at]!;
          if (add) {
            pins.add(buffer, scope);
            counts[buffer]!++;
          } else if (counts[buffer]! > 0) {
            counts[buffer]!--;
            const left = model.reduce((sum, one) => sum + one[buffer]!, 0);
            assert.equal(pins.remove(buffer, scope), left);
          } else assert.throws(() => pins.remove(buffer, scope));
        }
        for (const [at, scope] of scopes.entries()) {
          const counts = model[at]!;
          assert.equal(
            scope.pinCount,
            counts.reduce((sum, one) => sum + one, 0),
          );
          for (let buffer = 0; buffer < 4; buffer++)
            assert.equal(pins.countIn(buffer, scope), counts[buffer]);
          assert.deepEqual(
            [...pins.ofScope(scope)],
            [0, 1, 2, 3].filter((buffer) => counts[buffer]! > 0),
          );
        }
        const pinned = [0, 1, 2, 3].filter((buffer) => model.some((counts) => counts[buffer]! > 0));
        assert.equal(pins.buffersPinned, pinned.length);
      }),
    );
  });
});
