/**
 * A program that changes pages until it is killed: each change adds to counters on two pages that it belongs to, and all
 * that was acknowledged is printed. Pages are evicted all the time, and checkpoints are taken.
 */
import type { Backend } from '../src/instance/backend.js';
import { attachInstance, createInstance } from '../src/instance/instance.js';
import {
  addCounts,
  CHANGED_PAGES,
  countFrom,
  countUp,
  LANES,
  makeCounters,
  RELATION,
  type LaneCount,
} from './page-counters.js';
import { seededRandom } from './random.js';
import { say } from './say.js';
import type { CommitterOptions } from './wal-committer-main.js';

const options = JSON.parse(process.argv[2] ?? '') as CommitterOptions;
const { dataDirectory, ioMethod, syncMethod, direct } = options;
const random = seededRandom(options.seed);
const instance = await createInstance({
  ioMethod,
  sharedBuffers: '128kB',
  ioMemory: '1MB',
  wal: { dataDirectory, syncMethod, direct, segmentSize: 2 ** 20, buffers: '128kB' },
  log: () => undefined,
});
const backends = [instance.backend, await attachInstance(instance.handle)];

const setUp = instance.backend.openRelation(dataDirectory, RELATION);
if (!setUp.exists(0)) setUp.create(0);
for (let block = setUp.blockCount(0); block < CHANGED_PAGES; block++)
  for (const buffer of await instance.backend.writes.extendRelation(setUp, 1)) {
    await instance.backend.wal.change(buffer, makeCounters);
    buffer.release();
  }
const counts: LaneCount[] = [];
for (let block = 0; block < CHANGED_PAGES; block++) {
  using buffer = await instance.backend.readBlock(setUp, block);
  // A life before this one added it and did not come to fill it.
  if (buffer.page.every((byte) => byte === 0)) await instance.backend.wal.change(buffer, makeCounters);
  addCounts(buffer.page, counts);
}
counts.forEach(({ last }, lane) => {
  countFrom(lane, last);
});
await instance.backend.wal.flush();
say('ready');

async function changeFor(backend: Backend, lane: number): Promise<void> {
  const relation = backend.openRelation(dataDirectory, RELATION);
  for (;;) {
    const one = random.below(CHANGED_PAGES);
    const other = (one + 1 + random.below(CHANGED_PAGES - 1)) % CHANGED_PAGES;
    const pages = [await backend.readBlock(relation, one), await backend.readBlock(relation, other)];
    let number = 0;
    const lsn = await backend.wal.change(pages, (first, second) => {
      number = countUp(first, second, lane);
    });
    for (const page of pages) page.release();
    if (random.chance(0.3)) {
      await backend.wal.flush(lsn);
      say(`${lane} ${number}`);
    }
    if (random.chance(0.02)) await backend.wal.checkpoint();
    if (random.chance(0.02)) await backend.writes.flushRelation(relation);
  }
}

for (let lane = 0; lane < LANES; lane++) void changeFor(backends[lane % 2] as Backend, lane);
