/** Rows H-*, D-01 … D-16 of the contract: handles, scopes, results, wait references. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, it } from 'node:test';
import { AioReturn, ResultStatus } from '../../../src/aio/result.js';
import { HandleFlag } from '../../../src/aio/operation.js';
import type { Scope } from '../../../src/aio/scope.js';
import { HandleState } from '../../../src/aio/states.js';
import type { Backend } from '../../../src/instance/backend.js';
import { forEachVariant, openRig, type Rig } from '../../../testing/instances.js';
import { RawReads } from '../../../testing/raw-reads.js';

const leaked = /^an I\/O handle was leaked/;
const wrongRelease = { name: 'AssertionFailure', message: /release in an unexpected state/ };
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

  it('H-01: a handle that its scope leaves behind is one warning, and free again', () => {
    backend.rootScope.runSync((scope) => void reads.acquire(scope));
    assert.equal(rig.warnings.length, 1);
    assert.match(rig.warnings[0] ?? '', leaked);
    backend.aio.release(reads.acquire());
    assert.deepEqual(backend.inFlight(), []);
  });

  it('H-02, H-04: the warning is the inner scope’s, though the outer one goes on', () => {
    backend.rootScope.runSync((outer) => {
      outer.runSync((inner) => inner.runSync((innermost) => void reads.acquire(innermost)));
      assert.equal(rig.warnings.length, 1);
    });
    assert.equal(rig.warnings.length, 1);
  });

  it('H-03: a later failure of the outer scope changes nothing', () => {
    const run = (): void =>
      backend.rootScope.runSync((outer) => {
        outer.runSync((inner) => void reads.acquire(inner));
        throw boom;
      });
    assert.throws(run, boom);
    assert.equal(rig.warnings.length, 1);
  });

  it('H-05: a handle kept past its scope: first the warning, then the error', () => {
    const io = backend.rootScope.runSync((scope) => reads.acquire(scope));
    assert.equal(rig.warnings.length, 1);
    assert.throws(() => backend.aio.release(io), wrongRelease);
    backend.aio.release(reads.acquire());
  });

  it('H-06, H-07: acquire and release, silently', () => {
    backend.rootScope.runSync((scope) => {
      const io = reads.acquire(scope);
      assert.deepEqual(
        backend.inFlight().map(({ state, operation, target }) => ({ state, operation, target })),
        [{ state: 'HANDED_OUT', operation: null, target: null }],
      );
      backend.aio.release(io);
    });
    assert.deepEqual(rig.log, []);
  });

  it('H-08: a second handle while one is handed out is an error; the first one is cleaned up with the scope', () => {
    const twice = (): void =>
      backend.rootScope.runSync((scope) => {
        reads.acquire(scope);
        reads.acquire(scope);
      });
    assert.throws(twice, { message: /API violation: only one I\/O handle can be handed out/ });
    assert.deepEqual(rig.warnings, []);
    backend.aio.release(reads.acquire());
  });

  it('H-09, H-11, D-09: a handle that an error leaves behind is reclaimed in silence', () => {
    backend.rootScope.runSync((outer) => {
      const failing = (): void =>
        outer.runSync((inner) => {
          reads.acquire(inner);
          throw boom;
        });
      assert.throws(failing, boom);
      backend.aio.release(reads.acquire(outer)); // the outer scope goes on
    });
    assert.deepEqual(rig.log, []);
  });

  it('an ended scope gives no handles', () => {
    const scope = backend.rootScope.runSync((inner) => inner);
    assert.throws(() => reads.acquire(scope), { message: /this scope has ended/ });
  });

  it('H-10: a scope that an error has ended gives no handles, and the backend works', () => {
    let failed: Scope | undefined;
    const failing = (): void =>
      backend.rootScope.runSync((scope) => {
        failed = scope;
        reads.acquire(scope);
        throw boom;
      });
    assert.throws(failing, boom);
    assert.throws(() => reads.acquire(failed), { message: /this scope has ended/ });
    assert.deepEqual(rig.log, []);
    reads.wait(reads.start());
  });

  it('D-01: seen from outside, a handle’s generations rise and its states never go back', () => {
    let last = { generation: -1, state: 0 };
    for (let round = 0; round < 50; round++) {
      const io = reads.acquire();
      const reference = reads.startWith(io);
      const watched = backend.aio.thread.table.handle(reference.index);
      for (;;) {
        const seen = { generation: watched.generation, state: watched.state };
        if (reference.index === 0) {
          assert.ok(seen.generation > last.generation || seen.state >= last.state);
          last = seen;
        }
        if (watched.state === HandleState.COMPLETED_SHARED || reads.isDone(reference)) break;
      }
      reads.wait(reference);
      assert.equal(watched.generation, reference.generation + 1);
    }
  });

  it('D-02: acquiring never fails for want of handles', async () => {
    const results = Array.from({ length: 10 }, () => new AioReturn());
    const references = results.map((result) => reads.start(backend.rootScope, result));
    for (const reference of references) reads.wait(reference);
    assert.ok(results.every(({ status, value }) => status === ResultStatus.OK && value === 8192));
    await Promise.all(Array.from({ length: 200 }, (_, at) => reads.file.read(at, 10)));
  });

  it('tasks get handles in the order in which they asked', async () => {
    const order: number[] = [];
    const task = (number: number): Promise<number> =>
      backend.aio.withHandle(backend.rootScope, null, (io) => {
        reads.startWith(io);
        return order.push(number);
      });
    await Promise.all(Array.from({ length: 100 }, (_, number) => task(number)));
    assert.deepEqual(
      order,
      Array.from({ length: 100 }, (_, number) => number),
    );
  });

  it('a fill that forgets to start, throws, or would await gives its handle back', async () => {
    const { aio, rootScope } = backend;
    await assert.rejects(
      aio.withHandle(rootScope, null, () => 1),
      /without starting/,
    );
    await assert.rejects(
      aio.withHandle(rootScope, null, () => {
        throw boom;
      }),
      boom,
    );
    await assert.rejects(
      aio.withHandle(rootScope, null, async () => 1),
      /returned a promise/,
    );
    aio.release(reads.acquire());
  });

  it('D-04: a started handle is not the caller’s any more', () => {
    const io = reads.acquire();
    const reference = reads.startWith(io);
    assert.throws(() => backend.aio.release(io), wrongRelease);
    reads.wait(reference);
  });

  it('D-05: the result slot says unknown until the owner has reclaimed the I/O', () => {
    const result = new AioReturn();
    const reference = reads.start(backend.rootScope, result);
    while (!reads.isDone(reference));
    assert.equal(result.status, ResultStatus.UNKNOWN);
    reads.wait(reference);
    assert.equal(result.status, ResultStatus.OK);
    assert.equal(result.value, 8192);
  });

  it('D-06, D-08: a scope that ends before its I/O cuts the result slot off, and says nothing', () => {
    const result = new AioReturn();
    const reference = backend.rootScope.runSync((scope) => reads.start(scope, result));
    reads.wait(reference);
    assert.ok(reads.isDone(reference));
    assert.equal(result.status, ResultStatus.UNKNOWN);
    assert.deepEqual(rig.log, []);
  });

  it('D-10, D-12: flags, data, callbacks and the target are set while the handle is handed out', () => {
    const io = reads.acquire();
    io.setFlag(HandleFlag.SYNCHRONOUS);
    io.setFlag(HandleFlag.REFERENCES_LOCAL);
    assert.equal(io.flags, HandleFlag.SYNCHRONOUS | HandleFlag.REFERENCES_LOCAL);
    io.setHandleData([1, 2, 3], 1, 2);
    assert.throws(() => io.setHandleData([1], 0, 1), /attached already/);
    const reference = reads.startWith(io);
    for (const late of [
      () => io.setFlag(HandleFlag.BUFFERED),
      () => io.registerCallback(1),
      () => io.setHandleData([1], 0, 1),
      () => io.setTarget(1, 1),
    ]) {
      assert.throws(late, { name: 'AssertionFailure' });
    }
    reads.wait(reference);
  });

  it('D-11: too many callbacks are refused', () => {
    const io = reads.acquire();
    for (let count = 0; count < 4; count++) io.registerCallback(1, count);
    assert.throws(() => io.registerCallback(1), /more than 4 callbacks/);
    backend.aio.release(io);
  });

  it('D-20, D-16: references are plain values; any copy resolves, in any backend', async () => {
    const other = await rig.attach();
    const reference = structuredClone(reads.start());
    other.aio.waitForBlocking(reference.index, reference.generation);
    assert.ok(reads.isDone(reference));
    reads.wait(reference);
    assert.throws(() => backend.aio.thread.table.handle(reference.index).waitReference, /can be taken until/);
  });

  it('D-23: who waits for another’s I/O does not reclaim it', async () => {
    const other = await rig.attach();
    const result = new AioReturn();
    const reference = reads.start(backend.rootScope, result);
    other.aio.waitForBlocking(reference.index, reference.generation);
    const io = backend.aio.thread.table.handle(reference.index);
    assert.equal(io.generation, reference.generation);
    assert.equal(io.state, HandleState.COMPLETED_SHARED);
    assert.equal(result.status, ResultStatus.UNKNOWN);
    reads.wait(reference);
    assert.equal(result.status, ResultStatus.OK);
  });
});
