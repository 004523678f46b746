/** A backend in a thread of its own, whose committers commit when it is told to. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { attachInstance, type InstanceHandle } from '../../src/index.js';

export interface CommitThreadData {
  readonly handle: InstanceHandle;
  /** At once, in this thread. One blocks; more await. */
  readonly committers: number;
  /** Bytes of a message. */
  readonly payload: number;
}

/** What the thread is sent: to commit for so long, or null to end. It answers with the number of commits. */
export type CommitCommand = { readonly seconds: number } | null;

const { handle, committers, payload } = workerData as CommitThreadData;
const port = parentPort;
assert(port !== null);
const backend = await attachInstance(handle);
const { wal } = backend;
const message = new Uint8Array(payload).fill(0x61);

function commitBlocking(until: number): number {
  let commits = 0;
  for (; performance.now() < until; commits++) wal.commitBlocking('bench', message);
  return commits;
}

async function commit(until: number): Promise<number> {
  let commits = 0;
  for (; performance.now() < until; commits++) await wal.commit('bench', message);
  return commits;
}

port.on('message', (command: CommitCommand) => {
  if (command === null) {
    backend.closeBlocking();
    port.close();
    return;
  }
  const until = performance.now() + command.seconds * 1000;
  if (committers === 1) {
    port.postMessage(commitBlocking(until));
    return;
  }
  const all = Array.from({ length: committers }, () => commit(until));
  void Promise.all(all).then((each) => {
    port.postMessage(each.reduce((sum, commits) => sum + commits, 0));
  });
});
