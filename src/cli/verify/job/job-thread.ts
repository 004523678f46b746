/**
 * Entry of a job's thread: loads its modules while the instance is still being made, attaches when it is told to,
 * works until it is told to finish, and leaves.
 */
import { parentPort, receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import type { Backend } from '../../../instance/backend.js';
import { attachInstance } from '../../../instance/instance.js';
import { Job } from './job.js';
import type { FromJob, JobData, ToJob } from './protocol.js';
import { RunControl } from './run-control.js';

const port = parentPort as MessagePort;
const tell = (message: FromJob): void => port.postMessage(message);
const poll = (): ToJob | null => (receiveMessageOnPort(port)?.message as ToJob | undefined) ?? null;

port.once('message', (first: ToJob) => {
  if ('start' in first) void start(first.start);
  else leave(null, 0);
});

async function start(data: JobData): Promise<void> {
  const backend = await attachInstance(data.handle);
  const job = new Job(backend, data, new RunControl(data.control), { tell, poll });
  // Messages that came meanwhile are kept by the port until somebody listens.
  port.on('message', (message: ToJob) => {
    if (job.handle(message)) leave(backend, job.undecided);
  });
}

function leave(backend: Backend | null, undecided: number): void {
  backend?.closeBlocking();
  tell({ end: { waits: backend?.aio.waits.sleeps ?? 0, undecided } });
  port.close();
}
