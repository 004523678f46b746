/** D-54: the rings by which bad pages come from the threads that complete reads to the log of the instance's creator. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import type { LogEvent, LogSink } from '../../src/base/log.js';
import { DamageLog, DamageLogReader, planDamageLog } from '../../src/buffer/damage-log.js';
import { PageFate } from '../../src/buffer/page-damage.js';
import { makeShared } from '../../testing/shared.js';
import { untilTrue } from '../../testing/turns.js';

const ROOM = 64;
const { INVALID, ZEROED } = PageFate;
/** Of an I/O on target 3: its identity is 0, 10, 20, ... */
const io = { target: 3, targetWord: (word: number): number => word * 10 };
const describeIo = (target: number, data: Int32Array): string => `${target}:${data.slice(0, 3).join()}`;

class Death extends Error {}

function makeLog(slots = 2) {
  const { words, regions } = makeShared((plan) => planDamageLog(plan, slots));
  const events: LogEvent[] = [];
  const writer = (slot: number): DamageLog => new DamageLog(words, regions, slot);
  const reader = (sink: LogSink = (event) => events.push(event)): DamageLogReader =>
    new DamageLogReader(words, regions, describeIo, sink);
  const blocks = (): (number | undefined)[] => events.map(({ block }) => block);
  return { words, events, writer, reader, blocks };
}

describe('D-54: the log of bad pages', () => {
  it('says of each page what it is, in the order of its thread', () => {
    const log = makeLog();
    log.writer(1).append(io, 0xffff_fff0, INVALID);
    log.writer(1).append(io, 7, ZEROED);
    log.reader().drain();
    assert.deepEqual(
      log.events.map(({ path, block, code }) => [path, block, code]),
      [
        ['3:0,10,20', 0xffff_fff0, 'ERR_PGAIO_INVALID_PAGE'],
        ['3:0,10,20', 7, 'PGAIO_PAGE_ZEROED'],
      ],
    );
  });

  it('goes round its ring: what was read makes room', () => {
    const log = makeLog();
    const [writer, reader] = [log.writer(0), log.reader()];
    const count = 3 * ROOM + 5;
    for (let block = 0; block < count; block++) {
      writer.append(io, block, INVALID);
      if (block % 50 === 49) reader.drain();
    }
    reader.drain();
    assert.deepEqual(
      log.blocks(),
      Array.from({ length: count }, (_, block) => block),
    );
  });

  it('keeps the first, counts what it has no room for, and says that once', () => {
    const log = makeLog();
    const [writer, reader] = [log.writer(0), log.reader()];
    for (let block = 0; block < ROOM + 3; block++) writer.append(io, block, INVALID);
    reader.drain();
    reader.drain();
    assert.equal(log.events.length, ROOM + 1);
    assert.deepEqual(log.events.at(-1), {
      level: 'log',
      code: 'PGAIO_LOG_OVERFLOW',
      message: '3 more bad page(s) were found than the log had room for',
    });
    writer.append(io, 99, INVALID);
    reader.drain();
    assert.equal(log.events.at(-1)?.block, 99);
    assert.equal(log.events.length, ROOM + 2);
  });

  it('has a ring for each thread: a full one takes no room from another', () => {
    const log = makeLog();
    for (let block = 0; block < 2 * ROOM; block++) log.writer(0).append(io, block, INVALID);
    log.writer(1).append(io, 1000, INVALID);
    log.reader().drain();
    assert.ok(log.blocks().includes(1000));
  });

  it('has nothing of a record whose writer died in it, at any of its stores; the next in the slot writes it anew', () => {
    const log = makeLog();
    const stores = countStores(log, () => log.writer(0).append(io, 1, INVALID));
    const reader = log.reader();
    reader.drain();
    log.events.length = 0;
    for (let survived = 0; survived < stores; survived++) {
      dieAfter(log, survived, () => log.writer(0).append(io, 2, ZEROED));
      reader.drain();
      assert.deepEqual(log.events, [], `after ${survived} stores`);
      log.writer(0).append(io, 3, INVALID);
      reader.drain();
      assert.deepEqual(log.blocks(), [3]);
      log.events.length = 0;
    }
  });

  it('is read when it is rung, until it is stopped, and then to its end', async () => {
    const log = makeLog();
    const reader = log.reader();
    const running = reader.run();
    log.writer(0).append(io, 1, INVALID);
    await untilTrue(() => log.events.length === 1);
    log.writer(1).append(io, 2, INVALID); // no turn of the loop before the end
    reader.stop();
    assert.deepEqual(log.blocks(), [1, 2]);
    await running;
  });

  it('goes on behind a sink that throws, and does not hide what it threw', async (context: TestContext) => {
    const log = makeLog();
    const thrown: unknown[] = [];
    context.mock.method(globalThis, 'queueMicrotask', (task: () => void) => {
      assert.throws(task, (error) => thrown.push(error) > 0);
    });
    const reader = log.reader((event) => {
      log.events.push(event);
      if (event.block === 1) throw new Error('of the sink');
    });
    log.writer(0).append(io, 1, INVALID);
    log.writer(0).append(io, 2, INVALID);
    const running = reader.run();
    await untilTrue(() => log.events.length === 2);
    log.writer(0).append(io, 3, INVALID);
    await untilTrue(() => log.events.length === 3);
    assert.deepEqual(log.blocks(), [1, 2, 3], 'each once');
    assert.equal((thrown[0] as Error).message, 'of the sink');
    assert.equal(thrown.length, 1);
    reader.stop();
    await running;
  });
});

type Log = ReturnType<typeof makeLog>;

/** How many stores `work` makes in shared memory before the ring is published, that one included. */
function countStores(log: Log, work: () => void): number {
  let stores = 0;
  const restore = onStores(log, () => stores++);
  work();
  restore();
  assert.ok(stores > 3);
  return stores;
}

function dieAfter(log: Log, survived: number, work: () => void): void {
  let left = survived;
  const restore = onStores(log, () => {
    if (left-- === 0) throw new Death();
  });
  try {
    assert.throws(work, Death);
  } finally {
    restore();
  }
}

/** Calls `look` before each store. */
function onStores({ words }: Log, look: () => void): () => void {
  const before = { set: words.set.bind(words), store: words.store };
  const watched =
    (store: (index: number, value: number) => void) =>
    (index: number, value: number): void => {
      look();
      store(index, value);
    };
  Object.assign(words, { set: watched(before.set), store: watched(before.store) });
  return () => {
    Object.assign(words, before);
  };
}
