/** A thread that leaves the process's instance, properly, in the middle of a checkpoint; see test/instance/wal-hazards.test.ts. */
import { workerData } from 'node:worker_threads';
import { attachInstance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';

const backend = await attachInstance(workerData as InstanceHandle);
void backend.wal.checkpoint();
process.exit(0);
