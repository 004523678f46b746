/** Streams over a table whose blocks are not in the pool. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import type { InstanceSettings } from '../../src/base/settings.js';
import { createInstance, type Backend, type NextBlock } from '../../src/index.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { drop } from '../data/page-cache.js';
import type { BenchTable } from '../data/table.js';
import type { Measurement } from '../measurement.js';
import { measureOnce } from './measure.js';
import { completeAtOnce } from './no-io.js';
import { blockSource, scanAwaiting, scanBlocking, type BlockSource, type ScanOrder } from './scan.js';
import { ScanTeam } from './scan-team.js';
import { openTable, PageCheck } from './table-instance.js';

export interface StreamSpec {
  readonly how: 'blocking' | 'for await' | 'threads' | 'no I/O';
  readonly table: BenchTable;
  readonly settings: InstanceSettings;
  /** For `threads`: so many backends scan a part each. */
  readonly backends?: number;
  /** Blocks in random order, and this many, instead of the whole table. */
  readonly randomBlocks?: number;
  /** Read from storage: the files leave the page cache before the one scan that is measured. */
  readonly cold: boolean;
  readonly seconds: number;
}

/** Blocks that are read first to warm up the code where the scan itself must be cold; they are not read again. */
const WARM_UP_BLOCKS = 4096;

/** Scans the places from `from` up to `end` of the order. */
type Scan = (from: number, end: number) => number | Promise<number>;

export async function stream(spec: StreamSpec): Promise<Measurement> {
  const instance = await createInstance(spec.settings);
  const { backend } = instance;
  const relation = openTable(backend, spec.table);
  const order: ScanOrder = { random: spec.randomBlocks !== undefined, blocks: spec.table.blocks };
  const end = Math.min(spec.randomBlocks ?? order.blocks, order.blocks);
  const warmUp = spec.cold ? Math.min(WARM_UP_BLOCKS, end >> 3) : end;
  const source = blockSource(order);
  const checked = await checkScan(backend, relation, spec.table, source(0, warmUp));
  const team =
    spec.how === 'threads'
      ? new ScanTeam(spec.backends ?? 1, { handle: instance.handle, table: spec.table, order })
      : null;
  const scan = scanOf(spec, backend, relation, source, team);
  let measurement: Measurement;
  if (spec.cold) {
    drop(spec.table.files);
    measurement = await measureOnce(checked, () => scan(warmUp, end));
  } else {
    await repeat(() => scan(0, end), spec.seconds);
    measurement = await measureOnce(checked, () => repeat(() => scan(0, end), spec.seconds));
  }
  await team?.close();
  await instance.close();
  return measurement;
}

function scanOf(
  spec: StreamSpec,
  backend: Backend,
  relation: SmgrRelation,
  source: BlockSource,
  team: ScanTeam | null,
): Scan {
  switch (spec.how) {
    case 'threads':
      return async (from, end) => team?.scan(from, end) ?? 0;
    case 'for await':
      return (from, end) => scanAwaiting(backend, relation, source(from, end));
    case 'no I/O':
      completeAtOnce(backend);
      return (from, end) => scanBlocking(backend, relation, source(from, end), { noChecksums: true });
    case 'blocking':
      return (from, end) => scanBlocking(backend, relation, source(from, end));
  }
}

async function repeat(scan: () => number | Promise<number>, seconds: number): Promise<number> {
  const until = performance.now() + seconds * 1000;
  let ops = 0;
  do ops += await scan();
  while (performance.now() < until);
  return ops;
}

/** A first scan that looks at what it gets, and warms up the code. */
async function checkScan(
  backend: Backend,
  relation: SmgrRelation,
  table: BenchTable,
  nextBlock: NextBlock,
): Promise<number> {
  const check = new PageCheck(table);
  for await (const buffer of backend.readStream(relation, { nextBlock }))
    check.look(buffer.block, buffer.page);
  return check.close();
}

/** What a Node program has today: the files as chunks of 128 kB, unchecked, in its own memory. */
export async function fsStream(spec: StreamSpec): Promise<Measurement> {
  const scan = async (): Promise<number> => {
    let bytes = 0;
    for (const file of spec.table.files) {
      for await (const chunk of createReadStream(file, { highWaterMark: 131_072 }))
        bytes += (chunk as Buffer).length;
    }
    assert.equal(bytes, spec.table.blocks * 8192);
    return bytes / 8192;
  };
  await scan();
  return measureOnce(0, () => repeat(scan, spec.seconds));
}
