/**
 * Rows Z-*, C-*, I-*, F-04, F-05, D-13, D-52, D-54, D-55, D-56: what becomes of pages that are damaged, who is told, and
 * what is counted.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'node:test';
import { errorOf, warningOf } from '../../../src/aio/report.js';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import type { LogEvent } from '../../../src/base/log.js';
import type { InvalidPageError } from '../../../src/base/errors.js';
import { ReadFlag } from '../../../src/buffer/page-damage.js';
import { attachInstance } from '../../../src/instance/instance.js';
import type { Backend } from '../../../src/instance/backend.js';
import { PG_GLOBAL_TABLESPACE } from '../../../src/smgr/relation.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { Injection } from '../../../testing/injection.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { stampOf, type RelationOptions } from '../../../testing/relations.js';
import { untilTrue } from '../../../testing/turns.js';

const BLOCKS = 16;
const { ZERO_ON_ERROR, IGNORE_CHECKSUM_FAILURES } = ReadFlag;

forEachVariant((variant) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let other: Backend;
  const otherLog: LogEvent[] = [];
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, sharedBuffers: '2MB', injection: injection.url });
    backend = rig.backend;
    other = await attachInstance(rig.instance.handle, { log: (event) => otherLog.push(event) });
  });
  afterEach(() => {
    for (const one of [backend, other]) one.zeroDamagedPages = one.ignoreChecksumFailure = false;
    rig.log.length = otherLog.length = 0;
  });
  after(async () => {
    await other.close();
    await rig.close();
  });

  function fresh(options: RelationOptions, flags = 0, by = backend): BlockReads {
    return new BlockReads(by, rig.data.path, rig.data.write(++lastRelation, BLOCKS, options), flags);
  }
  /** The same relation, read by another backend. */
  const sameBy = (by: Backend, blocks: BlockReads): BlockReads =>
    new BlockReads(by, rig.data.path, blocks.relation.locator);
  const copy = (blocks: BlockReads, block: number, count: number): Promise<Uint8Array[]> =>
    blocks.copy(blocks.start(block, count));
  const warnings = (log = rig.log): LogEvent[] => log.filter(({ level }) => level === 'warning');
  const isZero = (page: Uint8Array | undefined): boolean => page?.every((byte) => byte === 0) ?? false;
  const failuresOf = (database: number): number =>
    backend
      .checksumFailures()
      .filter((row) => row.dataDirectory === rig.data.path && row.database === database)
      .reduce((sum, row) => sum + row.failures, 0);
  /** Events about earlier relations may still come, when the creator's loop turns. */
  const saidOf = (relation: number): LogEvent[] =>
    rig.log.filter(({ path }) => path?.endsWith(String(relation)) === true);
  async function pageEvents(relation: number, count: number): Promise<LogEvent[]> {
    const found = (): LogEvent[] => saidOf(relation).filter(({ level }) => level === 'log');
    await untilTrue(() => found().length >= count);
    return found();
  }

  for (const kind of ['shared', 'private'] as const) {
    describe(`${kind} pool`, () => {
      const inPool = (options: RelationOptions, flags = 0): BlockReads =>
        fresh(kind === 'shared' ? options : { ...options, backend: backend.number }, flags);

      it('Z-01: without zeroing, a broken page is an error, and nothing else is said', async () => {
        const blocks = inPool({ damaged: { 0: 'header' } });
        await assert.rejects(copy(blocks, 0, 1), {
          name: 'InvalidPageError',
          message: `invalid page in block 0 of relation "${blocks.relation.path(0)}"`,
        });
        assert.deepEqual(warnings(), []);
      });

      it('Z-02: with zeroing, it is all zero and valid, with one warning', async () => {
        const blocks = inPool({ damaged: { 0: 'header' } }, ZERO_ON_ERROR);
        assert.ok(isZero((await copy(blocks, 0, 1))[0]));
        const path = blocks.relation.path(0);
        assert.deepEqual(warnings(), [
          {
            level: 'warning',
            code: 'PGAIO_PAGE_ZEROED',
            message: `invalid page in block 0 of relation "${path}": the page was zeroed`,
            path,
            block: 0,
            firstBlock: 0,
            lastBlock: 0,
          },
        ]);
        const { reads } = backend.counters();
        assert.ok(isZero((await copy(blocks, 0, 1))[0]));
        assert.equal(backend.counters().reads, reads, 'the zeroed page is in the pool');
        assert.equal(warnings().length, 1);
      });

      it('Z-03: an all-zero page is fine, zeroing or not', async () => {
        for (const flags of [0, ZERO_ON_ERROR]) {
          assert.ok(isZero((await copy(inPool({ damaged: { 0: 'zero' } }, flags), 0, 1))[0]));
        }
        assert.deepEqual(saidOf(lastRelation), []);
      });

      it('Z-04: the block is named by its place in the relation', async () => {
        await copy(inPool({ damaged: { 3: 'header' } }, ZERO_ON_ERROR), 3, 1);
        assert.match(warnings()[0]?.message ?? '', /^invalid page in block 3 /);
        await copy(inPool({ damaged: { 3: 'header' } }, ZERO_ON_ERROR), 1, 4);
        assert.match(warnings()[1]?.message ?? '', /^invalid page in block 3 /);
      });

      it('Z-05, D-52: several in one read are one error, or one warning; the others are as they were', async () => {
        const damaged = { 2: 'header', 3: 'both' } as const;
        const strict = inPool({ damaged });
        await assert.rejects(copy(strict, 1, 4), (error: InvalidPageError) => {
          assert.deepEqual([error.count, error.block, error.firstBlock, error.lastBlock], [2, 2, 1, 4]);
          return true;
        });
        const { reads } = backend.counters();
        for (const good of [1, 4]) assert.equal(stampOf((await copy(strict, good, 1))[0]!).block, good);
        assert.equal(backend.counters().reads, reads, 'the good ones are in the pool');
        const pages = await copy(inPool({ damaged }, ZERO_ON_ERROR), 1, 4);
        assert.deepEqual(pages.map(isZero), [false, true, true, false]);
        assert.equal(warnings().length, 1);
        assert.match(warnings()[0]?.message ?? '', /^2 pages zeroed among blocks 1\.\.4 /);
        assert.equal(warnings()[0]?.block, 2);
      });

      it('Z-08: a scan ends with the error', async () => {
        const { relation } = inPool({ damaged: { 2: 'header' } });
        await assert.rejects(scan(relation), { name: 'InvalidPageError', block: 2 });
      });

      it('Z-09: a scan by a backend that zeroes sees all blocks, with a warning', async () => {
        const { relation } = inPool({ damaged: { 2: 'header' } });
        backend.zeroDamagedPages = true;
        assert.deepEqual(await scan(relation), { blocks: BLOCKS, zero: [2] });
        assert.equal(warnings().length, 1);
        assert.equal(warnings()[0]?.block, 2);
      });

      it('C-01, C-04, D-56: a checksum failure is an error, and counted once', async () => {
        const blocks = inPool({ damaged: { 3: 'checksum' } });
        const before = failuresOf(5);
        await assert.rejects(copy(blocks, 3, 1), { name: 'InvalidPageError', block: 3 });
        assert.equal(failuresOf(5), before + 1);
      });
    });
  }

  async function scan(relation: BlockReads['relation']): Promise<{ blocks: number; zero: number[] }> {
    const seen = { blocks: 0, zero: [] as number[] };
    for await (const { page, block } of backend.readStream(relation)) {
      assert.equal(block, seen.blocks++);
      if (isZero(page)) seen.zero.push(block);
    }
    return seen;
  }

  describe('checksum failures', () => {
    it('C-02, D-56: are counted for the database, each page once, with the time', async () => {
      const before = failuresOf(5);
      await assert.rejects(copy(fresh({ damaged: { 1: 'checksum', 2: 'header', 3: 'both' } }), 0, 8));
      assert.equal(failuresOf(5), before + 2, 'a broken header with a right checksum is none');
      const row = backend.checksumFailures().find(({ database }) => database === 5);
      assert.ok(row !== undefined && Number(row.lastFailure) > 0);
    });

    it('C-06: of a relation that databases share, for no database', async () => {
      const blocks = fresh({ tablespace: PG_GLOBAL_TABLESPACE, damaged: { 2: 'checksum' } });
      const [own, shared] = [failuresOf(5), failuresOf(0)];
      await assert.rejects(copy(blocks, 2, 1), { message: /^invalid page in block 2 of relation "global\// });
      assert.deepEqual([failuresOf(5), failuresOf(0)], [own, shared + 1]);
    });

    it('C-07, C-08, C-09: of another database, for that one; repaired, it reads without a word', async () => {
      const blocks = fresh({ database: 6, damaged: { 1: 'checksum' } });
      const before = failuresOf(6);
      await assert.rejects(scan(blocks.relation), { name: 'InvalidPageError', block: 1 });
      assert.equal(failuresOf(6), before + 1);
      await pageEvents(lastRelation, 1);
      rig.log.length = 0;
      rig.data.write(lastRelation, BLOCKS, { database: 6, damaged: { 1: 'zero' } });
      assert.deepEqual(await scan(blocks.relation), { blocks: BLOCKS, zero: [1] });
      assert.deepEqual(saidOf(lastRelation), []);
    });

    it('I-01, I-02: ignored, they are a warning, and every byte is delivered', async () => {
      const damaged = { 1: 'checksum', 5: 'checksum', 6: 'checksum' } as const;
      const { relation } = fresh({ damaged });
      await assert.rejects(scan(relation), { name: 'InvalidPageError' });
      const again = fresh({ damaged }).relation;
      backend.ignoreChecksumFailure = true;
      assert.deepEqual(await scan(again), { blocks: BLOCKS, zero: [] });
      const ignored = warnings().filter(({ code }) => code === 'PGAIO_CHECKSUM_FAILURE_IGNORED');
      assert.ok(ignored.length > 0);
      assert.equal(ignored.length, warnings().length);
      assert.equal(ignored[0]?.block, 1);
    });

    it('I-03, I-04: one that is ignored is named to its reader and to the log; a broken header is no checksum', async () => {
      const damaged = { 2: 'zero', 3: 'checksum', 4: 'both' } as const;
      const blocks = fresh({ damaged }, IGNORE_CHECKSUM_FAILURES);
      const before = failuresOf(5);
      const [page] = await copy(blocks, 3, 1);
      assert.ok(page !== undefined && !isZero(page));
      const message = `checksum failure ignored in block 3 of relation "${blocks.relation.path(0)}"`;
      assert.deepEqual(
        warnings().map((event) => event.message),
        [message],
      );
      assert.deepEqual(
        (await pageEvents(lastRelation, 1)).map((event) => event.message),
        [message],
      );
      assert.equal(failuresOf(5), before + 1);
      await assert.rejects(copy(blocks, 4, 1), { name: 'InvalidPageError', block: 4 });
    });
  });

  it('D-53: zeroed and ignored pages of one read are one warning', async () => {
    const damaged = { 1: 'checksum', 2: 'header', 5: 'both' } as const;
    await copy(fresh({ damaged }, ZERO_ON_ERROR | IGNORE_CHECKSUM_FAILURES), 0, 8);
    assert.equal(warnings().length, 1);
    assert.match(
      warnings()[0]?.message ?? '',
      /^2 pages zeroed and 1 checksum failure ignored among blocks 0\.\.7 /,
    );
  });

  it('SR-03: a read that is cut short and has a zeroed page goes on behind it', async () => {
    const blocks = fresh({ damaged: { 0: 'header', 3: 'header' } }, ZERO_ON_ERROR);
    injection.answer(2 * 8192, { relation: lastRelation, times: 1 });
    const pages = await copy(blocks, 0, 4);
    injection.disarm('beforeSharedCompletion');
    assert.deepEqual(pages.map(isZero), [true, false, false, true]);
    assert.deepEqual(
      warnings().map(({ block, firstBlock, lastBlock }) => [block, firstBlock, lastBlock]),
      [
        [0, 0, 3],
        [3, 2, 3],
      ],
    );
  });

  it('D-54, F-04: each bad page is one event in the log of the instance, though nobody waits for the read', async () => {
    const theirs = fresh({ damaged: { 1: 'header', 2: 'checksum' } }, 0, other);
    theirs.abandon(theirs.start(0, 4));
    const mine = sameBy(backend, theirs);
    await mine.read(3, 1); // and who merely waits for it sees nothing of it
    const events = await pageEvents(lastRelation, 2);
    const path = theirs.relation.path(0);
    assert.deepEqual(
      events,
      [1, 2].map((block) => ({
        level: 'log',
        code: 'ERR_PGAIO_INVALID_PAGE',
        message: `invalid page in block ${block} of relation "${path}"`,
        path,
        block,
      })),
    );
    assert.deepEqual(warnings(), []);
    assert.deepEqual(otherLog, []);
  });

  it('F-05: who reads a page that is broken gets its own error', async () => {
    const theirs = fresh({ damaged: { 1: 'header' } }, 0, other);
    theirs.abandon(theirs.start(1, 1));
    await assert.rejects(sameBy(backend, theirs).read(1, 1), { name: 'InvalidPageError', block: 1 });
    assert.equal((await pageEvents(lastRelation, 2)).length, 2, 'one for each time that it was read');
  });

  it('D-54: more than the log has room for is counted', async () => {
    const all = Object.fromEntries(Array.from({ length: BLOCKS }, (_, block) => [block, 'header' as const]));
    const blocks = fresh({ damaged: all });
    // This thread's loop does not turn meanwhile, and nobody else drains the log.
    for (let round = 0; round < 20; round++) {
      for (let block = 0; block < BLOCKS; block++) {
        const op = blocks.start(block, 1);
        assert.throws(() => backend.aio.waits.block(() => blocks.buffers.wait(op)), { block });
        blocks.abandon(op);
      }
    }
    const lost = (): number =>
      rig.log
        .filter(({ code }) => code === 'PGAIO_LOG_OVERFLOW')
        .reduce((sum, { message }) => sum + Number.parseInt(message, 10), 0);
    const told = (): number => saidOf(lastRelation).length;
    await untilTrue(() => told() + lost() >= 20 * BLOCKS);
    assert.equal(told() + lost(), 20 * BLOCKS);
    assert.ok(lost() > 0);
  });

  it('D-55: what its issuer chose holds for a read, whoever completes it', async () => {
    const damaged = { 1: 'header' } as const;
    other.zeroDamagedPages = true;
    const theirs = fresh({ damaged }, 0, other);
    const op = theirs.start(1, 1);
    other.zeroDamagedPages = false; // too late for this one
    assert.ok(isZero((await copy(sameBy(backend, theirs), 1, 1))[0]));
    assert.deepEqual([warnings(), warnings(otherLog)], [[], []]);
    await theirs.copy(op);
    assert.deepEqual([warnings().length, warnings(otherLog).length], [0, 1]);
  });

  it('D-55: and so it is the other way round', async () => {
    const damaged = { 1: 'header' } as const;
    const theirs = fresh({ damaged }, 0, other);
    const op = theirs.start(1, 1);
    backend.zeroDamagedPages = true;
    const mine = sameBy(backend, theirs);
    assert.ok(isZero((await copy(mine, 1, 1))[0]), 'their failure is not ours: it is read again, and zeroed');
    assert.deepEqual([warnings().length, warnings(otherLog).length], [1, 0]);
    await assert.rejects(theirs.copy(op), { name: 'InvalidPageError', block: 1 });
  });

  it('D-56: a failure is counted by the issuer when it takes its result back, not by who completed it', async () => {
    other.ignoreChecksumFailure = true;
    const theirs = fresh({ damaged: { 1: 'checksum' } }, 0, other);
    const before = failuresOf(5);
    const op = theirs.start(1, 1);
    await copy(sameBy(backend, theirs), 1, 1);
    assert.equal(failuresOf(5), before);
    await theirs.copy(op);
    assert.equal(failuresOf(5), before + 1);
  });

  it('D-13: a result that is ok, or not there yet, has nothing to report', () => {
    const result = new AioReturn();
    for (const status of [ResultStatus.UNKNOWN, ResultStatus.OK]) {
      result.status = status;
      assert.throws(() => errorOf(backend.aio, result), /has nothing to report/);
      assert.throws(() => warningOf(backend.aio, result), /has nothing to report/);
    }
  });
});
