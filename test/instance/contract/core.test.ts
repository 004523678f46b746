/** Handles, references and buffers once more, as each method has them: rows that hold whoever does the I/O. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, beforeEach, it } from 'node:test';
import { HandleState } from '../../../src/aio/states.js';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import { Claim } from '../../../src/buffer/buffer-io.js';
import type { Backend } from '../../../src/instance/backend.js';
import { PENDING } from '../../../src/shmem/wait.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { hooks, PROBES, probeUrl, ran } from '../../../testing/callback-probe.js';
import { Injection } from '../../../testing/injection.js';
import { forEachVariant, openRig, withRig, type Rig } from '../../../testing/instances.js';
import { leaksOf } from '../../../testing/leaks.js';
import { RawReads } from '../../../testing/raw-reads.js';

const { EIO } = constants.errno;
const BYTES = 8192;

forEachVariant((variant) => {
  const isSync = variant.ioMethod === 'sync';
  const injection = new Injection();
  let rig: Rig;
  let a: Backend;
  let b: Backend;
  let raw: RawReads;
  let lastRelation = 100;

  before(async () => {
    rig = await openRig({ ...variant, injection: injection.url, modules: [probeUrl] });
    a = rig.backend;
    b = await rig.attach();
    raw = new RawReads(a, rig.data.path);
  });
  beforeEach(() => {
    ran.length = 0;
    rig.log.length = 0;
  });
  afterEach(() => {
    injection.disarm('beforeSharedCompletion');
    hooks.stage = hooks.local = () => undefined;
    assert.deepEqual(a.inFlight(), []);
  });
  after(async () => {
    raw.close();
    await rig.close();
  });

  function fresh(): { mine: BlockReads; theirs: BlockReads } {
    const locator = rig.data.write(++lastRelation, 20);
    return {
      mine: new BlockReads(a, rig.data.path, locator),
      theirs: new BlockReads(b, rig.data.path, locator),
    };
  }

  it('MA-04: there are as many handles as were asked for, and however much I/O goes through them', () => {
    const { perBackend } = a.aio.thread.table.region;
    if (variant.ioMaxConcurrency > 0) assert.equal(perBackend, variant.ioMaxConcurrency);
    const results = Array.from({ length: 3 * perBackend + 5 }, () => new AioReturn());
    const references = results.map((result) => {
      const reference = raw.start(a.rootScope, result);
      assert.ok(a.inFlight().length <= perBackend);
      return reference;
    });
    for (const reference of references) raw.wait(reference);
    assert.ok(results.every(({ value }) => value === BYTES));
  });

  it('D-11: callbacks run in slot order in every phase, each refining the result for the next', () => {
    const result = new AioReturn();
    const io = raw.acquire(a.rootScope, result);
    io.registerCallback(PROBES[0], 1);
    io.registerCallback(PROBES[1], 10);
    raw.wait(raw.startWith(io));
    assert.deepEqual(ran, ['stage 40', 'stage 41', 'local 40', 'local 41']);
    assert.equal(result.value, (BYTES * 2 + 1) * 2 + 10);
  });

  it('D-14: a failure throws nothing where it completes, and the issuer has all of it', () => {
    injection.answer(-EIO, { owner: a.number });
    const result = new AioReturn();
    const reference = raw.start(a.rootScope, result);
    b.aio.waitForBlocking(reference.index, reference.generation);
    assert.equal(result.status, ResultStatus.UNKNOWN);
    raw.wait(reference);
    assert.equal(result.status, ResultStatus.ERROR);
    assert.equal(result.errorData, EIO);
    assert.match(result.description, /sample-/);
    const before = leaksOf(rig.instance.handle, 2);
    for (let times = 0; times < 1000; times++) raw.wait(raw.start());
    assert.deepEqual(leaksOf(rig.instance.handle, 2), before);
  });

  it('D-18: an abort out of a callback of staging or reclaiming touches that I/O no more than once', () => {
    for (const place of ['stage', 'local'] as const) {
      ran.length = 0;
      const controller = new AbortController();
      const result = new AioReturn();
      const io = raw.acquire(a.rootScope, result);
      const { waitReference } = io;
      io.registerCallback(PROBES[0], 0);
      // Whoever is cancelled wants the result no more, and does what everybody does who ends: submit, and clear up.
      controller.signal.addEventListener('abort', () => {
        a.aio.abandon(waitReference.index, waitReference.generation);
        a.aio.submitStaged();
        a.aio.reclaimCompleted();
      });
      hooks[place] = () => controller.abort();
      raw.wait(raw.startWith(io));
      hooks[place] = () => undefined;
      assert.deepEqual(ran, ['stage 40', 'local 40'], place);
      const handle = a.aio.thread.table.handle(waitReference.index);
      assert.deepEqual([handle.generation, handle.state], [waitReference.generation + 1, HandleState.IDLE]);
      assert.equal(a.aio.inFlightCount, 0);
      if (place === 'stage') assert.equal(result.status, ResultStatus.UNKNOWN);
      raw.wait(raw.start());
    }
  });

  it('D-21: a reference to a handle that is used again is over, whatever the handle does now', () => {
    const reference = raw.start();
    raw.wait(reference);
    const io = raw.acquire();
    assert.equal(io.index, reference.index, 'the handle that was used last is used first');
    assert.equal(a.aio.waitForReference(reference), true);
    assert.equal(b.aio.waitForReference(reference), true);
    assert.ok(raw.isDone(reference));
    a.aio.release(io);
  });

  it('D-22: a reference is there from the hand-out to the staging, and none is had of an idle handle', () => {
    const io = raw.acquire();
    const { waitReference } = io;
    assert.deepEqual(waitReference, { index: io.index, generation: io.generation });
    raw.wait(raw.startWith(io));
    assert.throws(() => a.aio.thread.table.handle(waitReference.index).waitReference, /can be taken until/);
  });

  it('D-24, D-26: asking never sleeps; waiting for an own staged I/O submits it', () => {
    a.aio.enterBatch(a.rootScope);
    const reference = raw.start();
    assert.equal(raw.isDone(reference), isSync);
    assert.equal(a.aio.haveStaged, !isSync);
    raw.wait(reference);
    assert.ok(raw.isDone(reference));
    assert.ok(!a.aio.haveStaged);
    a.aio.exitBatch();
  });

  it('D-07: staged I/O of a scope that ends is submitted, with a warning; after an error in silence', () => {
    for (const failed of [false, true]) {
      rig.log.length = 0;
      a.aio.enterBatch(a.rootScope);
      let reference = { index: 0, generation: 0 };
      const run = (): void =>
        a.rootScope.runSync((scope) => {
          reference = raw.start(scope);
          if (failed) throw new Error('boom');
        });
      if (failed) assert.throws(run, /boom/);
      else run();
      assert.ok(!a.aio.haveStaged);
      assert.equal(rig.warnings.length, failed || isSync ? 0 : 1);
      if (!failed && !isSync) assert.match(rig.warnings[0] ?? '', /was not submitted/);
      a.aio.exitBatch();
      raw.wait(reference);
    }
  });

  it('D-92: the view shows a handed-out handle and nothing more of it, then the I/O, then nothing', () => {
    const io = raw.acquire();
    const [handedOut] = a.inFlight();
    assert.deepEqual([handedOut?.state, handedOut?.operation, handedOut?.target], ['HANDED_OUT', null, null]);
    a.aio.enterBatch(a.rootScope);
    const reference = raw.startWith(io);
    const [started] = b.inFlight();
    assert.equal(started?.state, isSync ? 'COMPLETED_SHARED' : 'STAGED');
    assert.deepEqual([started?.owner, started?.length], [a.number, BYTES]);
    assert.equal(started?.rawResult, isSync ? BYTES : null);
    a.aio.exitBatch();
    raw.wait(reference);
    assert.deepEqual(b.inFlight(), []);
  });

  it('S-09: a valid buffer that nobody pins can be dropped, and is read anew', async () => {
    const { mine } = fresh();
    await mine.read(1, 1);
    const { reads } = a.counters();
    const { pool } = a.buffers;
    await a.scope((scope) => {
      // Every buffer is somebody else's for a moment.
      const { count } = pool.region;
      for (let block = 0; block < count; block++) pool.pinBlock(mine.reader.tag, 5000 + block, scope);
      for (let buffer = 0; buffer < count; buffer++) pool.unpin(buffer, scope);
    });
    assert.deepEqual(await mine.read(1, 1), [{ offset: 0, block: 1, io: 'own', count: 1 }]);
    assert.equal(a.counters().reads, reads + 1);
  });

  it('D-43: a read that failed leaves its buffer not valid, not claimed, without a reference, and unpinned', async () => {
    const { mine } = fresh();
    injection.answer(-EIO, { owner: a.number, times: 1 });
    await assert.rejects(mine.read(1, 1), { code: 'ERR_PGAIO_READ_EIO' });
    const { pool, bufferIo } = a.buffers;
    const buffer = pool.pinBlock(mine.reader.tag, 1, a.rootScope);
    assert.ok(!bufferIo.isValid(buffer));
    assert.equal(bufferIo.claim(buffer), Claim.READY);
    assert.ok(!bufferIo.hasReference);
    bufferIo.giveUp(buffer);
    pool.unpin(buffer, a.rootScope);
    assert.equal(pool.pins.buffersPinned, 0);
    await mine.read(1, 1);
  });

  it('D-34: two that have each staged one block, and want the other’s, both finish', async () => {
    const { mine, theirs } = fresh();
    a.aio.enterBatch(a.rootScope);
    b.aio.enterBatch(b.rootScope);
    const one = mine.start(1);
    const two = theirs.start(2);
    const crossed = [mine.startAll(2, 1), theirs.startAll(1, 1)];
    await Promise.all(crossed.map(async (started) => (await started).finish()));
    a.aio.exitBatch();
    b.aio.exitBatch();
    await mine.finish(one);
    await theirs.finish(two);
  });

  if (variant.ioMaxConcurrency !== -1 || variant.ioUringMemory !== undefined) return;

  it('D-03: of what is staged in one batch, each 32 are submitted at once', async () => {
    await withRig({ ioMethod: variant.ioMethod, ioMaxConcurrency: 64 }, ({ backend, data }) => {
      const many = new RawReads(backend, data.path);
      const { ops } = backend.aio;
      const submits: number[] = [];
      const submit = ops.submit.bind(ops);
      ops.submit = (staged, count) => {
        submits.push(count);
        submit(staged, count);
      };
      const references = backend.aio.batch(backend.rootScope, () => {
        const started = Array.from({ length: 40 }, () => many.start());
        assert.deepEqual(submits, isSync ? [] : [32]);
        return started;
      });
      assert.deepEqual(submits, isSync ? [] : [32, 8]);
      for (const reference of references) {
        assert.notEqual(
          backend.aio.waits.block(() => backend.aio.waitForReference(reference)),
          PENDING,
        );
      }
      many.close();
    });
  });
});
