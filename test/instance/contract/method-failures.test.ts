/** What goes wrong between a method and its workers or the kernel: D-79, D-82, D-83. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, it } from 'node:test';
import { InjectionPoints } from '../../../src/aio/injection-points.js';
import { Ring } from '../../../src/aio/method/io-uring/ring.js';
import { REAP_BATCH_SIZE } from '../../../src/aio/method/io-uring/reaper.js';
import { HandleState } from '../../../src/aio/states.js';
import { AioReturn } from '../../../src/aio/result.js';
import { Backend } from '../../../src/instance/backend.js';
import { createSharedState, releaseSharedState } from '../../../src/instance/instance.js';
import { supportedMethods } from '../../../src/instance/methods.js';
import { PENDING } from '../../../src/shmem/wait.js';
import { BlockReads } from '../../../testing/block-reads.js';
import { holdIo, Injection } from '../../../testing/injection.js';
import { withRig } from '../../../testing/instances.js';
import { answerEnter } from '../../../testing/kernel-answers.js';
import { PipeReads, type PipeRead } from '../../../testing/pipe-reads.js';
import { RawReads } from '../../../testing/raw-reads.js';
import { DataDirectory } from '../../../testing/relations.js';
import { untilTrue } from '../../../testing/turns.js';
import { poolState } from '../../../testing/worker-pool.js';

const { EINTR, EINVAL } = constants.errno;
const missing = supportedMethods().includes('io_uring') ? false : 'io_uring is not available here';

describe('worker', () => {
  it('D-79: workers that die after they were woken, or took an I/O, lose none of what is queued', async () => {
    const injection = new Injection();
    const options = { ioMinWorkers: 2, ioMaxWorkers: 2, ioMaxConcurrency: 16, injection: injection.url };
    await withRig({ ioMethod: 'worker', ...options }, async ({ instance, backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const hold = injection.hold('workerDequeued', { times: 2 });
      const first = raw.start();
      const busy = await hold.arrived(1);
      // Both are held with an I/O in hand, and nobody is idle for the rest.
      const second = raw.start();
      const other = await hold.arrived(2);
      assert.notEqual(other, busy);
      const queued = [raw.start(), raw.start()];
      instance.terminateWorker(other);
      // Also the first: what has no executor is queued again, and the held worker has not become one.
      const all = [first, second, ...queued];
      await untilTrue(() => all.every((reference) => raw.isDone(reference)));
      hold.release();
      for (const reference of all) raw.wait(reference);
      assert.equal(poolState(instance).workersLost, 1);
      raw.close();
    });
  });
});

describe('io_uring', { skip: missing }, () => {
  it('D-82: interrupted system calls are made again', async () => {
    await withRig({ ioMethod: 'io_uring', ioMaxConcurrency: 8 }, ({ backend, data }) => {
      const raw = new RawReads(backend, data.path);
      const pipes = new PipeReads(backend, data.path);
      const submits = answerEnter([-EINTR, -EINTR, -EINTR], (submit) => submit > 0);
      const results = [new AioReturn(), new AioReturn()];
      const references = backend.aio.batch(backend.rootScope, () =>
        results.map((result) => raw.start(backend.rootScope, result)),
      );
      assert.equal(submits(), 3);
      for (const reference of references) raw.wait(reference);
      assert.ok(results.every(({ value }) => value === 8192));

      const read = pipes.start();
      let waits = 0;
      const interrupted = answerEnter([-EINTR, -EINTR], (_submit, waitFor) => {
        if (waitFor > 0 && ++waits === 2) read.finish();
        return waitFor > 0;
      });
      raw.wait(read.reference);
      assert.equal(interrupted(), 2);
      assert.equal(read.result.value, 8);
      pipes.close();
      raw.close();
    });
  });

  for (const answer of ['EAGAIN', 'ECANCELED', 'EINTR'] as const) {
    it(`D-82: a read that the kernel gives back with ${answer} is carried out by who takes it, and is no error`, async (t) => {
      const injection = new Injection();
      const options = { ioMethod: 'io_uring', ioMaxConcurrency: 8, injection: injection.url } as const;
      await withRig(options, async (rig) => {
        const [a, b] = [await rig.attach(), await rig.attach()];
        const locator = rig.data.write(100, 8);
        const issuer = new BlockReads(a, rig.data.path, locator);
        const other = new BlockReads(b, rig.data.path, locator);
        const hold = holdIo(injection, a, 'beforeSharedCompletion');
        const op = issuer.start(2, 3);
        const io = a.aio.thread.table.handle(op.ioHandle);
        const { reads, readBytes, ioErrors } = rig.backend.counters();
        hold.release();
        const taken = t.mock.method(Ring.prototype, 'completedResult', () => -constants.errno[answer]);
        await other.read(2, 3); // a does not look meanwhile
        assert.equal(taken.mock.callCount(), 1);
        taken.mock.restore();
        assert.deepEqual([io.state, io.executor], [HandleState.COMPLETED_SHARED, b.number]);
        const now = rig.backend.counters();
        assert.deepEqual(
          [now.reads - reads, now.readBytes - readBytes, now.ioErrors - ioErrors],
          [1, 3 * 8192, 0],
        );
        await issuer.finish(op);
      });
    });
  }

  for (const what of ['a submission', 'a wait'] as const) {
    it(`D-82: ${what} that the kernel refuses otherwise ends the instance, with the errno, for everybody`, async () => {
      using data = new DataDirectory();
      const { handle, loaded, log, memory } = await createSharedState({
        ioMethod: 'io_uring',
        ioMaxConcurrency: 8,
        maxBackends: 2,
        sharedBuffers: '1MB',
      });
      const [a, b] = [new Backend(handle, loaded, log), new Backend(handle, loaded, log)];
      const pipes = new PipeReads(a, data.path);
      const crashed = {
        code: 'ERR_PGAIO_INSTANCE_CRASHED',
        message: new RegExp(`refused ${what} with errno ${EINVAL}`),
      };
      const read = what === 'a wait' ? pipes.start() : null;
      const restore = answerEnter([-EINVAL], (submit, waitFor) => (read === null ? submit > 0 : waitFor > 0));
      try {
        if (read === null) assert.throws(() => pipes.start(), crashed);
        else
          assert.throws(() => {
            const { index, generation } = read.reference;
            a.aio.waitForBlocking(index, generation);
          }, crashed);
      } finally {
        assert.equal(restore(), 1);
      }
      assert.throws(() => b.openRawFile('/etc/hostname'), crashed);
      read?.finish();
      pipes.closeDescriptors();
      for (const backend of [a, b]) await backend.close().catch(() => undefined); // nobody is waited for any more
      await releaseSharedState(memory);
    });
  }

  /** Backends of this thread with a look at each round of completions that is taken. */
  async function watchRounds(
    body: (backend: Backend, pipes: PipeReads, rounds: number[], onRound: { call: () => void }) => void,
  ): Promise<void> {
    using data = new DataDirectory();
    const state = await createSharedState({
      ioMethod: 'io_uring',
      ioMaxConcurrency: 64,
      maxBackends: 1,
      sharedBuffers: '1MB',
    });
    const rounds: number[] = [];
    const onRound = { call: (): void => undefined };
    const injection = new InjectionPoints({
      ringTaken: (_ring, _slot, count) => {
        rounds.push(count);
        onRound.call();
      },
    });
    const backend = new Backend(state.handle, { ...state.loaded, injection }, state.log);
    const pipes = new PipeReads(backend, data.path);
    body(backend, pipes, rounds, onRound);
    onRound.call = () => undefined;
    await backend.aio.waits.until(() => backend.aio.drain());
    pipes.close();
    await backend.close();
    await releaseSharedState(state.memory);
  }

  it('D-83: of many completions as many are taken at a time as fit, and all in the end', async () => {
    await watchRounds((backend, pipes, rounds) => {
      const reads = Array.from({ length: 60 }, () => pipes.start());
      rounds.length = 0;
      for (const read of reads) read.finish();
      const { index, generation } = (reads.at(-1) as PipeRead).reference;
      backend.aio.waitForBlocking(index, generation);
      assert.equal(rounds[0], REAP_BATCH_SIZE);
      assert.ok(rounds.every((count) => count <= REAP_BATCH_SIZE));
      assert.equal(
        rounds.reduce((sum, count) => sum + count, 0),
        60,
      );
    });
  });

  it('D-83: who takes completions while more come goes away after a few looks, and does not serve others for ever', async () => {
    await watchRounds((backend, pipes, rounds, onRound) => {
      const reads = Array.from({ length: 40 }, () => pipes.start());
      rounds.length = 0;
      let finished = 0;
      const finishOne = (): void => {
        if (finished < 39) reads[finished++]?.finish();
      };
      onRound.call = finishOne;
      finishOne();
      const { index, generation } = (reads.at(-1) as PipeRead).reference;
      assert.equal(backend.aio.waitFor(index, generation), PENDING);
      assert.ok(rounds.length > 1, 'it looks back');
      assert.ok(rounds.length <= 10, `${rounds.length} rounds`);
      onRound.call = () => undefined;
      while (finished < 39) finishOne();
      reads.at(-1)?.finish();
      backend.aio.waitForBlocking(index, generation);
    });
  });
});
