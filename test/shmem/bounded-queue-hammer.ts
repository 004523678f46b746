/** One thread of the queue's torture: puts its numbers in, or takes whatever comes and marks it as seen. */
import { parentPort, workerData } from 'node:worker_threads';
import { BoundedQueue, type QueueRegion } from '../../src/shmem/bounded-queue.js';
import { Shared, type SharedHandle } from '../../testing/shared.js';

export interface QueueHammerInput {
  handle: SharedHandle<{ queue: QueueRegion; taken: number; seen: number }>;
  slot: number;
  role: 'produce' | 'consume';
  count: number;
  total: number;
}

export interface QueueHammerOutput {
  /** Pairs whose halves do not belong together, and numbers out of their producer's order. */
  wrong: number;
}

const { handle, slot, role, count, total } = workerData as QueueHammerInput;
const { slots, words, regions } = new Shared(handle);
const queue = new BoundedQueue(slots, regions.queue);

const halves = (item: number): number => Math.imul(item, 0x9e37_79b1);

function produce(): void {
  for (let item = slot * count; item < (slot + 1) * count; item++) {
    while (!queue.tryEnqueue(slot, item, halves(item)));
  }
}

function consume(): number {
  let wrong = 0;
  const last = new Map<number, number>();
  while (words.load(regions.taken) < total) {
    if (!queue.tryDequeue()) continue;
    const item = queue.first;
    words.add(regions.taken, 1);
    words.add(regions.seen + item, 1);
    const producer = Math.floor(item / count);
    if (queue.second !== halves(item) || item <= (last.get(producer) ?? -1)) wrong++;
    last.set(producer, item);
  }
  return wrong;
}

const output: QueueHammerOutput = { wrong: 0 };
if (role === 'produce') produce();
else output.wrong = consume();
parentPort?.postMessage(output);
