/** One player: waits for its word to rise, then raises the other's. Counts the waits that only a time-out ended. */
import { parentPort, workerData } from 'node:worker_threads';
import { broadcast } from '../../src/shmem/condition.js';
import { WaitEvent, type Pending } from '../../src/shmem/wait.js';
import { Shared, type SharedHandle } from '../../testing/shared.js';

interface Board {
  word: number;
  condition: number;
}

export interface PingPongInput {
  handle: SharedHandle<{ ping: Board; pong: Board }>;
  player: number;
  driver: 'block' | 'until';
  rounds: number;
}

const { handle, player, driver, rounds } = workerData as PingPongInput;
const shared = new Shared(handle);
const { slots, words, regions } = shared;
const waits = shared.waits(player);
const mine = player === 0 ? regions.ping : regions.pong;
const other = player === 0 ? regions.pong : regions.ping;
let slices = 0;
waits.hooks.checkSupervised = () => {
  slices++;
};

const step = (round: number) => (): true | Pending => {
  const seen = words.load(mine.word);
  return seen >= round ? true : waits.waitFor(WaitEvent.BufferIo, mine.condition, mine.word, seen, 0, 0);
};

for (let round = 1; round <= rounds; round++) {
  if (player === 1 || round > 1) {
    const wanted = player === 1 ? round : round - 1;
    if (driver === 'block') waits.block(step(wanted));
    else await waits.until(step(wanted));
  }
  words.add(other.word, 1);
  broadcast(slots, other.condition);
}
parentPort?.postMessage(slices);
