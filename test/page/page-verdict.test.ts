import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pageChecksum } from '../../src/page/page-checksum.js';
import {
  isNewPage,
  pageFlags,
  pageLower,
  pageLsn,
  pageSpecial,
  pageStoredChecksum,
  pageUpper,
} from '../../src/page/page-header.js';
import {
  hasChecksumMismatch,
  hasStructuralDamage,
  isFine,
  pageVerdict,
  PageVerdict,
  VerifyMode,
} from '../../src/page/page-verdict.js';
import { breakChecksum, makePage, type PageOptions } from '../../testing/pages.js';

describe('page verdict', () => {
  it('passes a sane page with the right checksum, at its own block only', () => {
    const page = makePage(42);
    assert.equal(pageVerdict(page, 42), PageVerdict.OK);
    assert.equal(pageVerdict(page, 43), PageVerdict.CHECKSUM_MISMATCH);
    assert.equal(pageVerdict(page, 43, VerifyMode.NO_CHECKSUMS), PageVerdict.OK);
  });

  const insane: [string, PageOptions][] = [
    ['lower beyond upper', { lower: 4097, upper: 4096 }],
    ['upper beyond special', { upper: 8184, special: 8176 }],
    ['special beyond the page', { special: 8200 }],
    ['special misaligned', { upper: 4096, special: 8188 }],
    ['an unknown flag', { flags: 0x0008 }],
    ['the highest flag', { flags: 0x8000 }],
  ];
  for (const [what, options] of insane) {
    it(`finds structural damage that a right checksum hides: ${what}`, () => {
      const page = makePage(42, options);
      assert.equal(pageVerdict(page, 42), PageVerdict.STRUCTURE);
      assert.equal(pageVerdict(page, 42, VerifyMode.NO_CHECKSUMS), PageVerdict.STRUCTURE);
      breakChecksum(page);
      assert.equal(pageVerdict(page, 42), PageVerdict.CHECKSUM_MISMATCH_AND_STRUCTURE);
    });
  }

  it('accepts the extremes that PostgreSQL accepts', () => {
    assert.equal(pageVerdict(makePage(1, { flags: 7 }), 1), PageVerdict.OK);
    assert.equal(pageVerdict(makePage(1, { lower: 0, upper: 8, special: 8 }), 1), PageVerdict.OK);
    assert.equal(pageVerdict(makePage(1, { lower: 8192 }), 1), PageVerdict.OK);
    assert.equal(pageVerdict(makePage(1, { blockSize: 32768 }), 1), PageVerdict.OK);
  });

  it('tells the two kinds of new pages apart, and the two ways to look at them', () => {
    const zero = new Uint8Array(8192);
    assert.equal(pageVerdict(zero, 9), PageVerdict.NEW_ZERO);
    const lastByte = new Uint8Array(8192);
    lastByte[8191] = 1;
    assert.equal(pageVerdict(lastByte, 9), PageVerdict.NEW_NOT_ZERO);

    assert.ok(isFine(PageVerdict.NEW_ZERO, VerifyMode.POOL));
    assert.ok(isFine(PageVerdict.NEW_ZERO, VerifyMode.SCAN));
    assert.ok(!isFine(PageVerdict.NEW_NOT_ZERO, VerifyMode.POOL));
    assert.ok(!isFine(PageVerdict.NEW_NOT_ZERO, VerifyMode.NO_CHECKSUMS));
    assert.ok(isFine(PageVerdict.NEW_NOT_ZERO, VerifyMode.SCAN));
    assert.ok(isFine(PageVerdict.NEW_NOT_ZERO, VerifyMode.SCAN + VerifyMode.NO_CHECKSUMS));
  });

  it('names both kinds of damage', () => {
    const both = PageVerdict.CHECKSUM_MISMATCH_AND_STRUCTURE;
    const findings = [PageVerdict.OK, PageVerdict.CHECKSUM_MISMATCH, PageVerdict.STRUCTURE, both];
    assert.deepEqual(findings.map(hasChecksumMismatch), [false, true, false, true]);
    assert.deepEqual(findings.map(hasStructuralDamage), [false, false, true, true]);
    for (const verdict of [PageVerdict.NEW_ZERO, PageVerdict.NEW_NOT_ZERO]) {
      assert.ok(!hasChecksumMismatch(verdict) && !hasStructuralDamage(verdict));
    }
  });
});

describe('page header', () => {
  it('reads every field, at an offset too', () => {
    const memory = new Uint8Array(3 * 8192);
    memory.set(makePage(1, { lower: 28, upper: 4000, special: 8176, flags: 5 }), 8192);
    const view = new DataView(memory.buffer);
    view.setUint32(8192, 0x12, true);
    view.setUint32(8196, 0xfedcba98, true);
    assert.equal(pageLsn(view, 8192), 0x12fedcba98);
    assert.equal(pageFlags(view, 8192), 5);
    assert.equal(pageLower(view, 8192), 28);
    assert.equal(pageUpper(view, 8192), 4000);
    assert.equal(pageSpecial(view, 8192), 8176);
    assert.equal(
      pageStoredChecksum(view, 8192),
      pageChecksum(makePage(1, { lower: 28, upper: 4000, special: 8176, flags: 5 }), 1),
    );
    assert.ok(isNewPage(view) && !isNewPage(view, 8192));
  });
});
