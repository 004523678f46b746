/** What an instance counts of its I/O, and how long that took, whoever carries it out. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, it } from 'node:test';
import type { Backend } from '../../../src/instance/backend.js';
import { attachAuxiliary, createInstance } from '../../../src/instance/instance.js';
import type { SmgrRelation } from '../../../src/smgr/smgr.js';
import { nowMicros } from '../../../src/stats/clock.js';
import type { IoStatsRow } from '../../../src/stats/io-stats-view.js';
import { forEachMethod, openRig, type Rig } from '../../../testing/instances.js';
import { Injection } from '../../../testing/injection.js';
import { stampedPage } from '../../../testing/relations.js';
import { writeSample } from '../../../testing/raw-reads.js';

const BLOCKS = 40;
const PAGE = 8192;

async function scan(backend: Backend, relation: SmgrRelation, strategy: 'bulkread' | null): Promise<void> {
  for await (const buffer of backend.readStream(relation, { strategy })) buffer.release();
}

forEachMethod((ioMethod) => {
  const injection = new Injection();
  let rig: Rig;
  let backend: Backend;
  let number = 100;

  before(async () => {
    rig = await openRig({ ioMethod, injection: injection.url });
    ({ backend } = rig);
  });
  beforeEach(() => {
    rig.instance.trackIoTiming = false;
    rig.instance.resetStats();
  });
  after(() => rig.close());

  /** Of the one row that anything was counted in. */
  function onlyRow(): IoStatsRow {
    const { io } = rig.instance.stats();
    assert.equal(io.length, 1, JSON.stringify(io));
    return io[0]!;
  }

  function newRelation(): SmgrRelation {
    number++;
    return backend.openRelation(rig.data.path, rig.data.write(number, BLOCKS));
  }

  it('reads and hits of a relation', async () => {
    const relation = newRelation();
    await scan(backend, relation, null);
    const first = onlyRow();
    assert.deepEqual(
      [first.backendType, first.object, first.context],
      ['client backend', 'relation', 'normal'],
    );
    assert.equal(first.readBytes, BLOCKS * PAGE);
    assert.ok(first.reads >= 1 && first.reads < BLOCKS, 'neighbours are read together');
    assert.deepEqual([first.hits, first.readMicros, first.failures], [0, 0, 0]);
    await scan(backend, relation, null);
    assert.deepEqual([onlyRow().hits, onlyRow().reads], [BLOCKS, first.reads]);
    backend.pinCached(relation, 3)?.release();
    assert.equal(onlyRow().hits, BLOCKS + 1);
    assert.deepEqual(rig.instance.stats().latencies, []);
  });

  it('what a ring of buffers does is told apart; it uses its own again once it is full', async () => {
    for (let relations = 0; relations < 5; relations++) await scan(backend, newRelation(), null);
    rig.instance.resetStats();
    const strategy = backend.accessStrategy('bulkread', { ringSize: '128kB' });
    for await (const buffer of backend.readStream(newRelation(), { strategy })) buffer.release();
    const row = onlyRow();
    assert.deepEqual([row.context, row.readBytes], ['bulkread', BLOCKS * PAGE]);
    assert.ok(row.reuses > 0 && row.evictions > 0);
    assert.equal(row.reuses + row.evictions, BLOCKS, 'the pool was full');
  });

  it('extending, and private relations', async () => {
    const relation = newRelation();
    await backend.extendRelation(relation, 3);
    assert.deepEqual([onlyRow().extends, onlyRow().extendBytes], [1, 3 * PAGE]);
    rig.instance.resetStats();
    const own = backend.openRelation(
      rig.data.path,
      rig.data.write(++number, BLOCKS, { backend: backend.number }),
    );
    await scan(backend, own, null);
    assert.deepEqual([onlyRow().object, onlyRow().readBytes], ['temp relation', BLOCKS * PAGE]);
  });

  it('writes and syncs of dirty pages, by the backend that flushes', async () => {
    await backend.writes.checkpointBuffers(); // what was extended above
    const relation = newRelation();
    const buffer = await backend.readBlock(relation, 1);
    await buffer.change((page) => {
      page.set(stampedPage(number, 1, 1));
    });
    buffer.release();
    rig.instance.resetStats();
    await backend.writes.checkpointBuffers();
    const row = onlyRow();
    assert.deepEqual([row.writes, row.writeBytes, row.fsyncs, row.failures], [1, PAGE, 1, 0]);
  });

  it('latencies, of files, by how the I/O was carried out; with ages while it is in flight', async () => {
    const other = await rig.attach();
    const file = other.openRawFile(writeSample(rig.data.path, 50_000));
    await file.read(0, 1000);
    rig.instance.trackIoTiming = true;
    assert.equal(rig.instance.stats().trackIoTiming, true);
    const begun = nowMicros();
    await Promise.all(Array.from({ length: 20 }, (_, at) => file.read(at * 1000, 1000)));
    const most = nowMicros() - begun;
    const { latencies, io } = backend.stats();
    assert.deepEqual(
      latencies.map(({ object, operation, method }) => [object, operation, method]),
      [['file', 'read', ioMethod]],
    );
    const { latency } = latencies[0]!;
    assert.equal(latency.count, 20);
    assert.equal(io[0]?.reads, 21);
    assert.equal(io[0]?.readMicros, latency.sumMicros);
    assert.ok(latency.maxMicros > 0 && latency.maxMicros <= most + 10, `${latency.maxMicros} of ${most}`);
    assert.ok(latency.p50 <= latency.p99 && latency.p99 <= latency.maxMicros);
    rig.instance.resetStats();
    assert.deepEqual([rig.instance.stats().latencies, rig.instance.stats().io], [[], []]);
    assert.ok(rig.instance.stats().statsReset instanceof Date);
  });

  if (ioMethod === 'worker')
    it('how long an I/O has been in flight', async () => {
      rig.instance.trackIoTiming = true;
      const hold = injection.hold('beforeSharedCompletion');
      const reading = scan(backend, newRelation(), null);
      await hold.arrived();
      const [first] = rig.instance.inFlight();
      const [again] = rig.instance.inFlight();
      assert.ok(first !== undefined && again !== undefined);
      assert.ok(first.ageMicros !== null && first.ageMicros > 0);
      assert.ok((again.ageMicros ?? 0) > first.ageMicros);
      hold.release();
      await reading;
    });

  it('what fails is counted as that, and brings no bytes', async (t) => {
    const relation = newRelation();
    injection.answer(-constants.errno.EIO, { relation: number });
    t.after(() => injection.disarm('beforeSharedCompletion'));
    await assert.rejects(backend.readBlock(relation, 0));
    assert.deepEqual([onlyRow().reads, onlyRow().readBytes, onlyRow().failures], [1, 0, 1]);
  });
});

it('the WAL, and what a checkpointer does', async () => {
  const data = mkdtempSync(join(tmpdir(), 'pgaio-stats-wal-'));
  const instance = await createInstance({
    ioMethod: 'sync',
    sharedBuffers: '1MB',
    wal: { dataDirectory: data, checkpointer: false },
  });
  try {
    instance.resetStats();
    await instance.backend.wal.commit('a', 'b');
    const [row, ...others] = instance.stats().io;
    assert.ok(row !== undefined && others.length === 0);
    assert.deepEqual([row.backendType, row.object], ['client backend', 'wal']);
    assert.ok(row.writes >= 1 && row.writeBytes >= PAGE && row.fsyncs >= 1);
    const checkpointer = await attachAuxiliary(instance.handle, 'checkpointer');
    await checkpointer.wal.checkpoint();
    await checkpointer.close();
    const types = new Set(instance.stats().io.map(({ backendType }) => backendType));
    assert.deepEqual([...types], ['client backend', 'checkpointer']);
  } finally {
    await instance.close();
    rmSync(data, { recursive: true });
  }
});
