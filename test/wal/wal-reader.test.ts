/** The walk over records, against WAL made in memory: what it finds, and where and why it stops. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom, type Random } from '../../testing/random.js';
import { MemorySource, SEGMENT_SIZE, SYSTEM_IDENTIFIER, WalImage } from '../../testing/wal-image.js';
import { ReadFailedError } from '../../src/base/errors.js';
import { PENDING } from '../../src/shmem/wait.js';
import { formatLsn, writeLsn, type Lsn } from '../../src/wal/lsn.js';
import type { WalEnd, WalEndReason } from '../../src/wal/reader-end.js';
import type { WalSource } from '../../src/wal/source.js';
import { WalReader, type WalReaderOptions } from '../../src/wal/wal-reader.js';

const SEED = 20_261_123;
const PAGE = 8192;

interface Walk {
  readonly lsns: Lsn[];
  readonly ends: Lsn[];
  readonly end: WalEnd;
  readonly reader: WalReader;
}

function walk(
  image: WalImage,
  options: Partial<WalReaderOptions> = {},
  random: Random = seededRandom(SEED),
): Walk {
  const start = options.start ?? SEGMENT_SIZE;
  const source = new MemorySource(image, start, random);
  return walkSource(source, image, { ...options, start });
}

function walkSource(source: WalSource, image: WalImage, options: WalReaderOptions): Walk {
  const reader = new WalReader(source, options);
  const lsns: Lsn[] = [];
  const ends: Lsn[] = [];
  const byLsn = new Map(image.records.map((record) => [record.lsn, record]));
  for (let more = reader.next(); more !== false; more = reader.next()) {
    if (more === PENDING) continue;
    const { record } = reader;
    const wanted = byLsn.get(record.lsn);
    assert.ok(wanted, `there is no record at ${formatLsn(record.lsn)}`);
    const { offset, totalLength } = record;
    assert.deepEqual(
      Buffer.from(record.bytes.subarray(offset, offset + totalLength)),
      Buffer.from(wanted.bytes),
    );
    lsns.push(record.lsn);
    ends.push(record.end);
  }
  assert.ok(reader.end);
  assert.equal(reader.next(), false);
  return { lsns, ends, end: reader.end, reader };
}

/** Records of all lengths, with ends at page and segment boundaries among them. */
function randomImage(random: Random, records: number): WalImage {
  const image = new WalImage();
  for (let i = 0; i < records; i++) {
    const room = PAGE - (image.position % PAGE);
    const lengths = [
      random.below(200),
      random.below(20_000),
      Math.max(0, room - 29 - random.below(3) * 8),
      random.below(260),
    ];
    const mainData = new Uint8Array(random.pick(lengths)).fill(i);
    if (random.chance(0.005)) image.switchSegment();
    image.append({ resourceManager: 10, xid: i, mainData });
  }
  return image;
}

describe('a walk', () => {
  for (let seed = SEED; seed < SEED + 5; seed++) {
    it(`finds every record over pages and segments, in chunks of any size (seed ${seed})`, () => {
      const random = seededRandom(seed);
      const image = randomImage(random, 400);
      assert.ok(image.segments.size > 1);
      const { lsns, ends, end, reader } = walk(image, {}, random);
      assert.deepEqual(
        lsns,
        image.records.map(({ lsn }) => lsn),
      );
      assert.deepEqual(
        ends,
        image.records.map((record) => record.end),
      );
      assert.deepEqual([reader.majorVersion, reader.systemIdentifier], [18, SYSTEM_IDENTIFIER]);
      assert.ok(['zeros', 'missing-segment'].includes(end.reason), end.message);
      assert.ok(end.end >= image.last.end);
    });
  }

  it('begins at the first record at or after any position', () => {
    const random = seededRandom(SEED);
    const image = randomImage(random, 120);
    for (let i = 0; i < 60; i++) {
      // Behind a switch nothing is written, and no record can be found.
      const { lsn: near, bytes } = random.pick(image.records);
      const start = near + random.below(bytes.length);
      const wanted = image.records.filter(({ lsn }) => lsn >= start).map(({ lsn }) => lsn);
      assert.deepEqual(
        walk(image, { start }, random).lsns,
        wanted,
        `seed ${SEED}, start ${formatLsn(start)}`,
      );
    }
  });

  it('begins exactly where a record does, if asked to, and nowhere else', () => {
    const image = randomImage(seededRandom(SEED), 40);
    const { lsn } = image.records[7]!;
    assert.equal(walk(image, { start: lsn, exact: true }).lsns[0], lsn);
    const inHeader = walk(image, { start: SEGMENT_SIZE + 16, exact: true });
    assert.deepEqual([inHeader.lsns, inHeader.end.reason], [[], 'bad-start']);
    const odd = walk(image, { start: lsn + 4, exact: true });
    assert.deepEqual([odd.lsns, odd.end.reason, odd.end.end], [[], 'bad-start', lsn + 4]);
  });

  it('returns what ends before the end of its range, and nothing else', () => {
    const image = randomImage(seededRandom(SEED), 60);
    for (const { lsn, end } of image.records.slice(5, 50)) {
      const whole = walk(image, { end });
      assert.deepEqual([whole.lsns.at(-1), whole.end.reason], [lsn, 'end-of-range']);
      const short = walk(image, { end: end - 8 });
      assert.equal(short.lsns.includes(lsn), false);
      assert.equal(short.end.reason, 'end-of-range');
    }
  });

  it('goes on behind a switch in the next segment', () => {
    const image = new WalImage();
    image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
    const { lsn } = image.switchSegment();
    const next = image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
    assert.equal(next.lsn, 2 * SEGMENT_SIZE + 40);
    const { lsns, ends } = walk(image);
    assert.deepEqual(lsns.slice(1), [lsn, next.lsn]);
    assert.equal(ends[1], 2 * SEGMENT_SIZE);
  });

  it('passes over a record that was given up, if the next one names it', () => {
    const image = new WalImage();
    image.append({ resourceManager: 10, mainData: new Uint8Array(100) });
    const lost = image.appendUnfinished({ resourceManager: 10, mainData: new Uint8Array(9000) });
    const named = new Uint8Array(16);
    writeLsn(new DataView(named.buffer), 0, lost);
    image.append({ resourceManager: 0, info: 0xd0, mainData: named });
    image.append({ resourceManager: 10, mainData: new Uint8Array(100) });
    assert.deepEqual(
      walk(image).lsns,
      image.records.map(({ lsn }) => lsn),
    );
  });

  it('stops where the record that stands for the rest names another one', () => {
    const image = new WalImage();
    image.append({ resourceManager: 10, mainData: new Uint8Array(100) });
    image.appendUnfinished({ resourceManager: 10, mainData: new Uint8Array(9000) });
    const { lsn } = image.append({ resourceManager: 0, info: 0xd0, mainData: new Uint8Array(16) });
    const { lsns, end } = walk(image);
    assert.deepEqual([lsns.length, end.reason, end.end], [1, 'bad-continuation', lsn]);
  });

  it('hands on what the source throws', () => {
    const failure = new ReadFailedError('"segment"', { path: 'segment', errno: 5 });
    const source: WalSource = {
      segmentSize: SEGMENT_SIZE,
      timeline: 1,
      end: 'missing-segment',
      next: () => {
        throw failure;
      },
    };
    assert.throws(() => new WalReader(source, { start: SEGMENT_SIZE }).next(), failure);
  });
});

// --- damage ----------------------------------------------------------------------------------------

/** A small record, one over three pages, a small one, and again. */
function twelve(): WalImage {
  const image = new WalImage();
  for (let i = 0; i < 12; i++) {
    image.append({
      resourceManager: 10,
      xid: i,
      mainData: new Uint8Array(i % 3 === 1 ? 18_000 : 150).fill(i),
    });
  }
  return image;
}

/** Where the record's second page begins. */
const nextPage = (lsn: Lsn): Lsn => (Math.floor(lsn / PAGE) + 1) * PAGE;

type Damage = (image: WalImage, lsn: Lsn) => void;
const view = (image: WalImage, lsn: Lsn): DataView => {
  const segment = image.segment(Math.floor(lsn / SEGMENT_SIZE));
  return new DataView(segment.buffer, segment.byteOffset + (lsn % SEGMENT_SIZE));
};

const damages: [string, number, WalEndReason, Damage][] = [
  ['a bit of a small record', 6, 'bad-crc', (image, lsn) => image.flip(lsn + 100, 3)],
  ['a bit of a record over pages', 7, 'bad-crc', (image, lsn) => image.flip(nextPage(lsn) + 5000, 7)],
  ['a bit of the CRC', 6, 'bad-crc', (image, lsn) => image.flip(lsn + 20)],
  ['a bit of the xid', 6, 'bad-crc', (image, lsn) => image.flip(lsn + 4)],
  ['a length that is too short', 6, 'bad-length', (image, lsn) => view(image, lsn).setUint32(0, 23, true)],
  [
    'a length that is too long',
    6,
    'bad-length',
    (image, lsn) => view(image, lsn).setUint32(0, 2 ** 31, true),
  ],
  [
    'a length that the next page denies',
    6,
    'bad-continuation',
    (image, lsn) => view(image, lsn).setUint32(0, 2 ** 29, true),
  ],
  ['no length: nothing was written', 6, 'zeros', (image, lsn) => view(image, lsn).setUint32(0, 0, true)],
  [
    'a resource manager that does not exist',
    6,
    'bad-resource-manager',
    (image, lsn) => view(image, lsn).setUint8(17, 22),
  ],
  ['a link to another record before', 6, 'bad-prev-link', (image, lsn) => image.flip(lsn + 8, 4)],
  ['a page of another position', 7, 'bad-page-address', (image, lsn) => image.flip(nextPage(lsn) + 11)],
  ['a page with another magic number', 7, 'bad-magic', (image, lsn) => image.flip(nextPage(lsn))],
  [
    'a page of another version',
    7,
    'bad-magic',
    (image, lsn) => view(image, nextPage(lsn)).setUint16(0, 0xd116, true),
  ],
  [
    'a page with flags that do not exist',
    7,
    'bad-page-flags',
    (image, lsn) => image.flip(nextPage(lsn) + 2, 5),
  ],
  [
    'a page of an earlier timeline',
    7,
    'bad-timeline',
    (image, lsn) => view(image, nextPage(lsn)).setUint32(4, 0, true),
  ],
  [
    'a page that was never written',
    7,
    'zeros',
    (image, lsn) => new Uint8Array(view(image, nextPage(lsn)).buffer).fill(0, nextPage(lsn) % SEGMENT_SIZE),
  ],
  ['a page that does not go on', 7, 'bad-continuation', (image, lsn) => image.flip(nextPage(lsn) + 2)],
  ['a page that goes on with less', 7, 'bad-continuation', (image, lsn) => image.flip(nextPage(lsn) + 16, 2)],
  ['a file cut inside a small record', 6, 'truncated', (image, lsn) => cut(image, lsn + 50)],
  ['a file cut inside the header', 6, 'truncated', (image, lsn) => cut(image, lsn + 8)],
  ['a file cut between records', 6, 'truncated', (image, lsn) => cut(image, lsn)],
  ['a file cut at a page', 7, 'truncated', (image, lsn) => cut(image, nextPage(lsn))],
  [
    'a file cut on the last page of a record',
    7,
    'truncated',
    (image, lsn) => cut(image, nextPage(lsn) + 1000),
  ],
];

function cut(image: WalImage, lsn: Lsn): void {
  image.segments.set(1, image.segment(1).slice(0, lsn % SEGMENT_SIZE));
}

describe('a walk stops exactly at the record with', () => {
  for (const [what, index, reason, damage] of damages) {
    it(`${what}: ${reason}`, () => {
      const image = twelve();
      const { lsn } = image.records[index]!;
      damage(image, lsn);
      const { lsns, end } = walk(image);
      assert.deepEqual(
        lsns,
        image.records.slice(0, index).map((record) => record.lsn),
      );
      assert.deepEqual([end.reason, formatLsn(end.end)], [reason, formatLsn(lsn)], end.message);
      assert.match(end.message, /[0-9A-F]+\/[0-9A-F]+/);
    });
  }

  it('any bit flipped, of records that fill a page and more: never a wrong record', () => {
    const random = seededRandom(SEED);
    for (let i = 0; i < 300; i++) {
      const image = twelve();
      const { lsn, end } = image.records[1 + random.below(10)]!;
      const damaged = lsn + random.below(end - lsn);
      image.flip(damaged, random.below(8));
      // `walk` compares each record that it finds with the one that was written; padding and unused flags may differ.
      const found = walk(image).lsns;
      const untouched = image.records.filter((record) => record.end <= damaged).length;
      assert.ok(found.length >= untouched, `seed ${SEED}, round ${i}, ${formatLsn(damaged)}`);
    }
  });
});

describe('a walk stops at the segment that', () => {
  /** Two segments, the second reached by a switch; and what ends the walk there. */
  function withSecond(change: (image: WalImage) => void, options: Partial<WalReaderOptions> = {}): WalEnd {
    const image = new WalImage();
    image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
    image.switchSegment();
    image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
    change(image);
    const { lsns, end } = walk(image, options);
    assert.equal(lsns.length, 2);
    assert.equal(end.end, 2 * SEGMENT_SIZE);
    return end;
  }
  const second = 2 * SEGMENT_SIZE;

  it('is missing', () => {
    const { reason, message } = withSecond((image) => image.segments.delete(2));
    assert.equal(reason, 'missing-segment');
    assert.match(message, /there is no segment 000000010000000000000002/);
  });

  it('is recycled and not yet written over', () => {
    const { reason } = withSecond((image) => image.segments.set(2, image.segment(1).slice()));
    assert.equal(reason, 'bad-page-address');
  });

  it('is of another cluster', () => {
    assert.equal(withSecond((image) => image.flip(second + 24)).reason, 'other-system');
  });

  it('has another size', () => {
    assert.equal(withSecond((image) => image.flip(second + 34, 7)).reason, 'other-sizes');
  });

  it('begins with a short header', () => {
    assert.equal(withSecond((image) => image.flip(second + 2, 1)).reason, 'bad-page-flags');
  });

  it('is empty', () => {
    assert.equal(withSecond((image) => image.segments.set(2, new Uint8Array(0))).reason, 'truncated');
  });
});

it('a walk finds at once that the first segment is of another cluster than the control file', () => {
  const image = twelve();
  const { lsns, end } = walk(image, { start: image.records[8]!.lsn, systemIdentifier: 1n });
  assert.deepEqual([lsns, end.reason], [[], 'other-system']);
});

it('a record of many pages needs room for what arrives, not for what its length promises', () => {
  const image = new WalImage();
  image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
  image.append({ resourceManager: 10, mainData: new Uint8Array(3_000_000).fill(1) });
  image.append({ resourceManager: 10, mainData: new Uint8Array(9) });
  assert.equal(walk(image).lsns.length, 3);
});
