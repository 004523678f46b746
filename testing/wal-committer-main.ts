/**
 * A program that commits until it is killed: messages whose contents follow from their names. It prints a line for each
 * that was acknowledged, and now and then takes a checkpoint, or appends what it does not wait for.
 */
import type { IoMethodName, WalSyncMethod } from '../src/base/settings.js';
import type { BackendWal } from '../src/instance/backend-wal.js';
import { attachInstance, createInstance } from '../src/instance/instance.js';
import { seededRandom } from './random.js';
import { say } from './say.js';
import { messageOf } from './wal-messages.js';

export interface CommitterOptions {
  readonly dataDirectory: string;
  readonly ioMethod: IoMethodName;
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
  readonly seed: number;
  /** Of this life of the program. */
  readonly run: number;
}

const LANES = 3;

const options = JSON.parse(process.argv[2] ?? '') as CommitterOptions;
const { dataDirectory, ioMethod, syncMethod, direct, run } = options;
const random = seededRandom(options.seed);
const instance = await createInstance({
  ioMethod,
  wal: { dataDirectory, syncMethod, direct, segmentSize: 2 ** 20, buffers: '128kB', keepSize: 'all' },
  log: () => undefined,
});
const other = await attachInstance(instance.handle);

async function commitFor(wal: BackendWal, lane: number): Promise<void> {
  for (let number = 0; ; number++) {
    const { prefix, payload } = messageOf(run, lane, number, random.below(random.chance(0.1) ? 40_000 : 900));
    if (random.chance(0.1)) {
      await wal.append(prefix, payload);
      continue;
    }
    await wal.commit(prefix, payload);
    say(prefix);
    if (random.chance(0.03)) await wal.checkpoint();
  }
}

for (let lane = 0; lane < LANES; lane++) {
  void commitFor(instance.backend.wal, lane);
  void commitFor(other.wal, LANES + lane);
}
