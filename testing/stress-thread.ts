/** One backend of testing/stress.ts: does what its seed says, and checks every page that it is given. */
import { parentPort, workerData } from 'node:worker_threads';
import { InstanceCrashedError } from '../src/base/errors.js';
import { attachInstance } from '../src/instance/instance.js';
import { seededRandom } from './random.js';
import type { StressThreadInput, StressThreadReport } from './stress.js';
import { isDoubleDeath, StressWork } from './stress-work.js';

const input = workerData as StressThreadInput;

function report(message: StressThreadReport): void {
  parentPort?.postMessage(message);
}

async function main(): Promise<void> {
  const backend = await attachInstance(input.handle);
  const work = new StressWork(backend, seededRandom(input.seed), input);
  try {
    for (let done = 1; done <= input.operations; done++) {
      await work.step().catch((error: unknown) => {
        if (!isDoubleDeath(error)) throw error;
      });
      if (done % 10 !== 0) continue;
      report({ done: { blocks: work.blocks, operations: done } });
      work.blocks = 0;
    }
    const { buffersPinned } = backend.buffers.pool.pins;
    if (buffersPinned > 0) report({ failed: `${buffersPinned} buffers are still pinned` });
    await backend.close();
  } catch (error) {
    if (error instanceof InstanceCrashedError) report({ crashed: error.message });
    else report({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    await backend.close().catch(() => undefined);
  }
}

await main();
