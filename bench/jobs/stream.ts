/** Streams over a whole table, most or all of whose blocks are not in the pool. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { InstanceSettings } from '../../src/base/settings.js';
import { createInstance, END_OF_STREAM, type Backend, type Instance } from '../../src/index.js';
import { listedBlocks, sequentialBlocks } from '../../src/read-stream/block-sources.js';
import { PENDING } from '../../src/shmem/wait.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { seededRandom } from '../../testing/random.js';
import { drop } from '../data/page-cache.js';
import type { BenchTable } from '../data/table.js';
import type { Measurement } from '../measurement.js';
import { completeAtOnce } from './no-io.js';
import { measureOnce } from './measure.js';
import type { ScanRange } from './scan-thread.js';
import { openTable, PageCheck } from './table-instance.js';

export interface StreamSpec {
  readonly how: 'blocking' | 'for await' | 'no I/O';
  readonly table: BenchTable;
  readonly settings: InstanceSettings;
  /** Threads that scan a part each. Default 1: the main thread scans. */
  readonly backends?: number;
  /** The blocks in random order, this many of them, instead of the whole table. */
  readonly randomBlocks?: number;
  /** The files leave the page cache before the measured scan, and there is only one. */
  readonly cold: boolean;
  readonly seconds: number;
}

/** Blocks that are read first to warm up the code, where the scan itself must be cold. */
const WARM_UP_BLOCKS = 4096;

/** Reads the table once and returns the number of blocks. */
type Scan = () => number | Promise<number>;

export async function stream(spec: StreamSpec): Promise<Measurement> {
  const instance = await createInstance(spec.settings);
  const relation = openTable(instance.backend, spec.table);
  const checked = await checkStream(instance.backend, relation, spec);
  if (spec.how === 'no I/O') completeAtOnce(instance.backend);
  const scanning = await prepareScan(instance, relation, spec);
  if (spec.cold) drop(spec.table.files);
  else await scanning.scan();
  const measurement = await measureOnce(checked, () => repeat(scanning.scan, spec.cold ? 0 : spec.seconds));
  await scanning.end();
  await instance.close();
  return measurement;
}

async function repeat(scan: Scan, seconds: number): Promise<number> {
  const until = performance.now() + seconds * 1000;
  let ops = 0;
  do ops += await scan();
  while (performance.now() < until);
  return ops;
}

/** The first scan, or the beginning of it, looks at what it gets; it fills the pool and warms up the code. */
async function checkStream(backend: Backend, relation: SmgrRelation, spec: StreamSpec): Promise<number> {
  const end = spec.cold ? Math.min(WARM_UP_BLOCKS, spec.table.blocks) : spec.table.blocks;
  if (spec.randomBlocks !== undefined) return 0; // hhh
  const check = new PageCheck(spec.table);
  let block = 0;
  for await (const buffer of backend.readStream(relation, { nextBlock: sequentialBlocks(0, end) }))
    check.look(block++, buffer.page);
  assert.equal(block, end);
  return check.close();
}
