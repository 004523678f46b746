/** Entry of an I/O worker's thread: attaches, works until the loop returns, and leaves. */
import { parentPort, workerData } from 'node:worker_threads';
import { WorkerControl } from '../aio/method/worker/control.js';
import { WorkerLoop } from '../aio/method/worker/loop.js';
import { fail } from '../base/assert.js';
import { currentThreadIdentity } from '../shmem/thread-identity.js';
import type { InstanceHandle } from './shared-state.js';
import { AttachedMemory, ThreadParts, loadModules } from './thread-parts.js';

const { handle, worker } = workerData as { handle: InstanceHandle; worker: number };

async function main(): Promise<void> {
  const modules = await loadModules(handle);
  const memory = new AttachedMemory(handle);
  const slot = memory.slots.workerSlot(worker);
  const parts = new ThreadParts(memory, slot, modules, (event) => parentPort?.postMessage({ log: event }));
  memory.header.checkFingerprint(parts.fingerprint);
  if (!memory.slots.tryClaim(slot, currentThreadIdentity()))
    fail(`the slot of I/O worker ${worker} is taken`);
  const control = new WorkerControl(memory.slots, memory.plan.workers);
  control.markAlive(worker); // first, so that the creator of an instance has workers when it is told so
  parentPort?.postMessage({ online: worker });
  new WorkerLoop(parts.thread, control, worker).run();
  control.markGone(worker);
  control.wakeAll(); // whoever enqueued for this worker may find another
  parts.reopens.close();
}

await main();
