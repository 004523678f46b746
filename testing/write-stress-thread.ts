/** A thread that changes, flushes, extends, cuts and removes until it is told to stop or ended; see test/instance/write-stress.test.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import { attachInstance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { makePage } from './pages.js';
import { seededRandom } from './random.js';
import { ScratchRelation } from './write-stress-scratch.js';
import { countAt, hasFailedSync, REPORT_EVERY, STRESS_BLOCKS, STRESS_LANES } from './write-stress.js';

export interface WriteStressInput {
  readonly handle: InstanceHandle;
  readonly dataDirectory: string;
  readonly relation: number;
  /** Of this thread alone. */
  readonly scratch: number;
  readonly lane: number;
  readonly seed: number;
  /** What this thread knows to be changed, by block and lane. */
  readonly counts: Int32Array;
}

const input = workerData as WriteStressInput;
const { handle, dataDirectory, relation: number, lane, seed, counts } = input;
const random = seededRandom(seed);
const backend = await attachInstance(handle);
const relation = backend.openRelation(dataDirectory, { database: 5, relation: number });
const own = backend.openRelation(dataDirectory, { database: 5, relation: input.scratch });
const scratch = new ScratchRelation(backend, own, random);
let stopped = false;
parentPort?.on('message', () => (stopped = true));

for (let change = 1; !stopped; change++) {
  const block = random.below(STRESS_BLOCKS);
  const buffer = await backend.readBlock(relation, block);
  await buffer.change((page) => {
    const view = new DataView(page.buffer, page.byteOffset);
    view.setInt32(countAt(lane), view.getInt32(countAt(lane), true) + 1, true);
  });
  Atomics.add(counts, block * STRESS_LANES + lane, 1);
  buffer.release();
  if (random.chance(0.1)) await scratch.step();
  if (random.chance(0.01)) await backend.writes.flushRelation(relation);
  if (random.chance(0.005)) await hasFailedSync(backend.writes.checkpointBuffers());
  if (random.chance(0.01)) {
    for (const added of await backend.writes.extendRelation(relation, 1 + random.below(3))) {
      await added.change((page) => page.set(makePage(added.block)));
      added.release();
    }
  }
  if (change % REPORT_EVERY === 0) {
    parentPort?.postMessage(change);
    await new Promise(setImmediate);
  }
}
await backend.close();
parentPort?.postMessage(scratch.report);
parentPort?.close();
