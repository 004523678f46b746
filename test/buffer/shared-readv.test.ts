/** A completion that runs again after the death of its thread: what was done stays, what was not is done. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { HandleState } from '../../src/aio/states.js';
import type { AioThread } from '../../src/aio/thread.js';
import { ResultStatus } from '../../src/aio/result.js';
import { Backend } from '../../src/instance/backend.js';
import { createSharedState, type CreateOptions } from '../../src/instance/instance.js';
import { AttachedMemory, ThreadParts } from '../../src/instance/thread-parts.js';
import { WorkerControl } from '../../src/aio/method/worker/control.js';
import { BlockReads } from '../../testing/block-reads.js';
import { leaksOf } from '../../testing/leaks.js';
import { DataDirectory, type Damage } from '../../testing/relations.js';

const BLOCKS = 6;

class Death extends Error {}

/** Completes a read of six blocks in a thread that dies after `survived` buffers, then in another. */
async function completeTwice(
  survived: number,
  damaged: Record<number, Damage>,
  between: (blocks: BlockReads, buffers: number[]) => void = () => undefined,
  settings: CreateOptions = {},
): Promise<{ status: number; error: unknown; valid: boolean[]; warnings: string[] }> {
  using data = new DataDirectory();
  const { handle, loaded, log } = await createSharedState({
    ioMethod: 'worker',
    maxBackends: 2,
    sharedBuffers: '128kB',
    ...settings,
  });
  const warnings: string[] = [];
  const backend = new Backend(handle, loaded, ({ message }) => warnings.push(message));
  const memory = new AttachedMemory(handle);
  new WorkerControl(memory.slots, memory.plan.workers).markAlive(0);
  const blocks = new BlockReads(backend, data.path, data.write(100, BLOCKS, { damaged }));
  const op = blocks.start(0, BLOCKS);
  const buffers = Array.from({ length: BLOCKS }, (_, at) => op.buffer(at));

  const dying = new ThreadParts(memory, memory.slots.workerSlot(0), loaded, log);
  dying.thread.crash = () => undefined;
  let left = survived;
  const terminate = dying.bufferIo.terminate.bind(dying.bufferIo);
  dying.bufferIo.terminate = (...which) => {
    if (left-- === 0) throw new Death();
    terminate(...which);
  };
  assert.throws(() => runAll(dying.thread, op.ioHandle, op.ioGeneration), Death);
  assert.equal(backend.aio.thread.table.handle(op.ioHandle).state, HandleState.COMPLETED_IO);
  between(blocks, buffers);

  const heir = new ThreadParts(memory, memory.slots.supervisorSlot, loaded, log);
  const io = heir.thread.table.handle(op.ioHandle);
  assert.ok(io.tryTakeFromDead(dying.slot, heir.slot, op.ioGeneration));
  io.deaths++;
  heir.thread.completeShared(io);
  const status = io.storedStatus;
  const valid = buffers.map((buffer) => backend.buffers.bufferIo.isValid(buffer));
  const error: unknown = await blocks.copy(op).then(
    () => null,
    (reason: unknown) => reason,
  );
  dying.reopens.close();
  await backend.close();
  assert.deepEqual(leaksOf(handle), []);
  const failures = backend.checksumFailures().map((row) => row.failures);
  assert.deepEqual(failures, Object.values(damaged).includes('checksum') ? [1] : []);
  return { status, error, valid, warnings };
}

function runAll(thread: AioThread, index: number, generation: number): void {
  const io = thread.table.handle(index);
  assert.ok(io.tryBecomeExecutor(thread.slot, generation));
  thread.run(io, thread.registry.target(io.target).reopen?.(io) ?? -1);
}

for (let survived = 0; survived < BLOCKS; survived++) {
  it(`good pages, a death after ${survived} of ${BLOCKS} buffers`, async () => {
    const { status, error, valid } = await completeTwice(survived, {});
    assert.equal(status, ResultStatus.OK);
    assert.equal(error, null);
    assert.ok(valid.every(Boolean));
  });

  it(`zeroed and ignored pages, a death after ${survived} of ${BLOCKS} buffers: the warning is the same`, async () => {
    const settings = { zeroDamagedPages: true, ignoreChecksumFailure: true };
    const damaged = { 1: 'checksum', 2: 'header', 4: 'header' } as const;
    const { error, valid, warnings } = await completeTwice(survived, damaged, undefined, settings);
    assert.equal(error, null);
    assert.ok(valid.every(Boolean));
    assert.deepEqual(warnings, [
      '2 pages zeroed and 1 checksum failure ignored among blocks 0..5 of relation "base/5/100"',
    ]);
  });

  it(`damaged pages, a death after ${survived} of ${BLOCKS} buffers: the error is the same`, async () => {
    const { error, valid } = await completeTwice(survived, { 1: 'checksum', 4: 'header' });
    assert.deepEqual([(error as { count: number }).count, (error as { block: number }).block], [2, 1]);
    assert.deepEqual(valid, [true, false, true, true, false, true]);
  });
}

it('a buffer that was ended, and is another block’s meanwhile, is left alone', async () => {
  const { status } = await completeTwice(3, {}, ({ backend, reader }, buffers) => {
    // The first three are nobody's any more, so their memory changes under the second completion.
    for (const buffer of buffers.slice(0, 3)) {
      backend.buffers.page(buffer).fill(0xff);
      assert.ok(backend.buffers.bufferIo.isValid(buffer));
    }
    assert.equal(backend.buffers.pool.lookup(reader.tag, 0, backend.rootScope), buffers[0]);
    backend.buffers.pool.unpin(buffers[0] ?? -1, backend.rootScope);
  });
  assert.equal(status, ResultStatus.OK);
});
