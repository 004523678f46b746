/** Which blocks sequential, bitmap and vacuum-like scans read. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { bitmapBlocks } from '../../src/read-stream/bitmap-blocks.js';
import { listedBlocks, sequentialBlocks } from '../../src/read-stream/block-sources.js';
import { END_OF_STREAM, type NextBlock } from '../../src/read-stream/stream-options.js';
import { SKIP_PAGES_THRESHOLD, VacuumBlocks } from '../../src/read-stream/vacuum-blocks.js';
import { VisibilityBit, VisibilityMap } from '../../src/read-stream/visibility-map.js';
import { withRig } from '../../testing/instances.js';
import { makePage, setChecksum } from '../../testing/pages.js';

const BLOCK = 8192;
const HEADER = 24;
const PER_PAGE = (BLOCK - HEADER) * 4;

function all(next: NextBlock): number[] {
  const blocks: number[] = [];
  for (let block = next(); block !== END_OF_STREAM; block = next()) blocks.push(block);
  assert.equal(next(), END_OF_STREAM, 'the end is the end');
  return blocks;
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

/** Pages of a map in which blocks have these bits. */
function mapPages(blocks: number, bits: (block: number) => number): Uint8Array[] {
  const pages = Array.from({ length: Math.ceil(blocks / PER_PAGE) }, (_, at) => makePage(at, { fill: 0 }));
  for (let block = 0; block < blocks; block++) {
    const within = block % PER_PAGE;
    pages[Math.floor(block / PER_PAGE)]![HEADER + (within >>> 2)]! |= bits(block) << ((within & 3) * 2);
  }
  pages.forEach((page, at) => setChecksum(page, at));
  return pages;
}

function mapOf(blocks: number, bits: (block: number) => number): VisibilityMap {
  const pages = mapPages(blocks, bits);
  const map = new VisibilityMap(pages.length);
  pages.forEach((page, at) => map.addPage(at, page));
  return map;
}

const VISIBLE = VisibilityBit.ALL_VISIBLE;
const FROZEN = VisibilityBit.ALL_VISIBLE | VisibilityBit.ALL_FROZEN;

describe('scans', () => {
  it('a sequential scan reads from first to last', () => {
    assert.deepEqual(all(sequentialBlocks(3, 7)), [3, 4, 5, 6]);
    assert.deepEqual(all(sequentialBlocks(3, 3)), []);
    assert.deepEqual(all(listedBlocks([5, 1, 5])), [5, 1, 5]);
  });

  it('a bitmap scan reads an ascending list, and no other', () => {
    assert.deepEqual(all(bitmapBlocks(Uint32Array.of(0, 1, 7, 0xffff_fffe))), [0, 1, 7, 0xffff_fffe]);
    assert.deepEqual(all(bitmapBlocks(new Set([2, 9]))), [2, 9]);
    for (const wrong of [
      [1, 1],
      [4, 3],
    ])
      assert.throws(() => all(bitmapBlocks(wrong)), RangeError);
  });
});

describe('a vacuum', () => {
  it('reads what is not all-visible, and the last block', () => {
    const blocks = new VacuumBlocks(
      mapOf(1000, (block) => (block === 500 ? 0 : FROZEN)),
      1000,
    );
    assert.deepEqual(all(blocks.next), [500, 999]);
    assert.deepEqual([blocks.skipped, blocks.skippedAllVisible], [998, false]);
  });

  it('reads all without a map, and of an empty relation nothing', () => {
    assert.deepEqual(all(new VacuumBlocks(new VisibilityMap(0), 3).next), [0, 1, 2]);
    assert.deepEqual(all(new VacuumBlocks(new VisibilityMap(0), 0).next), []);
    assert.deepEqual(
      all(
        new VacuumBlocks(
          mapOf(1, () => FROZEN),
          1,
        ).next,
      ),
      [0],
    );
  });

  it('skips no fewer than 32 blocks in a row', () => {
    const hole = SKIP_PAGES_THRESHOLD;
    const isDirty = (block: number): boolean => block === hole - 1 || block === 2 * hole;
    const blocks = new VacuumBlocks(
      mapOf(100, (block) => (isDirty(block) ? 0 : VISIBLE)),
      100,
    );
    // 31 before the first, 32 before the second, 34 before the last.
    assert.deepEqual(all(blocks.next), [...range(0, hole), 2 * hole, 99]);
    assert.deepEqual([blocks.skipped, blocks.skippedAllVisible], [32 + 34, true]);
  });

  it('skips what is all-frozen only if it is aggressive, and nothing if told so', () => {
    const map = mapOf(200, (block) => (block < 100 ? VISIBLE : FROZEN));
    const aggressive = new VacuumBlocks(map, 200, { aggressive: true });
    assert.deepEqual(all(aggressive.next), [...range(0, 100), 199]);
    assert.equal(aggressive.skippedAllVisible, false);
    assert.deepEqual(all(new VacuumBlocks(map, 200).next), [199]);
    assert.deepEqual(all(new VacuumBlocks(map, 200, { disablePageSkipping: true }).next), range(0, 200));
  });
});

describe('a visibility map', () => {
  it('is read from its fork, over several pages', async () => {
    const blocks = PER_PAGE + 10;
    const bits = (block: number): number => [0, VISIBLE, FROZEN][(block * 7) % 3]!;
    await withRig({ ioMethod: 'sync' }, async ({ backend, data }) => {
      const relation = backend.openRelation(data.path, data.write(100, 1));
      assert.equal((await backend.readVisibilityMap(relation)).status(0), 0, 'no map');
      writeFileSync(`${data.file(100)}_vm`, Buffer.concat(mapPages(blocks, bits)));
      const map = await backend.readVisibilityMap(relation);
      for (let block = 0; block < blocks; block++) {
        assert.equal(map.status(block), bits(block));
        assert.equal(map.isAllVisible(block), bits(block) !== 0);
        assert.equal(map.isAllFrozen(block), bits(block) === FROZEN);
      }
      assert.equal(map.status(2 * PER_PAGE), 0);
      const visible = range(0, blocks).filter((block) => bits(block) !== 0).length;
      const frozen = range(0, blocks).filter((block) => bits(block) === FROZEN).length;
      assert.deepEqual(map.count(blocks), { allVisible: visible, allFrozen: frozen });
    });
  });
});
