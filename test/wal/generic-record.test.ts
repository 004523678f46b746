/** Changes of pages as generic records: what redo makes of them is the page that was logged. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { initPage, setPageLower, setPageUpper } from '../../src/page/init-page.js';
import { applyPageDelta, clearFreeSpace, genericRecord, pageDelta } from '../../src/wal/generic-record.js';
import { RecordDecoder, type WalBlockReference } from '../../src/wal/record.js';
import { seededRandom, type Random } from '../../testing/random.js';

const BLOCK = 8192;

function randomPage(draw: Random): Uint8Array {
  const page = new Uint8Array(BLOCK);
  const special = draw.below(4) * 8;
  initPage(page, special);
  const lower = 24 + draw.below(draw.below(2) === 0 ? 200 : BLOCK - 24 - special);
  setPageLower(page, lower);
  setPageUpper(page, lower + draw.below(BLOCK - special - lower + 1));
  for (let at = 24; at < BLOCK; at++) page[at] = draw.below(256);
  clearFreeSpace(page);
  return page;
}

function change(draw: Random, before: Uint8Array): Uint8Array {
  if (draw.below(5) === 0) return randomPage(draw);
  const after = Uint8Array.from(before);
  for (let run = draw.below(6); run > 0; run--) {
    const start = 24 + draw.below(BLOCK - 24);
    after.fill(draw.below(256), start, Math.min(BLOCK, start + 1 + draw.below(40)));
  }
  clearFreeSpace(after);
  return after;
}

function decode(bytes: Uint8Array): readonly WalBlockReference[] {
  const decoder = new RecordDecoder();
  assert.equal(decoder.decode(bytes, new DataView(bytes.buffer, bytes.byteOffset), 0), null);
  const { record } = decoder;
  return record.blocks.slice(0, record.maxBlockId + 1);
}

describe('a generic record', () => {
  it('of what differs makes the one page of the other, whatever was in the free space', () => {
    for (let seed = 1; seed <= 300; seed++) {
      const draw = seededRandom(seed);
      const before = randomPage(draw);
      const after = change(draw, before);
      const delta = pageDelta(before, after);
      assert.ok(delta.length <= BLOCK, `seed ${seed}: ${delta.length} bytes`);
      const redone = Uint8Array.from(before);
      applyPageDelta(redone, delta, 0, delta.length);
      assert.deepEqual(redone.subarray(10), after.subarray(10), `seed ${seed}`);
    }
  });

  it('is empty where nothing differs but LSN and checksum, and small where little does', () => {
    const before = new Uint8Array(BLOCK);
    initPage(before);
    setPageLower(before, 4000);
    const after = Uint8Array.from(before);
    after.fill(9, 0, 10);
    assert.equal(pageDelta(before, after).length, 0);
    after[100] = 1;
    after[104] = 1;
    assert.deepEqual([...pageDelta(before, after)], [100, 0, 5, 0, 1, 0, 0, 0, 1]);
    after[110] = 1;
    assert.deepEqual([...pageDelta(before, after)].slice(9), [110, 0, 1, 0, 1]);
  });

  it('has images, without free space, of pages that were not changed since redo, and differences of the others', () => {
    const draw = seededRandom(7);
    const place = { tablespace: 1663, database: 5, relation: 16384, fork: 0 };
    const pages = [1000, 2000, 3000].map((lsn, block) => {
      const before = new Uint8Array(BLOCK);
      initPage(before);
      setPageLower(before, 24 + draw.below(100));
      const after = Uint8Array.from(before);
      after[30] = 0x77;
      return { ...place, block, lsn, after, delta: pageDelta(before, after) };
    });
    const { bytes, oldestPageLsn } = genericRecord(pages, 2000, Infinity);
    assert.equal(oldestPageLsn, 3000);
    const blocks = decode(bytes);
    assert.deepEqual(
      blocks.map(({ hasImage }) => hasImage),
      [true, true, false],
    );
    assert.ok(blocks[0] !== undefined && blocks[0].imageLength < 200);
    assert.equal(genericRecord(pages, 3000, Infinity).oldestPageLsn, Infinity);
  });

  it('that does not fit a page is refused', () => {
    const page = new Uint8Array(BLOCK);
    initPage(page);
    assert.throws(
      () => applyPageDelta(page, Uint8Array.of(0xff, 0x1f, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8), 0, 12),
      RangeError,
    );
    assert.throws(() => applyPageDelta(page, Uint8Array.of(1, 0), 0, 2), RangeError);
  });
});
