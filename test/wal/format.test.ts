/** LSNs, names of segments, page headers, records: encoded and decoded, and what is refused. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { encodeRecord, sealRecord, type RecordBlock } from '../../src/wal/encode-record.js';
import { logicalMessage } from '../../src/wal/logical-message.js';
import { formatLsn, formatPaddedLsn, LSN_MAX, parseLsn, readLsn, writeLsn } from '../../src/wal/lsn.js';
import {
  decodePageHeader,
  encodePageHeader,
  PAGE_MAGIC,
  PAGE_MAGICS,
  WalPageHeader,
} from '../../src/wal/page-header.js';
import { RecordDecoder, type WalRecord } from '../../src/wal/record.js';
import { recordCrc, RecordOffset } from '../../src/wal/record-format.js';
import { resourceManagerByName, resourceManagerName } from '../../src/wal/resource-managers.js';
import {
  isSegmentSize,
  parseSegmentFileName,
  segmentFileName,
  segmentNumber,
} from '../../src/wal/segments.js';

const MB = 2 ** 20;
const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

describe('LSNs', () => {
  it('are printed as PostgreSQL 18 prints them', () => {
    assert.equal(formatLsn(0x3000028), '0/3000028');
    assert.equal(formatPaddedLsn(0x3000028), '0/03000028');
    assert.equal(formatLsn(0xabcde * 2 ** 32 + 0xf), 'ABCDE/F');
  });

  it('come back from text and from bytes', () => {
    const view = new DataView(new ArrayBuffer(8));
    fc.assert(
      fc.property(fc.maxSafeNat(), (lsn) => {
        assert.equal(parseLsn(formatLsn(lsn)), lsn);
        assert.equal(parseLsn(formatPaddedLsn(lsn).toLowerCase()), lsn);
        writeLsn(view, 0, lsn);
        assert.equal(view.getBigUint64(0, true), BigInt(lsn));
        assert.equal(readLsn(view, 0), lsn);
      }),
    );
  });

  it('above 2^53 are refused in text, and in bytes equal none that is supported', () => {
    assert.equal(parseLsn('1FFFFF/FFFFFFFF'), LSN_MAX);
    assert.throws(() => parseLsn('200000/0'), {
      code: 'ERR_PGAIO_SETTING',
      message: /above 1FFFFF\/FFFFFFFF/,
    });
    for (const text of ['', '0', '1/', '0/123456789', 'x/1', '1/2/3', '-1/2'])
      assert.throws(() => parseLsn(text), /is not a WAL position/);
    const view = new DataView(new ArrayBuffer(8));
    for (const huge of [2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      view.setBigUint64(0, huge, true);
      assert.ok(readLsn(view, 0) > LSN_MAX);
    }
  });
});

describe('segments', () => {
  it('have names of PostgreSQL', () => {
    assert.equal(segmentFileName(1, 3, 16 * MB), '000000010000000000000003');
    assert.equal(segmentFileName(0x1a, 256, 16 * MB), '0000001A0000000100000000');
    assert.equal(segmentFileName(1, 5, 1024 * MB), '000000010000000100000001');
  });

  it('come back from their names', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 20, max: 30 }),
        fc.nat(2 ** 22),
        fc.nat(1000),
        (bits, number, timeline) => {
          const name = parseSegmentFileName(segmentFileName(timeline, number, 2 ** bits));
          assert.ok(name !== null && name.timeline === timeline && !name.partial);
          assert.equal(segmentNumber(name, 2 ** bits), number);
        },
      ),
    );
  });

  it('are told from what is none', () => {
    for (const name of ['00000001.history', '000000010000000000000003.00000028.backup', 'x'.repeat(24)]) {
      assert.equal(parseSegmentFileName(name), null);
    }
    assert.equal(parseSegmentFileName('000000010000000000000003.partial')?.partial, true);
    // With segments of 16 MB, the last part goes up to FF.
    assert.equal(segmentNumber({ timeline: 1, high: 0, low: 256, partial: false }, 16 * MB), null);
    assert.deepEqual([MB, 1024 * MB, MB / 2, 2048 * MB, 3 * MB].map(isSegmentSize), [
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe('page headers', () => {
  const fields = { timeline: 7, segmentSize: MB, systemIdentifier: 0xfedcba9876543210n };

  it('are long at the start of a segment, else short', () => {
    const bytes = new Uint8Array(64).fill(0xee);
    const header = new WalPageHeader();
    assert.equal(encodePageHeader(viewOf(bytes), 8, { ...fields, address: 5 * MB }), 40);
    assert.ok(decodePageHeader(header, viewOf(bytes), 8, 40));
    assert.equal(header.magic, PAGE_MAGIC);
    assert.deepEqual(
      [
        header.timeline,
        header.address,
        header.systemIdentifier,
        header.segmentSize,
        header.pageSize,
        header.size,
      ],
      [7, 5 * MB, 0xfedcba9876543210n, MB, 8192, 40],
    );
    assert.equal(decodePageHeader(header, viewOf(bytes), 8, 39), false);

    const rest = { remainingLength: 100, overwritesRecord: false };
    assert.equal(encodePageHeader(viewOf(bytes), 8, { ...fields, ...rest, address: 5 * MB + 8192 }), 24);
    assert.ok(decodePageHeader(header, viewOf(bytes), 8, 24));
    assert.deepEqual(
      [header.size, header.continuesRecord, header.remainingLength, header.isLong],
      [24, true, 100, false],
    );
    assert.equal(decodePageHeader(header, viewOf(bytes), 8, 23), false);
  });

  it('are those of PostgreSQL 15 to 18', () => {
    assert.deepEqual([...PAGE_MAGICS.values()], [15, 16, 17, 18]);
    assert.equal(PAGE_MAGICS.get(PAGE_MAGIC), 18);
  });
});

it('resource managers have names, also those of extensions', () => {
  assert.deepEqual([0, 1, 10, 21, 128].map(resourceManagerName), [
    'XLOG',
    'Transaction',
    'Heap',
    'LogicalMessage',
    'custom128',
  ]);
  assert.equal(resourceManagerByName('btree'), 11);
  assert.equal(resourceManagerByName('custom255'), 255);
  assert.equal(resourceManagerByName('custom022'), null);
});

// --- records ---------------------------------------------------------------------------------------

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const hole = fc
  .tuple(fc.integer({ min: 1, max: 8191 }), fc.integer({ min: 1, max: 8191 }))
  .map(([offset, length]) => ({ offset, length: Math.min(length, 8192 - offset) }));
const image = fc
  .record({
    hole: fc.option(hole, { nil: undefined }),
    apply: fc.boolean(),
    fill: fc.integer({ min: 1, max: 255 }),
  })
  .map(({ hole: gap, apply, fill }) => {
    const page = new Uint8Array(8192).fill(fill);
    if (gap !== undefined) page.fill(0, gap.offset, gap.offset + gap.length);
    return { page, apply, ...(gap !== undefined && { hole: gap }) };
  });
const block = fc.record(
  {
    tablespace: fc.constantFrom(1663, 1664),
    database: fc.constantFrom(5, 6),
    relation: fc.constantFrom(16384, 16385),
    fork: fc.integer({ min: 0, max: 3 }),
    block: u32,
    willInit: fc.boolean(),
    image,
    data: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  },
  { requiredKeys: ['tablespace', 'database', 'relation', 'block'] },
);
const blocks = fc
  .tuple(
    fc.uniqueArray(fc.integer({ min: 0, max: 32 }), { maxLength: 5 }),
    fc.array(block, { minLength: 5, maxLength: 5 }),
  )
  .map(([ids, contents]) =>
    ids.sort((a, b) => a - b).map((id, index): RecordBlock => ({ id, ...contents[index]! })),
  );
const contents = fc.record({
  resourceManager: fc.integer({ min: 0, max: 21 }),
  info: fc.integer({ min: 0, max: 255 }),
  xid: u32,
  prev: fc.maxSafeNat(),
  origin: fc.integer({ min: 0, max: 65535 }),
  topLevelXid: u32,
  mainData: fc.uint8Array({ maxLength: 600 }),
  blocks,
});

/** The page of an image, put together again. */
function restored(record: WalRecord, id: number): Uint8Array {
  const { imageOffset, imageLength, holeOffset, holeLength } = record.blocks[id]!;
  const stored = record.bytes.subarray(imageOffset, imageOffset + imageLength);
  const page = new Uint8Array(8192);
  page.set(stored.subarray(0, holeOffset));
  page.set(stored.subarray(holeOffset), holeOffset + holeLength);
  return page;
}

describe('records', () => {
  it('come back as they were encoded, one decoder for all', () => {
    const decoder = new RecordDecoder();
    fc.assert(
      fc.property(contents, fc.integer({ min: 0, max: 40 }), (given, offset) => {
        const encoded = encodeRecord(given);
        const bytes = new Uint8Array(encoded.length + offset).fill(0xaa);
        bytes.set(encoded, offset);
        assert.equal(decoder.decode(bytes, viewOf(bytes), offset), null);
        const { record } = decoder;
        const { resourceManager, info, xid, prev, origin, topLevelXid } = record;
        assert.deepEqual({ resourceManager, info, xid, prev, origin, topLevelXid }, pick(given));
        assert.deepEqual(record.mainData(), given.mainData);
        assert.equal(record.totalLength, encoded.length);
        assert.equal(record.crc, recordCrc(bytes, offset, encoded.length));
        const ids = record.blocks.flatMap((one, id) => (id <= record.maxBlockId && one.inUse ? [id] : []));
        assert.deepEqual(
          ids,
          given.blocks.map(({ id }) => id),
        );
        for (const wanted of given.blocks) checkBlock(record, wanted);
      }),
      { numRuns: 200 },
    );
  });

  const pick = ({
    resourceManager,
    info,
    xid,
    prev,
    origin,
    topLevelXid,
  }: Parameters<typeof encodeRecord>[0]): object => ({
    resourceManager,
    info,
    xid,
    prev,
    origin,
    topLevelXid,
  });

  function checkBlock(record: WalRecord, wanted: RecordBlock): void {
    const got = record.blocks[wanted.id]!;
    const { tablespace, database, relation, fork, willInit } = got;
    assert.deepEqual(
      { tablespace, database, relation, fork, willInit, block: got.block },
      {
        tablespace: wanted.tablespace,
        database: wanted.database,
        relation: wanted.relation,
        fork: wanted.fork ?? 0,
        willInit: wanted.willInit ?? false,
        block: wanted.block,
      },
    );
    const data = record.bytes.subarray(got.dataOffset, got.dataOffset + got.dataLength);
    assert.deepEqual(Uint8Array.from(data), wanted.data ?? new Uint8Array());
    assert.equal(got.hasImage, wanted.image !== undefined);
    if (wanted.image !== undefined) assert.deepEqual(restored(record, wanted.id), wanted.image.page);
  }

  it('are linked anew when their place is known', () => {
    const record = encodeRecord({ resourceManager: 10, mainData: Uint8Array.of(1, 2, 3) });
    const before = recordCrc(record, 0, record.length);
    sealRecord(record, 0x3000028);
    assert.notEqual(recordCrc(record, 0, record.length), before);
    assert.equal(viewOf(record).getUint32(RecordOffset.crc, true), recordCrc(record, 0, record.length));
  });

  it('that make no sense say why, whatever they contain, and never throw', () => {
    const decoder = new RecordDecoder();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 80 }), (noise) => {
        const bytes = new Uint8Array(24 + noise.length);
        bytes.set(noise, 24);
        viewOf(bytes).setUint32(0, bytes.length, true);
        const problem = decoder.decode(bytes, viewOf(bytes), 0);
        assert.ok(problem === null || problem.length > 10);
      }),
      { numRuns: 2000 },
    );
  });

  const page = new Uint8Array(8192).fill(1);
  const whole = { id: 0, tablespace: 1663, database: 5, relation: 16384, block: 1 };
  const broken: [string, RegExp, (bytes: Uint8Array) => void][] = [
    ['a block number out of order', /has block 0 after block 0/, (bytes) => (bytes[24 + 25] = 0)],
    ['a header that does not exist', /has a block with number 99/, (bytes) => (bytes[24] = 99)],
    [
      'no relation before "the same"',
      /of the same relation as the one before/,
      (bytes) => (bytes[25]! |= 0x80),
    ],
    ['data without its flag', /no data, and 7 bytes of it/, (bytes) => (bytes[26] = 7)],
    ['an image with a hole and no length', /image of block 0 that cannot be/, (bytes) => (bytes[32]! |= 1)],
  ];
  for (const [what, message, damage] of broken) {
    it(`are refused with ${what}`, () => {
      const bytes = encodeRecord({
        resourceManager: 10,
        blocks: [
          { ...whole, image: { page } },
          { ...whole, id: 1, block: 2 },
        ],
      });
      damage(bytes);
      assert.match(new RecordDecoder().decode(bytes, viewOf(bytes), 0) ?? '', message);
    });
  }
});

describe('logical messages', () => {
  it('are the records that the general way of putting one together makes', () => {
    const sizes = fc.oneof(fc.nat(300), fc.constantFrom(4000, 4096, 20_000, 70_000));
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 12 }),
        sizes,
        fc.nat(255),
        (prefix, size, byte) => {
          const payload = new Uint8Array(size).fill(byte);
          const name = Buffer.from(`${prefix}\0`);
          const mainData = Buffer.alloc(24 + name.length + size);
          mainData.writeBigUInt64LE(BigInt(name.length), 8);
          mainData.writeBigUInt64LE(BigInt(size), 16);
          mainData.set(name, 24);
          mainData.set(payload, 24 + name.length);
          const record = logicalMessage(prefix, payload);
          sealRecord(record, 0x1234_5678_9ab);
          const prev = 0x1234_5678_9ab;
          assert.deepEqual(record, encodeRecord({ resourceManager: 21, mainData, prev }));
        },
      ),
    );
  });
});
