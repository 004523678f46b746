/** The issuer's side without a kernel: the test decides when, in whose hands and with what an I/O ends. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AioCallback } from '../../src/aio/callback.js';
import { inFlight } from '../../src/aio/in-flight.js';
import { AioReturn, ResultStatus } from '../../src/aio/result.js';
import { HandleState } from '../../src/aio/states.js';
import { PENDING } from '../../src/shmem/wait.js';
import { manualInstance, TARGET } from '../../testing/manual-method.js';

describe('waiting for a reference', () => {
  it('D-21: of a recycled handle is over at once, whatever the handle does now', () => {
    const a = manualInstance(1).backend(0);
    const first = a.start();
    a.finish(first);
    const second = a.start(); // the same handle
    assert.equal(second.index, first.index);
    assert.equal(a.aio.waitForReference(first), true);
    assert.equal(a.aio.waitForReference(second), PENDING);
    assert.ok(!a.thread.table.isDone(second.index, second.generation));
    a.finish(second);
    assert.equal(a.aio.waitForReference(second), true);
  });

  it('D-24: of an own staged I/O submits it, and never hangs', () => {
    const a = manualInstance(4).backend(0);
    a.aio.enterBatch(a.root);
    const reference = a.start();
    assert.deepEqual(a.submits, []);
    assert.equal(a.aio.waitForReference(reference), PENDING);
    assert.deepEqual(a.submits, [1]);
    assert.ok(!a.aio.haveStaged);
  });

  it('D-24: of a handle that was not even started is a mistake', () => {
    const a = manualInstance(4).backend(0);
    const { index, generation } = a.acquire();
    assert.throws(() => a.aio.waitFor(index, generation), /was not started/);
  });

  it('D-22: who can be referred to: handed out to staged', () => {
    const a = manualInstance(1).backend(0);
    const io = a.acquire();
    a.aio.enterBatch(a.root);
    assert.equal(io.waitReference.generation, 0);
    a.startHandle(io);
    assert.equal(io.waitReference.generation, 0);
    a.aio.exitBatch();
    assert.throws(() => io.waitReference, /can be taken until/);
  });
});

describe('acquiring', () => {
  it('D-02: waits for the oldest, and goes on when that is done', async () => {
    const a = manualInstance(2).backend(0);
    const first = a.start();
    a.start();
    assert.equal(a.aio.tryAcquire(a.root, null), null);
    const waiting = a.aio.withHandle(a.root, null, (io) => {
      a.startHandle(io);
      return io.index;
    });
    a.finish(first);
    assert.equal(await waiting, first.index);
  });

  it('an I/O that completes between the look and the sleep is no lost wake-up', () => {
    const a = manualInstance(1).backend(0);
    const reference = a.start();
    const { table } = a.thread;
    const reclaimCompleted = a.aio.reclaimCompleted.bind(a.aio);
    a.aio.reclaimCompleted = () => {
      const reclaimed = reclaimCompleted();
      if (!table.isDone(reference.index, reference.generation)) a.finish(reference);
      return reclaimed;
    };
    const { sleeps } = a.aio.waits;
    a.aio.release(a.aio.acquireBlocking(a.root, null));
    assert.equal(a.aio.waits.sleeps, sleeps);
  });

  it('draining, likewise', () => {
    const a = manualInstance(1).backend(0);
    const reference = a.start();
    const reclaimCompleted = a.aio.reclaimCompleted.bind(a.aio);
    a.aio.reclaimCompleted = () => {
      const reclaimed = reclaimCompleted();
      a.aio.reclaimCompleted = reclaimCompleted;
      a.finish(reference);
      return reclaimed;
    };
    assert.equal(a.aio.drain(), true);
  });

  it('D-03, D-35: at most 32 are staged; without a batch each is submitted at once', () => {
    const a = manualInstance(64).backend(0);
    a.aio.batch(a.root, () => {
      for (let count = 0; count < 40; count++) a.start();
      assert.deepEqual(a.submits, [32]);
      assert.ok(a.aio.haveStaged);
    });
    assert.deepEqual(a.submits, [32, 8]);
    a.start();
    assert.deepEqual(a.submits, [32, 8, 1]);
  });

  it('a target is needed', () => {
    const a = manualInstance(1).backend(0);
    const io = a.acquire();
    assert.throws(() => a.aio.startReadv(io, -1, 0), /needs a target/);
  });
});

describe('callbacks', () => {
  const order: string[] = [];
  const noting = (name: string): AioCallback => ({
    name,
    stage: (_io, data) => order.push(`stage ${name} ${data}`),
    completeShared: (_io, result, data) => {
      order.push(`shared ${name} ${result.value}`);
      result.value += data;
    },
    completeLocal: (_io, result) => order.push(`local ${name} ${result.value}`),
  });

  it('D-11: run in slot order in every phase, the target’s own first, each refining the result for the next', () => {
    order.length = 0;
    const a = manualInstance(1, { 50: noting('a'), 51: noting('b') }).backend(0);
    const result = new AioReturn();
    const io = a.acquire(result);
    io.registerCallback(50, 1);
    io.registerCallback(51, 10);
    const { waitReference } = io;
    a.startHandle(io);
    a.finish(waitReference, 100);
    assert.equal(a.aio.waitForReference(waitReference), true);
    assert.deepEqual(order, [
      'stage a 1',
      'stage b 10',
      'shared a 100',
      'shared b 101',
      'local a 111',
      'local b 111',
    ]);
    assert.equal(result.value, 111);
    assert.equal(result.status, ResultStatus.OK);
  });

  it('D-14: a failure travels as integers; the issuer alone makes an error of it', () => {
    const instance = manualInstance(1);
    const [a, b] = [instance.backend(0), instance.backend(1)];
    const result = new AioReturn();
    const reference = a.start(result);
    b.finish(reference, -5);
    assert.equal(result.status, ResultStatus.UNKNOWN);
    a.aio.waitForReference(reference);
    assert.equal(result.status, ResultStatus.ERROR);
    assert.equal(result.description, 'thing 0');
    assert.deepEqual(
      a.thread.registry.callback(result.reporter).report?.(result),
      new Error('failed with 5'),
    );
  });

  for (const part of ['stage', 'completeShared', 'completeLocal'] as const) {
    it(`one that throws in ${part} crashes the instance, so that nobody waits for ever`, () => {
      const broken: AioCallback = {
        name: 'broken',
        [part]: () => {
          throw new Error('a bug');
        },
      };
      const instance = manualInstance(1, { 50: broken });
      const a = instance.backend(0);
      const io = a.acquire();
      io.registerCallback(50);
      const { waitReference } = io;
      assert.throws(() => {
        a.startHandle(io);
        a.finish(waitReference);
        a.aio.waitForReference(waitReference);
      }, /a bug/);
      assert.throws(() => instance.shared.header.checkCrashed(), {
        code: 'ERR_PGAIO_INSTANCE_CRASHED',
        message: /I\/O handle 0 .* could not be brought to its end: a bug/,
      });
    });
  }

  it('an unknown id is named', () => {
    const { registry } = manualInstance(1);
    assert.throws(() => registry.callback(99), /no callback has the id 99/);
    assert.throws(
      () => registry.addTarget(TARGET, { name: 'again', callback: 0, describe: () => '' }),
      /taken by test/,
    );
    assert.throws(() => registry.addCallback(256, { name: 'x' }), /outside 1 \.\. 255/);
  });
});

describe('the in-flight view', () => {
  it('D-92: a handed-out handle shows nothing more; the raw result appears once there is one', () => {
    const instance = manualInstance(4);
    const a = instance.backend(1);
    const view = () => inFlight(instance.table, instance.registry);
    const io = a.acquire();
    assert.equal(view().length, 1);
    assert.deepEqual(
      { ...view()[0] },
      {
        owner: 1,
        id: 4,
        generation: 0,
        state: 'HANDED_OUT',
        operation: null,
        offset: null,
        length: null,
        target: null,
        targetDescription: null,
        handleDataLength: null,
        rawResult: null,
        result: null,
        referencesLocal: false,
        synchronous: false,
        buffered: false,
        ageMicros: null,
      },
    );
    const { waitReference } = io;
    a.startHandle(io);
    const [submitted] = view();
    assert.equal(submitted?.state, 'SUBMITTED');
    assert.equal(submitted.targetDescription, 'thing 0');
    assert.equal(submitted.length, 100);
    assert.equal(submitted.rawResult, null);
    a.finish(waitReference, 60);
    const [completed] = view();
    assert.equal(completed?.state, 'COMPLETED_SHARED');
    assert.equal(completed.rawResult, 60);
    assert.equal(completed.result, 'partial');
    a.aio.waitForReference(waitReference);
    assert.deepEqual(view(), []);
  });

  it('D-92: a handle that is recycled during the look is skipped', () => {
    const instance = manualInstance(1);
    const a = instance.backend(0);
    const reference = a.start();
    const io = instance.table.handle(0);
    const targetWord = io.targetWord.bind(io);
    io.targetWord = (word) => {
      io.targetWord = targetWord;
      a.finish(reference);
      a.aio.waitForReference(reference);
      a.aio.release(a.acquire());
      return targetWord(word);
    };
    assert.deepEqual(inFlight(instance.table, instance.registry), []);
  });

  it('D-92: one that changes its state during the look is read again', () => {
    const instance = manualInstance(1);
    const a = instance.backend(0);
    const reference = a.start();
    const io = instance.table.handle(0);
    const targetWord = io.targetWord.bind(io);
    io.targetWord = (word) => {
      io.targetWord = targetWord;
      a.finish(reference);
      return targetWord(word);
    };
    assert.equal(inFlight(instance.table, instance.registry)[0]?.state, 'COMPLETED_SHARED');
  });
});

describe('a handle', () => {
  it('joins pieces of memory that follow each other, and adds up the bytes', () => {
    const a = manualInstance(1).backend(0);
    const io = a.acquire();
    io.appendIov(0, 100);
    io.appendIov(100, 50);
    io.appendIov(0xffff_e000, 0x2000);
    io.appendIov(0, 8);
    const pieces = Array.from({ length: io.iovCount }, (_, piece) => [
      io.iovOffset(piece),
      io.iovLength(piece),
    ]);
    assert.deepEqual(pieces, [
      [0, 150],
      [0xffff_e000, 0x2000],
      [0, 8],
    ]);
    assert.equal(io.bytes, 150 + 0x2000 + 8);
  });

  it('has room for so many pieces and so much data as were planned', () => {
    const a = manualInstance(1).backend(0);
    const io = a.acquire();
    for (let piece = 0; piece < 16; piece++) io.appendIov(piece * 20, 10);
    assert.throws(() => io.appendIov(1000, 10), /too many pieces/);
    assert.throws(() => io.setHandleData(new Int32Array(17), 0, 17), /at most 16/);
    io.setHandleData(
      Int32Array.from({ length: 16 }, (_, at) => -at),
      0,
      16,
    );
    assert.equal(io.dataWord(15), -15);
  });

  it('begins every generation with nothing of the last one', () => {
    const a = manualInstance(1).backend(0);
    const first = a.acquire();
    first.setFlag(3);
    first.setHandleData([1], 0, 1);
    first.registerCallback(50);
    first.appendIov(0, 10);
    a.aio.release(first);
    const io = a.acquire();
    assert.deepEqual(
      [io.flags, io.dataCount, io.callbackCount, io.iovCount, io.bytes, io.target, io.deaths, io.raw],
      [0, 0, 1, 0, 0, 0, 0, 0],
    );
  });
});

describe('ending a scope', () => {
  it('D-07: a staged I/O of an inner scope is warned about and submitted; after an error, submitted in silence', () => {
    for (const failed of [false, true]) {
      const a = manualInstance(4).backend(0);
      a.aio.enterBatch(a.root);
      const run = (): void =>
        a.root.runSync((scope) => {
          a.start(null, scope);
          if (failed) throw new Error('boom');
        });
      if (failed) assert.throws(run, /boom/);
      else run();
      assert.deepEqual(a.submits, [1]);
      assert.equal(a.warnings.length, failed ? 0 : 1);
      if (!failed) assert.match(a.warnings[0] ?? '', /an I\/O was not submitted/);
      a.aio.exitBatch();
    }
  });

  it('ends those below it first', () => {
    const a = manualInstance(4).backend(0);
    const ended: string[] = [];
    const names = new Map<object, string>();
    a.aio.addScopedResources({ releaseScope: (scope) => void ended.push(names.get(scope) ?? '?') });
    const outer = a.root.runSync((scope) => {
      names.set(scope, 'outer');
      void scope.run((inner) => {
        names.set(inner, 'inner');
        return new Promise(() => undefined);
      });
      return scope;
    });
    assert.deepEqual(ended, ['inner', 'outer']);
    assert.ok(!outer.isOpen);
  });

  it('has handles in any state when a backend closes: nothing is handed out afterwards', async () => {
    const a = manualInstance(1).backend(0);
    const reference = a.start();
    const late = a.aio.withHandle(a.root, null, () => undefined);
    a.aio.close();
    const drained = a.aio.waits.until(() => a.aio.drain());
    assert.equal(a.thread.table.handle(reference.index).state, HandleState.SUBMITTED);
    a.finish(reference);
    await drained;
    await assert.rejects(late, { code: 'ERR_PGAIO_CLOSED' });
    assert.equal(a.aio.inFlightCount, 0);
  });
});
