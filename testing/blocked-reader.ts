/**
 * A backend in a thread of its own that blocks until an I/O of somebody else's is over. It never looks again
 * by itself, so that a wake-up that is lost is a test that hangs, not one that is slow.
 */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import type { WaitReference } from '../src/aio/handle.js';
import { attachInstance } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';

const FOREVER = 2 ** 30;

interface Input {
  blockedReader: InstanceHandle;
  sliceMillis: number;
}

interface Report {
  slot?: number;
  /** Number of the wait that is over. */
  over?: number;
  /** Message of what it threw. */
  failed?: string;
}

export class BlockedReader {
  readonly slot: number;
  readonly #thread: Worker;
  readonly #reports: Report[] = [];
  #waits = 0;
  #wake: () => void = () => undefined;

  /** One that is to be terminated needs slices: nothing ends a thread that sleeps in the kernel. */
  static async start(handle: InstanceHandle, sliceMillis: number = FOREVER): Promise<BlockedReader> {
    const input: Input = { blockedReader: handle, sliceMillis };
    const thread = new Worker(new URL(import.meta.url), { workerData: input });
    const slot = await new Promise<number>((resolve, reject) => {
      thread.once('message', (report: Report) => resolve(report.slot ?? -1));
      thread.once('error', reject);
    });
    return new BlockedReader(thread, slot);
  }

  private constructor(thread: Worker, slot: number) {
    this.#thread = thread;
    this.slot = slot;
    thread.on('message', (report: Report) => {
      this.#reports.push(report);
      this.#wake();
    });
  }

  /** Blocks until the I/O is over; resolves then. */
  async waitFor(reference: WaitReference): Promise<void> {
    const wait = ++this.#waits;
    this.#thread.postMessage({ wait, ...reference });
    for (;;) {
      const failed = this.#reports.find((report) => report.failed !== undefined);
      if (failed !== undefined) throw new Error(failed.failed);
      if (this.#reports.some(({ over }) => over === wait)) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Ends the thread wherever it is. */
  async terminate(): Promise<void> {
    await this.#thread.terminate();
  }

  /** Closes its backend. It must not be waiting. */
  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#thread.once('exit', resolve));
    this.#thread.postMessage({ close: true });
    await ended;
  }
}

async function main({ blockedReader, sliceMillis }: Input): Promise<void> {
  const backend = await attachInstance(blockedReader);
  backend.aio.waits.sliceMillis = sliceMillis;
  const send = (report: Report): void => parentPort?.postMessage(report);
  send({ slot: backend.number });
  parentPort?.on('message', (message: { close?: true; wait: number } & WaitReference) => {
    if (message.close === true) {
      backend.closeBlocking();
      parentPort?.close();
      return;
    }
    try {
      backend.aio.waitForBlocking(message.index, message.generation);
      send({ over: message.wait });
    } catch (error) {
      send({ failed: String(error) });
    }
  });
}

const input = workerData as Input | null;
if (input !== null && 'blockedReader' in input) await main(input);
