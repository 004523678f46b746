/** A backend in a thread of its own that submits a read and then computes, without a call or a pause, until told. */
import { writeFileSync } from 'node:fs';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import type { WaitReference } from '../src/aio/handle.js';
import { attachInstance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { PipeReads } from './pipe-reads.js';
import { untilTrue } from './turns.js';

interface Input {
  busyOwner: InstanceHandle;
  directory: string;
  flag: Int32Array;
}

interface Submitted {
  reference: WaitReference;
  /** Writing into it lets the kernel finish the read. */
  pipe: string;
}

export class BusyOwner {
  readonly reference: WaitReference;
  readonly #pipe: string;
  readonly #thread: Worker;
  readonly #flag: Int32Array;

  static async start(handle: InstanceHandle, directory: string): Promise<BusyOwner> {
    const flag = new Int32Array(new SharedArrayBuffer(8));
    const input: Input = { busyOwner: handle, directory, flag };
    const thread = new Worker(new URL(import.meta.url), { workerData: input });
    const submitted = await new Promise<Submitted>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
    });
    await untilTrue(() => Atomics.load(flag, 1) > 1000);
    return new BusyOwner(thread, flag, submitted);
  }

  private constructor(thread: Worker, flag: Int32Array, { reference, pipe }: Submitted) {
    this.#thread = thread;
    this.#flag = flag;
    this.reference = reference;
    this.#pipe = pipe;
  }

  finishRead(): void {
    writeFileSync(this.#pipe, 'xxxxxxxx');
  }

  /** Lets it stop computing, and leave. */
  async end(): Promise<void> {
    const ended = new Promise((resolve) => this.#thread.once('exit', resolve));
    Atomics.store(this.#flag, 0, 1);
    await ended;
  }
}

async function main({ busyOwner, directory, flag }: Input): Promise<void> {
  const backend = await attachInstance(busyOwner);
  const pipes = new PipeReads(backend, directory);
  const { reference, path } = pipes.start();
  parentPort?.postMessage({ reference, pipe: path } satisfies Submitted);
  while (Atomics.load(flag, 0) === 0) Atomics.add(flag, 1, 1);
  backend.closeBlocking();
  pipes.closeDescriptors();
}

const input = workerData as Input | null;
if (input !== null && 'busyOwner' in input) await main(input);
