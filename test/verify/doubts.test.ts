/** Blocks in doubt, with a clock and a disk that the test moves. */
import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { Job } from '../../src/cli/verify/job/job.js';
import type { Findings, FromJob, ScanRange } from '../../src/cli/verify/job/protocol.js';
import { noFindings } from '../../src/cli/verify/job/protocol.js';
import { RunControl } from '../../src/cli/verify/job/run-control.js';
import { forEachMethod, withRig } from '../../testing/instances.js';
import { pages, SyntheticCluster } from './synthetic-cluster.js';

/** Time passes only while the job sleeps; the test does its work meanwhile, as a server would. */
class SteppedControl extends RunControl {
  readonly sleeps: number[] = [];
  onSleep: (sleep: number) => void = () => undefined;
  #nanos = 1_000_000_000n;

  override now(): bigint {
    return this.#nanos;
  }

  override sleep(millis: number): void {
    this.sleeps.push(millis);
    this.#nanos += BigInt(Math.ceil(millis * 1e6));
    this.onSleep(this.sleeps.length);
  }

  get elapsedMillis(): number {
    return Number(this.#nanos - 1_000_000_000n) / 1e6;
  }
}

interface Outcome {
  found: Findings;
  control: SteppedControl;
  undecided: number;
}

/** One file, verified by a job of its own; `onSleep` gets the file's path and how often the job has slept. */
async function verifyFile(
  ioMethod: 'sync' | 'worker' | 'io_uring',
  contents: Buffer,
  changes: Partial<ScanRange> = {},
  onSleep: (path: string, sleep: number, control: SteppedControl) => void = () => undefined,
): Promise<Outcome> {
  using cluster = new SyntheticCluster();
  const path = cluster.write('base/5/16384', contents);
  const control = new SteppedControl(new SharedArrayBuffer(24));
  control.onSleep = (sleep) => onSleep(path, sleep, control);
  const found = noFindings();
  let undecided = 0;
  const tell = ({ findings }: FromJob): void => {
    if (findings === undefined) return;
    for (const key of ['files', 'blocks', 'bytes', 'inFlux'] as const) found[key] += findings[key];
    found.bad.push(...findings.bad);
    found.structural.push(...findings.structural);
    found.problems.push(...findings.problems);
  };
  await withRig({ ioMethod }, ({ backend, instance }) => {
    const data = {
      handle: instance.handle,
      control: control.memory,
      chunkBytes: 64 * 1024,
      depth: 2,
      direct: false,
    };
    const job = new Job(backend, data, control, { tell, poll: () => null });
    const range: ScanRange = {
      path,
      displayPath: 'base/5/16384',
      dataDirectory: cluster.path,
      position: 0,
      length: Math.ceil(contents.length / 8192) * 8192,
      blockSize: 8192,
      segmentFirstBlock: 0,
      online: true,
      ...changes,
    };
    assert.equal(job.handle({ ranges: [range] }), false);
    assert.equal(job.handle({ finish: true }), true);
    undecided = job.undecided;
  });
  return { found, control, undecided };
}

forEachMethod((method) => {
  test('beside a server, only what stays the same for more than a second is bad', async () => {
    const { found, control } = await verifyFile(method, pages(['good', 'body']));
    assert.deepEqual(
      found.bad.map(({ block }) => block),
      [1],
    );
    assert.equal(found.inFlux, 0);
    assert.equal(control.sleeps.length, 5);
    assert.ok(control.elapsedMillis >= 1500, `${control.elapsedMillis} ms`);
  });

  test('in a stopped cluster one confirming read is enough', async () => {
    const { found, control } = await verifyFile(method, pages(['good', 'body']), { online: false });
    assert.equal(found.bad.length, 1);
    assert.equal(control.sleeps.length, 0);
  });

  test('unless its server was started meanwhile', async () => {
    using other = new SyntheticCluster();
    other.write('postmaster.pid', '1\n');
    const changes = { online: false, dataDirectory: other.path };
    const { found, control } = await verifyFile(method, pages(['good', 'body']), changes);
    assert.equal(found.bad.length, 1);
    assert.equal(control.sleeps.length, 5);
  });

  test('a page that is right when it is read again was in flux', async () => {
    const { found } = await verifyFile(method, pages(['good', 'body']), {}, (path, sleep) => {
      if (sleep === 3) writeFileSync(path, pages(['good', 'good']));
    });
    assert.deepEqual([found.bad.length, found.inFlux, found.blocks], [0, 1, 2]);
  });

  test('a page that is another one is given as much time again', async () => {
    const { found, control } = await verifyFile(method, pages(['good', 'body']), {}, (path, sleep) => {
      if (sleep === 4) writeFileSync(path, pages(['good', 'checksum']));
    });
    assert.deepEqual([found.bad.length, found.inFlux], [1, 0]);
    assert.equal(control.sleeps.length, 9);
  });

  test('a block that is gone, with its file or without, was in flux', async () => {
    const truncated = await verifyFile(method, pages(['good', 'body']), {}, (path) =>
      truncateSync(path, 8192),
    );
    assert.deepEqual([truncated.found.bad.length, truncated.found.inFlux], [0, 1]);
    const removed = await verifyFile(method, pages(['good', 'body']), {}, (path) => rmSync(path));
    assert.deepEqual([removed.found.bad.length, removed.found.inFlux], [0, 1]);
  });

  test('a page that never settles is a problem, not a bad block', async () => {
    const { found } = await verifyFile(method, pages(['good', 'body']), {}, (path, sleep) => {
      const contents = pages(['good', 'body']);
      contents.writeUInt32LE(sleep, 8192 + 4000);
      writeFileSync(path, contents);
    });
    assert.equal(found.bad.length, 0);
    assert.match(
      String(found.problems[0]?.message),
      /block 1 of "base\/5\/16384" was another one, .* 50 times/,
    );
  });

  test('a file that ends inside a block may be growing', async () => {
    const short = pages(['good', 'good']).subarray(0, 9000);
    const grown = await verifyFile(method, short, {}, (path) => writeFileSync(path, pages(['good', 'good'])));
    assert.deepEqual(grown.found.problems, []);
    const stays = await verifyFile(method, short);
    assert.match(String(stays.found.problems[0]?.message), /ends inside block 1/);
  });

  test('what is in doubt when the job is stopped is not called bad', async () => {
    const stop = (_path: string, _sleep: number, control: SteppedControl): void => control.stop();
    const { found, undecided } = await verifyFile(method, pages(['body', 'body']), {}, stop);
    assert.deepEqual([found.bad.length, undecided], [0, 2]);
  });

  test('a file that is gone is a problem only in a stopped cluster', async () => {
    const nowhere = { path: '/nowhere/16384' };
    assert.deepEqual((await verifyFile(method, pages(['good']), nowhere)).found.problems, []);
    const { found } = await verifyFile(method, pages(['good']), { ...nowhere, online: false });
    assert.equal(found.problems[0]?.message, '"base/5/16384" is gone');
  });
});

test('reads are paced to the rate, over all that pace', () => {
  const bytesPerSecond = 2 ** 20;
  const one = new SteppedControl(RunControl.create(bytesPerSecond).memory);
  for (let megabytes = 0; megabytes < 10; megabytes++) one.pace(2 ** 20);
  assert.ok(Math.abs(one.elapsedMillis - 10_000) < 100, `${one.elapsedMillis} ms`);
  const free = new SteppedControl(RunControl.create(0).memory);
  free.pace(2 ** 30);
  assert.equal(free.elapsedMillis, 0);
});
