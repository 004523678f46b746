/** The tracing channel of I/O, as `node:diagnostics_channel` has such channels. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { after, before, it } from 'node:test';
import type { IoTrace } from '../../../src/index.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import { Injection } from '../../../testing/injection.js';
import { RawReads, writeSample } from '../../../testing/raw-reads.js';

/** Calls `body` with what is published meanwhile. */
async function traced(body: (events: [string, IoTrace][]) => Promise<void> | void): Promise<void> {
  const channel = tracingChannel<unknown, IoTrace>('pgaio:io');
  const events: [string, IoTrace][] = [];
  const note =
    (event: string) =>
    (message: object): void =>
      void events.push([event, message as IoTrace]);
  const subscriber = {
    start: note('start'),
    end: note('end'),
    asyncStart: note('asyncStart'),
    asyncEnd: note('asyncEnd'),
    error: note('error'),
  };
  channel.subscribe(subscriber);
  try {
    await body(events);
  } finally {
    channel.unsubscribe(subscriber);
  }
}

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;

  before(async () => {
    rig = await openRig({ ioMethod, injection: injection.url });
  });
  after(() => rig.close());

  it('an I/O is one message: started, and over', async () => {
    const path = writeSample(rig.data.path, 50_000);
    const file = rig.backend.openRawFile(path);
    await traced(async (events) => {
      await file.read(4096, 1000);
      assert.deepEqual(
        events.map(([event]) => event),
        ['start', 'end', 'asyncStart', 'asyncEnd'],
      );
      const message = events[0]?.[1];
      assert.ok(message !== undefined && events.every(([, other]) => other === message));
      const { generation, durationMicros = -1, id, ...rest } = message;
      assert.ok(generation >= 0 && durationMicros > 0 && id >= 0);
      const { backend, operation, target, description, offset, length, bytes } = rest;
      assert.deepEqual([backend, operation, target], [rig.backend.number, 'readv', 'file']);
      assert.ok(description.includes(path), description);
      assert.deepEqual([offset, length, bytes], [4096, 1000, 1000]);
    });
    file.close();
  });

  it('one that fails says why', async () => {
    const number = 7;
    const relation = rig.backend.openRelation(rig.data.path, rig.data.write(number, 4));
    injection.answer(-constants.errno.EIO, { relation: number, times: 1 });
    await traced(async (events) => {
      let thrown: unknown;
      await rig.backend.readBlock(relation, 2).catch((error: unknown) => (thrown = error));
      assert.deepEqual(
        events.map(([event]) => event),
        ['start', 'end', 'error', 'asyncStart', 'asyncEnd'],
      );
      const { error, bytes } = events[4]?.[1] ?? {};
      assert.ok(error instanceof Error && thrown instanceof Error);
      assert.deepEqual([error.message, bytes], [thrown.message, 0]);
    });
  });

  it('who subscribes late hears nothing of what was started before; who leaves, nothing more', async () => {
    const reads = new RawReads(rig.backend, rig.data.path);
    const early = reads.start();
    let seen: [string, IoTrace][] = [];
    await traced((events) => {
      reads.wait(early);
      assert.deepEqual(events, []);
      reads.wait(reads.start());
      seen = events;
    });
    reads.wait(reads.start());
    assert.equal(seen.length, 4);
    reads.close();
  });

  it('a subscriber that starts I/O of the same backend is told that it cannot', () => {
    const reads = new RawReads(rig.backend, rig.data.path);
    const thrown: unknown[] = [];
    const onStart = (): void => {
      try {
        reads.start();
      } catch (error) {
        thrown.push(error);
      }
    };
    subscribe('tracing:pgaio:io:start', onStart);
    reads.wait(reads.start());
    unsubscribe('tracing:pgaio:io:start', onStart);
    assert.equal(thrown.length, 1);
    assert.match(String(thrown[0]), /a subscriber to pgaio:io cannot start I\/O itself/);
    reads.close();
  });
});
