/** A thread of testing/storm.ts: several backends, all reading, until it ends or is ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { InstanceCrashedError } from '../src/base/errors.js';
import type { Backend } from '../src/instance/backend.js';
import { attachInstance } from '../src/instance/instance.js';
import { seededRandom } from './random.js';
import { BACKENDS_EACH, REST_MILLIS, type StormReport, type StormThreadInput } from './storm.js';
import { isExpected, StressWork } from './stress-work.js';

const input = workerData as StormThreadInput;
const random = seededRandom(input.seed);

function report(message: StormReport): void {
  parentPort?.postMessage(message);
}

function goesOn(done: number): boolean {
  if (input.ending === 'terminate') return true;
  return input.ending === 'never' ? Atomics.load(input.stop, 0) === 0 : done < input.operations;
}

async function read(backend: Backend): Promise<void> {
  const work = new StressWork(backend, seededRandom(random.bits()), input);
  for (let done = 0; goesOn(done); done++) {
    await work.step().catch((error: unknown) => {
      if (!isExpected(error)) throw error;
    });
    // eslint-disable-next-line no-restricted-globals -- nothing is waited for: a survivor leaves the processor to the others
    if (input.ending === 'never') await new Promise((resolve) => setTimeout(resolve, REST_MILLIS));
    if (work.blocks < 100) continue;
    report({ blocks: work.blocks });
    work.blocks = 0;
  }
}

try {
  const backends: Backend[] = [];
  while (backends.length < BACKENDS_EACH) backends.push(await attachInstance(input.handle));
  report({ attached: true });
  const started = backends.map(read);
  const reading = Promise.all(started);
  reading.catch(() => undefined);
  if (input.ending === 'exit' || input.ending === 'return') {
    await Promise.race(started); // the others are in the midst of something
    if (input.ending === 'exit') process.exit(0);
  } else {
    await reading;
  }
  for (const backend of input.ending === 'never' ? backends : []) await backend.close();
} catch (error) {
  if (!(error instanceof InstanceCrashedError)) report({ failed: (error as Error).stack ?? String(error) });
}
