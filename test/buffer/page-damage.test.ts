/** D-53: what is found wrong with the pages of one read is one report. D-50: and one status. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AioReturn, ResultStatus } from '../../src/aio/result.js';
import {
  checksumFailuresIn,
  DamageCounts,
  fateOf,
  logEventOf,
  PageFate,
  ReadFlag,
  reportDamage,
} from '../../src/buffer/page-damage.js';
import { PageVerdict } from '../../src/page/page-verdict.js';
import { SmgrWord } from '../../src/smgr/smgr-target.js';

const { INVALID, ZEROED, IGNORED, CHECKSUM } = PageFate;

/** The result of a read of as many blocks as there are fates, from block 100 on. */
function resultOf(fates: readonly number[]): AioReturn {
  const counts = new DamageCounts();
  counts.reset();
  fates.forEach((fate, at) => {
    counts.count(at, fate);
  });
  const result = new AioReturn();
  result.status = counts.status;
  result.errorData = counts.errorData;
  result.description = 'base/5/7';
  result.targetData[SmgrWord.BLOCK] = 100;
  result.targetData[SmgrWord.COUNT] = fates.length;
  return result;
}

interface Said {
  message: string;
  detail?: string | undefined;
  hint?: string | undefined;
}

function said({ message, detail, hint }: Said): Said {
  return { message, ...(detail !== undefined && { detail }), ...(hint !== undefined && { hint }) };
}

const single = (what: string): Said => ({ message: what });
const cases: { name: string; fates: number[]; status: ResultStatus; says: Said }[] = [
  {
    name: 'P1, one invalid page',
    fates: [0, INVALID, 0],
    status: ResultStatus.ERROR,
    says: single('invalid page in block 101 of relation "base/5/7"'),
  },
  {
    name: 'P2, several invalid pages',
    fates: [0, INVALID, INVALID | CHECKSUM],
    status: ResultStatus.ERROR,
    says: {
      message: '2 invalid pages among blocks 100..102 of relation "base/5/7"',
      detail: 'Block 101 is the first invalid page.',
      hint: 'See the log for the other 1 invalid block(s).',
    },
  },
  {
    name: 'P3, one zeroed page',
    fates: [ZEROED],
    status: ResultStatus.WARNING,
    says: single('invalid page in block 100 of relation "base/5/7": the page was zeroed'),
  },
  {
    name: 'P4, several zeroed pages',
    fates: [0, ZEROED, 0, ZEROED, ZEROED],
    status: ResultStatus.WARNING,
    says: {
      message: '3 pages zeroed among blocks 100..104 of relation "base/5/7"',
      detail: 'Block 101 is the first zeroed page.',
      hint: 'See the log for the other 2 zeroed block(s).',
    },
  },
  {
    name: 'P5, one ignored checksum failure',
    fates: [0, IGNORED | CHECKSUM],
    status: ResultStatus.WARNING,
    says: single('checksum failure ignored in block 101 of relation "base/5/7"'),
  },
  {
    name: 'P6, several ignored checksum failures',
    fates: [0, 0, IGNORED | CHECKSUM, IGNORED | CHECKSUM],
    status: ResultStatus.WARNING,
    says: {
      message: '2 checksum failures ignored among blocks 100..103 of relation "base/5/7"',
      detail: 'Block 102 is the first ignored one.',
      hint: 'See the log for the other 1 ignored block(s).',
    },
  },
  {
    name: 'P7, one zeroed page and an ignored checksum failure',
    fates: [IGNORED | CHECKSUM, ZEROED],
    status: ResultStatus.WARNING,
    says: {
      message: '1 page zeroed and 1 checksum failure ignored among blocks 100..101 of relation "base/5/7"',
      hint: 'See the log for the other 1 block(s).',
    },
  },
  {
    name: 'P7, several of both',
    fates: [IGNORED | CHECKSUM, ZEROED, ZEROED | CHECKSUM, IGNORED | CHECKSUM],
    status: ResultStatus.WARNING,
    says: {
      message: '2 pages zeroed and 2 checksum failures ignored among blocks 100..103 of relation "base/5/7"',
      detail: 'Block 101 is the first zeroed page.',
      hint: 'See the log for the other 3 block(s).',
    },
  },
  {
    name: 'errors win over everything else',
    fates: [ZEROED, IGNORED | CHECKSUM, INVALID],
    status: ResultStatus.ERROR,
    says: single('invalid page in block 102 of relation "base/5/7"'),
  },
];

describe('D-50, D-53: the damage of one read', () => {
  for (const { name, fates, status, says } of cases) {
    it(name, () => {
      const result = resultOf(fates);
      assert.equal(result.status, status);
      const report = reportDamage(result);
      assert.equal(report instanceof Error, status === ResultStatus.ERROR);
      assert.deepEqual(said(report), says);
      const checksums = fates.filter((fate) => (fate & CHECKSUM) !== 0).length;
      assert.equal(checksumFailuresIn(result.errorData), checksums);
    });
  }

  it('fits into a result, at most', () => {
    const all = Array.from({ length: 128 }, () => IGNORED | CHECKSUM);
    assert.equal(checksumFailuresIn(resultOf(all).errorData), 128);
    assert.match(
      reportDamage(resultOf(all)).message,
      /^128 checksum failures ignored among blocks 100\.\.227/,
    );
    const last = [...all.fill(0, 0, 127).slice(0, 127), INVALID | CHECKSUM];
    assert.match(reportDamage(resultOf(last)).message, /^invalid page in block 227 /);
    assert.ok(resultOf(all).errorData >= 0);
  });
});

describe('the fate of a bad page', () => {
  const { CHECKSUM_MISMATCH, STRUCTURE, CHECKSUM_MISMATCH_AND_STRUCTURE, NEW_NOT_ZERO } = PageVerdict;
  const { ZERO_ON_ERROR, IGNORE_CHECKSUM_FAILURES } = ReadFlag;
  const both = ZERO_ON_ERROR | IGNORE_CHECKSUM_FAILURES;
  const table: [PageVerdict, number, number][] = [
    [CHECKSUM_MISMATCH, 0, INVALID | CHECKSUM],
    [CHECKSUM_MISMATCH, ZERO_ON_ERROR, ZEROED | CHECKSUM],
    [CHECKSUM_MISMATCH, IGNORE_CHECKSUM_FAILURES, IGNORED | CHECKSUM],
    [CHECKSUM_MISMATCH, both, IGNORED | CHECKSUM],
    [STRUCTURE, 0, INVALID],
    [STRUCTURE, IGNORE_CHECKSUM_FAILURES, INVALID],
    [STRUCTURE, both, ZEROED],
    [CHECKSUM_MISMATCH_AND_STRUCTURE, IGNORE_CHECKSUM_FAILURES, INVALID | CHECKSUM],
    [CHECKSUM_MISMATCH_AND_STRUCTURE, both, ZEROED | CHECKSUM],
    [NEW_NOT_ZERO, IGNORE_CHECKSUM_FAILURES, INVALID],
    [NEW_NOT_ZERO, ZERO_ON_ERROR, ZEROED],
  ];
  for (const [verdict, flags, fate] of table) {
    it(`verdict ${verdict} with flags ${flags}`, () => {
      assert.equal(fateOf(verdict, flags), fate);
    });
  }

  it('is said to the log in one form for each', () => {
    assert.equal(logEventOf('p', 3, INVALID | CHECKSUM).code, 'ERR_PGAIO_INVALID_PAGE');
    assert.equal(logEventOf('p', 3, ZEROED).code, 'PGAIO_PAGE_ZEROED');
    assert.deepEqual(logEventOf('p', 3, IGNORED | CHECKSUM), {
      level: 'log',
      code: 'PGAIO_CHECKSUM_FAILURE_IGNORED',
      message: 'checksum failure ignored in block 3 of relation "p"',
      path: 'p',
      block: 3,
    });
  });
});
