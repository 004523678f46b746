import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pageChecksum } from '../../src/page/page-checksum.js';
import { BLOCK_SIZES } from '../../src/page/page-header.js';
import { createPageKernel } from '../../src/page/page-kernel.js';
import { isFine, pageVerdict, PageVerdict, VerifyMode } from '../../src/page/page-verdict.js';
import { breakChecksum, makePage } from '../../testing/pages.js';

const BLOCK = 8192;
const memory = new WebAssembly.Memory({ initial: 20, maximum: 20, shared: true });
const bytes = new Uint8Array(memory.buffer);
const kernel = createPageKernel(memory);

/** Random pages that often pass one check or another: a page of noise would only ever fail the first. */
function pages(blockSize: number): fc.Arbitrary<Uint8Array> {
  const offset = fc.oneof(fc.constantFrom(0, 24, blockSize), fc.nat(blockSize), fc.nat(0xffff));
  const header = fc.record({
    fill: fc.nat(255),
    flags: fc.oneof(fc.nat(7), fc.nat(0xffff)),
    lower: offset,
    upper: offset,
    special: fc.oneof(offset, fc.constant(blockSize)),
    noise: fc.uint8Array({ maxLength: 64 }),
    noiseAt: fc.nat(blockSize - 64),
    broken: fc.boolean(),
  });
  return header.map(({ noise, noiseAt, broken, ...options }) => {
    const page = makePage(7, { blockSize, ...options });
    if (broken) page.set(noise, noiseAt);
    return page;
  });
}

const blockNumbers = fc.oneof(fc.constant(7), fc.nat(0xffffffff), fc.constant(0xffffffff));

describe('page kernel', () => {
  for (const blockSize of BLOCK_SIZES) {
    const kernelOfSize = createPageKernel(memory, blockSize);
    it(`agrees with its TypeScript twin on pages of ${blockSize} bytes, and writes nothing`, () => {
      fc.assert(
        fc.property(pages(blockSize), blockNumbers, fc.nat(3), fc.nat(15), (page, block, mode, at) => {
          const offset = at * 16; // not only where pages usually are
          bytes.fill(0xee, 0, offset + blockSize + 16);
          bytes.set(page, offset);
          assert.equal(kernelOfSize.checksum(offset, block), pageChecksum(page, block));
          const verdict = kernelOfSize.verdict(offset, block, mode);
          assert.equal(verdict, pageVerdict(page, block, mode));
          assert.equal(kernelOfSize.verifyRun(offset, block, 1, mode) === 1, isFine(verdict, mode));
          assert.deepEqual(bytes.slice(offset, offset + blockSize), page);
        }),
        { numRuns: 200 },
      );
    });
  }

  it('ignores the stored checksum when computing', () => {
    const page = makePage(3);
    const before = pageChecksum(page, 3);
    breakChecksum(page);
    bytes.set(page, 0);
    assert.equal(kernel.checksum(0, 3), before);
    assert.equal(pageChecksum(page, 3), before);
  });

  it('has every bit of the page and of the block number in the checksum', () => {
    const page = makePage(3, { fill: 0 });
    bytes.set(page, 0);
    const right = kernel.checksum(0, 3);
    const missed: number[] = [];
    for (let bit = 0; bit < BLOCK * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      if (kernel.checksum(0, 3) === right) missed.push(bit);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
    // The 16 bits of pd_checksum, and now and then a collision: 65 thousand flips, 65 thousand sums.
    const field = missed.filter((bit) => bit >= 64 && bit < 80);
    assert.equal(field.length, 16);
    assert.ok(missed.length - 16 < 20, `${missed.length - 16} flips went unnoticed`);
    for (let bit = 0; bit < 32; bit++) assert.notEqual(kernel.checksum(0, 3 ^ (1 << bit)), right);
  });

  it('stops a run at the first page that does not pass, and says nothing about the rest', () => {
    const count = 128;
    for (let index = 0; index < count; index++) bytes.set(makePage(1000 + index), index * BLOCK);
    assert.equal(kernel.verifyRun(0, 1000, count, VerifyMode.POOL), count);
    assert.equal(kernel.verifyRun(0, 1001, count, VerifyMode.POOL), 0);
    assert.equal(kernel.verifyRun(0, 1000, 0, VerifyMode.POOL), 0);
    for (const damaged of [127, 64, 1, 0]) {
      bytes[damaged * BLOCK + 5000]! ^= 1;
      assert.equal(kernel.verifyRun(0, 1000, count, VerifyMode.POOL), damaged);
      assert.equal(kernel.verifyRun(0, 1000, count, VerifyMode.NO_CHECKSUMS), count);
    }
  });

  it('reaches the end of the memory and not beyond', () => {
    const last = bytes.length - BLOCK;
    bytes.set(makePage(5), last);
    assert.equal(kernel.verifyRun(last, 5, 1, VerifyMode.POOL), 1);
    assert.throws(() => kernel.checksum(last + 16, 5), { name: 'RuntimeError' });
    assert.throws(() => kernel.checksum(2 ** 32 - BLOCK, 5), { name: 'RuntimeError' });
  });

  it('takes only block sizes that PostgreSQL knows', () => {
    assert.throws(() => createPageKernel(memory, 8191), /no PostgreSQL block size: 8191/);
  });
});

describe('page kernel over 4 GiB', () => {
  it('reads offsets as unsigned, up to the last page', (context) => {
    let large: WebAssembly.Memory;
    try {
      large = new WebAssembly.Memory({ initial: 65536, maximum: 65536, shared: true });
    } catch (error) {
      context.skip(`no 4 GiB of address space: ${String(error)}`);
      return;
    }
    const page = makePage(0x80000001);
    const largeKernel = createPageKernel(large);
    for (const offset of [2 ** 31 - BLOCK, 2 ** 31, 2 ** 32 - BLOCK]) {
      new Uint8Array(large.buffer, offset, BLOCK).set(page);
      assert.equal(largeKernel.verdict(offset, 0x80000001), PageVerdict.OK);
      assert.equal(largeKernel.verifyRun(offset, 0x80000001, 1, VerifyMode.POOL), 1);
    }
    // The zero test runs to the wrapped end as well.
    new Uint8Array(large.buffer, 2 ** 32 - BLOCK, BLOCK).fill(0);
    assert.equal(largeKernel.verdict(2 ** 32 - BLOCK, 1), PageVerdict.NEW_ZERO);
  });
});
