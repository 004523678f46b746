/** Thread of addon-threads.test.ts: closes a ring, which takes until the kernel is done with what it carries. */
import { parentPort, workerData } from 'node:worker_threads';
import { theAddon } from '../../testing/native-ring.js';

parentPort?.postMessage('closing');
theAddon().ringClose(workerData as number);
