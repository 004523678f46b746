/** Blocks that the pool holds already. */
import type { HitsSpec } from '../jobs/hits.js';
import { runJob } from '../jobs/job.js';
import type { Bench, Case, Plan, Scenario } from '../scenario.js';

/** 128 MiB: larger than the processor's caches. */
const POOL_BLOCKS = 16_384;
const HOT_BLOCKS = 64;

function hitCase(bench: Bench, name: string, how: HitsSpec['how'], blocks: number): Case {
  const { table, seconds } = bench;
  return { name, pageCache: 'any', measure: () => runJob('hits', { how, table, blocks, seconds }) };
}

export const hits: Scenario = {
  name: 'hits',
  about: 'pin a cached block and unpin it, in random order, one thread',
  unit: 'hits',
  plan: (bench): Plan => ({
    cases: [
      hitCase(bench, 'random hit', 'random', POOL_BLOCKS),
      hitCase(bench, 'hot hit (64 buffers)', 'random', HOT_BLOCKS),
    ],
    targets: [
      { text: '60 ns a random hit', of: ['random hit'], atLeast: 1e9 / 60 },
      { text: '25 ns a hot hit', of: ['hot hit (64 buffers)'], atLeast: 1e9 / 25 },
    ],
  }),
};

export const hitScan: Scenario = {
  name: 'hit-scan',
  about: 'a read stream over cached blocks',
  unit: 'blocks',
  plan: (bench): Plan => ({
    cases: [
      hitCase(bench, 'blocking', 'stream', POOL_BLOCKS),
      hitCase(bench, 'for await', 'for await', POOL_BLOCKS),
    ],
    targets: [
      { text: '8 M blocks/s', of: ['blocking'], atLeast: 8e6 },
      { text: '3 M blocks/s with for await', of: ['for await'], atLeast: 3e6 },
    ],
  }),
};
