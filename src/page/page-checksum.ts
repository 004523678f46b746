/**
 * PostgreSQL's data page checksum (`pg_checksum_page`) in plain TypeScript: the readable twin of
 * page-kernel.wat, which tests hold against it, and the version for pages outside shared memory.
 *
 * The page is read as rows of 32 words. Each column has its own FNV-1a-like sum, two rows of zeros are mixed
 * in at the end, and the sums are folded by xor. The checksum field itself counts as zero; it is masked
 * while reading, never written, because others may be reading the same page.
 */
import { PageHeaderOffset } from './page-header.js';

const SUM_COUNT = 32;
const ROW_BYTES = SUM_COUNT * 4;
const FNV_PRIME = 16777619;

/** Start values of the 32 sums. page-kernel.wat holds them too: it has no way to import constants. */
// prettier-ignore
const START_SUMS = Int32Array.of(
  0x5b1f36e9, 0xb8525960, 0x02ab50aa, 0x1de66d2a, 0x79ff467a, 0x9bb9f8a3, 0x217e7cd2, 0x83e13d2c,
  0xf8d4474f, 0xe39eb970, 0x42c6ae16, 0x993216fa, 0x7b093b5d, 0x98daff3c, 0xf718902a, 0x0b1c9cdb,
  0xe58f764b, 0x187636bc, 0x5d7b3bb1, 0xe73de7de, 0x92bec979, 0xcca6c0b2, 0x304a0979, 0x85aa43d4,
  0x783125bb, 0x6ca8eaa2, 0xe407eac6, 0x4b5cfc3e, 0x9fbf8c76, 0x15ca20be, 0xf2ca9fd3, 0x959bd756,
);

const sums = new Int32Array(SUM_COUNT);

/**
 * The checksum that `page` should carry, 1..65535.
 *
 * @param page one whole page; its length is the block size
 * @param blockNumber position in the relation's fork, counted across segments (unsigned 32 bits)
 */
export function pageChecksum(page: Uint8Array, blockNumber: number): number {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  sums.set(START_SUMS);
  for (let row = 0; row < page.byteLength; row += ROW_BYTES) {
    for (let column = 0; column < SUM_COUNT; column++) {
      const at = row + column * 4;
      const word = view.getInt32(at, true);
      // pd_checksum is the low half of its word.
      mix(column, at === PageHeaderOffset.checksum ? word & 0xffff0000 : word);
    }
  }
  for (let column = 0; column < SUM_COUNT; column++) {
    mix(column, 0);
    mix(column, 0);
  }
  const folded = sums.reduce((left, right) => left ^ right);
  // Never 0, so that 0 can mean "no checksum".
  return (((folded ^ blockNumber) >>> 0) % 65535) + 1;
}

function mix(column: number, word: number): void {
  const mixed = sums[column]! ^ word;
  sums[column] = Math.imul(mixed, FNV_PRIME) ^ (mixed >>> 17);
}
