/** Buffer access strategies: how large their rings are, and which buffers they take. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Scope } from '../../src/aio/scope.js';
import { makeForkTag, USAGE_MASK, USAGE_ONE } from '../../src/buffer/descriptor.js';
import { BufferPool } from '../../src/buffer/pool.js';
import { planBuffers } from '../../src/buffer/region.js';
import { BufferStrategy, type StrategyKind, type StrategySize } from '../../src/buffer/strategy.js';
import { manualInstance } from '../../testing/manual-method.js';
import { makeShared } from '../../testing/shared.js';

const SIZE: StrategySize = { ioConcurrency: 16, combineLimit: 16 };
const tag = makeForkTag(0, 1663, 5, 100, 0);
const hotTag = makeForkTag(0, 1663, 5, 200, 0);
const range = (count: number): number[] => Array.from({ length: count }, (_, at) => at);

function makePool(count: number): { pool: BufferPool; scope: Scope; usage: (buffer: number) => number } {
  const shared = makeShared((plan) => planBuffers(plan, 8, count));
  const pool = new BufferPool(shared.slots, 0, shared.regions);
  const scope = new Scope(manualInstance(1).backend(0).aio, null);
  return {
    pool,
    scope,
    usage: (buffer) => (shared.words.load(pool.base(buffer)) & USAGE_MASK) / USAGE_ONE,
  };
}

describe('buffer access strategies', () => {
  it('have rings of PostgreSQL’s sizes, at most an eighth of the pool', () => {
    const buffers = (
      kind: StrategyKind,
      count: number,
      size: Partial<StrategySize> = {},
      pinLimit = count,
    ): number => new BufferStrategy(kind, { region: { count }, pinLimit }, { ...SIZE, ...size }).buffers;
    assert.equal(buffers('bulkread', 16_384), 32 + 16 * 16);
    assert.equal(buffers('bulkread', 16_384, { ioConcurrency: 0 }), 32);
    assert.equal(buffers('bulkread', 16_384, {}, 100), 100, 'no more than may be pinned anyway');
    assert.equal(buffers('bulkread', 16_384, {}, 5), 32);
    assert.equal(buffers('bulkwrite', 65_536), 2048);
    assert.equal(buffers('vacuum', 65_536), 256);
    assert.equal(buffers('vacuum', 65_536, { ringSize: '128kB' }), 16);
    assert.equal(buffers('vacuum', 65_536, { ringSize: '1GB' }), 8192);
    for (const kind of ['bulkread', 'bulkwrite', 'vacuum'] as const) {
      assert.equal(buffers(kind, 64), 8);
      assert.equal(buffers(kind, 4), 1);
    }
    for (const ringSize of ['127kB', '17GB', 0])
      assert.throws(() => buffers('vacuum', 64, { ringSize }), { name: 'SettingError', message: /ringSize/ });
  });

  it('let a stream pin all of a scan’s ring but one, and half of others', () => {
    const limit = (kind: StrategyKind, count: number): number =>
      new BufferStrategy(kind, { region: { count }, pinLimit: count }, SIZE).pinLimit;
    assert.deepEqual([limit('bulkread', 64), limit('vacuum', 64), limit('bulkwrite', 64)], [7, 4, 4]);
    assert.deepEqual([limit('bulkread', 8), limit('vacuum', 8)], [1, 1]);
  });

  it('take their own buffers again, and leave others’ alone', () => {
    const { pool, scope } = makePool(64);
    const hot = range(50).map((block) => pool.pinBlock(hotTag, block, scope));
    for (const buffer of hot) pool.unpin(buffer, scope);
    const strategy = new BufferStrategy('bulkread', pool, SIZE);
    const used = new Set<number>();
    for (let block = 0; block < 200; block++) {
      const buffer = pool.pinBlock(tag, block, scope, strategy);
      used.add(buffer);
      pool.unpin(buffer, scope);
    }
    assert.equal(used.size, 8);
    for (const [block, buffer] of hot.entries()) {
      assert.equal(pool.lookup(hotTag, block, scope), buffer);
      pool.unpin(buffer, scope);
    }
  });

  it('raise the usage count of a buffer from 0 to 1 only', () => {
    const { pool, scope, usage } = makePool(64);
    const strategy = new BufferStrategy('bulkread', pool, SIZE);
    const buffer = pool.pinBlock(tag, 1, scope, strategy);
    pool.unpin(buffer, scope);
    assert.equal(usage(buffer), 1);
    for (let again = 0; again < 3; again++) pool.unpin(pool.pinBlock(tag, 1, scope, strategy), scope);
    assert.equal(usage(buffer), 1);
    pool.unpin(pool.pinBlock(tag, 1, scope), scope);
    assert.equal(usage(buffer), 2);
  });

  for (const why of ['pinned', 'used by others'] as const) {
    it(`replace a buffer in the ring that is ${why}`, () => {
      const { pool, scope } = makePool(64);
      const strategy = new BufferStrategy('bulkread', pool, SIZE);
      const ring = range(8).map((block) => pool.pinBlock(tag, block, scope, strategy));
      for (const buffer of ring) pool.unpin(buffer, scope);
      // Used by somebody without the strategy; and pinned by him, still.
      const kept = pool.pinBlock(tag, 0, scope);
      assert.equal(kept, ring[0]);
      if (why === 'used by others') pool.unpin(kept, scope);
      const next = range(8).map((block) => pool.pinBlock(tag, 100 + block, scope, strategy));
      for (const buffer of next) pool.unpin(buffer, scope);
      assert.ok(!ring.includes(next[0] as number));
      assert.deepEqual(next.slice(1), ring.slice(1));
      assert.equal(pool.lookup(tag, 0, scope), kept, 'its block is still there');
      const again = range(8).map((block) => pool.pinBlock(tag, 200 + block, scope, strategy));
      assert.deepEqual(again, next, 'the replacement has its place in the ring');
    });
  }

  it('take a free buffer of their ring, too', () => {
    const { pool, scope } = makePool(64);
    const strategy = new BufferStrategy('vacuum', pool, SIZE);
    const [first] = range(8).map((block) => pool.pinBlock(tag, block, scope, strategy));
    for (let buffer = 0; buffer < 64; buffer++) {
      if (pool.pins.count(buffer) > 0) pool.unpin(buffer, scope);
    }
    assert.equal(pool.pinBlock(tag, 50, scope, strategy), first);
    assert.equal(pool.lookup(tag, 0, scope), -1);
  });

  it('fail as others do when all is pinned', () => {
    const { pool, scope } = makePool(16);
    const strategy = new BufferStrategy('vacuum', pool, SIZE);
    for (let block = 0; block < 16; block++) pool.pinBlock(tag, block, scope, strategy);
    assert.throws(() => pool.pinBlock(tag, 99, scope, strategy), { code: 'ERR_PGAIO_NO_UNPINNED_BUFFERS' });
  });
});
