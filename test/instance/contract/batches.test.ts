/** Rows B-*, D-30 … D-35, D-70, D-90 of the contract. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, it } from 'node:test';
import { HandleState } from '../../../src/aio/states.js';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import type { Backend } from '../../../src/instance/backend.js';
import { forEachVariant, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { byteAt, RawReads } from '../../../testing/raw-reads.js';

const stillOpen = /^an I\/O batch was still open/;
const boom = new Error('boom');

forEachVariant((variant) => {
  let rig: Rig;
  let backend: Backend;
  let reads: RawReads;

  before(async () => {
    rig = await openRig(variant);
    backend = rig.backend;
    reads = new RawReads(backend, rig.data.path);
  });
  beforeEach(() => {
    rig.log.length = 0;
  });
  after(async () => {
    backend.aio.waits.block(() => backend.aio.drain());
    reads.close();
    await rig.close();
  });

  it('B-01, B-02: a batch that its scope leaves open is one warning, submitted and closed', () => {
    const reference = backend.rootScope.runSync((scope) => {
      backend.aio.enterBatch(scope);
      return reads.start(scope);
    });
    assert.equal(rig.warnings.length, 1);
    assert.match(rig.warnings[0] ?? '', stillOpen);
    assert.ok(!backend.aio.haveStaged);
    reads.wait(reference);
    backend.aio.batch(backend.rootScope, () => undefined);
  });

  it('B-03: opening and closing a batch with nothing in it is silent', () => {
    backend.aio.enterBatch(backend.rootScope);
    backend.aio.exitBatch();
    assert.deepEqual(rig.log, []);
  });

  it('B-04, D-32: after an error the batch is closed in silence, and what was staged is submitted', async () => {
    const other = await rig.attach();
    let reference: ReturnType<RawReads['start']> | undefined;
    const failing = (): void =>
      backend.rootScope.runSync((scope) => {
        backend.aio.enterBatch(scope);
        reference = reads.start(scope);
        throw boom;
      });
    assert.throws(failing, boom);
    assert.deepEqual(rig.log, []);
    assert.ok(reference);
    other.aio.waitForBlocking(reference.index, reference.generation);
    reads.wait(reference);
  });

  it('D-30: a batch in a batch is an error, and closing none is, too', () => {
    backend.aio.enterBatch(backend.rootScope);
    assert.throws(() => backend.aio.enterBatch(backend.rootScope), /a batch is open already/);
    backend.aio.exitBatch();
    assert.throws(() => backend.aio.exitBatch(), /no batch is open/);
  });

  it('a batch cannot span an await', () => {
    assert.throws(() => backend.aio.batch(backend.rootScope, async () => 1), /cannot span an await/);
    backend.aio.batch(backend.rootScope, () => undefined);
  });

  it('D-33: something is staged only within a batch', () => {
    assert.ok(!backend.aio.haveStaged);
    const reference = backend.aio.batch(backend.rootScope, () => {
      const inside = reads.start();
      assert.equal(backend.aio.haveStaged, variant.ioMethod !== 'sync');
      backend.aio.submitStaged();
      assert.ok(!backend.aio.haveStaged);
      return inside;
    });
    reads.wait(reference);
  });

  it('D-31: more than there are handles go through one batch', () => {
    const results = Array.from({ length: 100 }, () => new AioReturn());
    const references = backend.aio.batch(backend.rootScope, () =>
      results.map((result) => reads.start(undefined, result)),
    );
    for (const reference of references) reads.wait(reference);
    assert.ok(results.every(({ status, value }) => status === ResultStatus.OK && value === 8192));
  });

  it('D-35: without a batch an I/O is submitted on return from start', () => {
    const reference = reads.start();
    assert.ok(backend.aio.thread.table.handle(reference.index).state >= HandleState.SUBMITTED);
    reads.wait(reference);
  });

  if (variant.ioMethod === 'sync') {
    it('D-70: every I/O is over when start returns, batch or not', () => {
      const inside = backend.aio.batch(backend.rootScope, () => {
        const reference = reads.start();
        assert.ok(reads.isDone(reference));
        return reference;
      });
      reads.wait(inside);
    });
  } else {
    it('D-25: a sleeper takes over what another has only staged', async () => {
      const other = await rig.attach();
      backend.aio.enterBatch(backend.rootScope);
      const reference = reads.start();
      other.aio.waitForBlocking(reference.index, reference.generation); // the issuer does nothing meanwhile
      assert.ok(reads.isDone(reference));
      backend.aio.exitBatch();
      reads.wait(reference);
      assert.ok(backend.counters().takenOver > 0);
    });
  }

  it('D-90: closing finishes what is in flight; its results are still delivered', async () => {
    await withRig(variant, async ({ instance, data }) => {
      const raw = new RawReads(instance.backend, data.path);
      const handles = instance.settings.ioMaxConcurrency;
      const results = Promise.allSettled(
        Array.from({ length: 100 }, (_, at) => raw.file.read(at * 100, 100)),
      );
      await new Promise(setImmediate); // all have a handle, or wait for one
      await instance.backend.close();
      const settled = await results;
      const delivered = settled.filter((one) => one.status === 'fulfilled');
      assert.ok(delivered.length >= Math.min(handles, 100));
      for (const [at, one] of settled.entries()) {
        if (one.status === 'fulfilled') assert.equal(one.value[7], byteAt(at * 100 + 7));
        else assert.equal((one.reason as { code: string }).code, 'ERR_PGAIO_CLOSED');
      }
    });
  });
});
