/** A backend in a thread of its own that scans when it is told to. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { attachInstance, type InstanceHandle } from '../../src/index.js';
import type { BenchTable } from '../data/table.js';
import { blockSource, scanBlocking, type ScanOrder } from './scan.js';
import { openTable } from './table-instance.js';

export interface ScanThreadData {
  readonly handle: InstanceHandle;
  readonly table: BenchTable;
  readonly order: ScanOrder;
}

/** What the thread is sent: places in the order to scan, or null to end. It answers with the number of blocks. */
export type ScanCommand = { readonly from: number; readonly end: number } | null;

const { handle, table, order } = workerData as ScanThreadData;
const port = parentPort;
assert(port !== null);
const backend = await attachInstance(handle);
const relation = openTable(backend, table);
const source = blockSource(order);
port.on('message', (command: ScanCommand) => {
  if (command !== null) {
    port.postMessage(scanBlocking(backend, relation, source(command.from, command.end)));
    return;
  }
  backend.closeBlocking();
  port.close();
});
