import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { resolveSettings } from '../../src/base/settings.js';
import { planInstance } from '../../src/instance/shared-state.js';
import { CACHE_LINE_WORDS, declareLayout } from '../../src/shmem/layout.js';
import { SegmentPlan, createSharedMemory } from '../../src/shmem/segment.js';
import { SharedWords } from '../../src/shmem/words.js';

describe('layouts', () => {
  it('place fields one behind the other, and round the size up', () => {
    const layout = declareLayout('Sample', { first: 1, wide: 2, last: 3 }, 4);
    assert.deepEqual({ ...layout.at }, { first: 0, wide: 1, last: 3 });
    assert.equal(layout.words, 8);
  });

  it('refuse a field without a size', () => {
    assert.throws(() => declareLayout('Sample', { none: 0 }), /Sample\.none/);
  });
});

describe('the segment plan', () => {
  it('gives regions that do not overlap and start on cache lines', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1000), { minLength: 1 }), (sizes) => {
        const plan = new SegmentPlan();
        for (const [index, size] of sizes.entries()) plan.reserve(`region ${index}`, size);
        let end = 0;
        for (const { start, words } of plan.regions) {
          assert.equal(start % CACHE_LINE_WORDS, 0);
          assert.ok(start >= end);
          end = start + words;
        }
        assert.ok(plan.words >= end);
      }),
    );
  });

  it('is the same in every thread: it follows from the settings', () => {
    const settings = resolveSettings({ sharedBuffers: '2MB' }, { name: 'worker', reason: '' });
    assert.deepEqual(planInstance(settings), planInstance(structuredClone(settings)));
  });

  it('refuses more than 4 GiB', () => {
    assert.throws(() => new SegmentPlan().reserve('huge', 2 ** 30 + 1), /4 GiB/);
  });
});

describe('shared words', () => {
  const words = new SharedWords(createSharedMemory(1));

  it('hold numbers below 2^53 in two words', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (value) => {
        words.setWide(10, value);
        assert.equal(words.getWide(10), value);
      }),
    );
  });

  it('hold text, cut at their capacity, and nothing behind it', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 60 }), fc.integer({ min: 2, max: 12 }), (text, capacity) => {
        words.set(100 + capacity, 0x5a5a);
        words.setText(100, capacity, text);
        assert.equal(words.getText(100), text.slice(0, (capacity - 1) * 4));
        assert.equal(words.get(100 + capacity), 0x5a5a);
      }),
    );
    words.setText(100, 12, 'Grüße, 世界');
    assert.equal(words.getText(100), 'Grüße, 世界');
  });
});
