/** Entry of a job's thread: attaches to the instance, works until it is told to finish, and leaves. */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { attachInstance } from '../../../instance/instance.js';
import { Job } from './job.js';
import type { FromJob, JobData, ToJob } from './protocol.js';
import { RunControl } from './run-control.js';

const data = workerData as JobData;
const port = parentPort as MessagePort;

const tell = (message: FromJob): void => port.postMessage(message);
const poll = (): ToJob | null => (receiveMessageOnPort(port)?.message as ToJob | undefined) ?? null;

const backend = await attachInstance(data.handle);
const job = new Job(backend, data, new RunControl(data.control), { tell, poll });

port.on('message', (message: ToJob) => {
  if (!job.handle(message)) return;
  backend.closeBlocking();
  tell({ end: { waits: backend.aio.waits.sleeps, undecided: job.undecided } });
  port.close();
});
