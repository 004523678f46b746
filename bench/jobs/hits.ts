/** Hits: blocks that the pool holds already. */
import assert from 'node:assert/strict';
import { createInstance, END_OF_STREAM, type Backend } from '../../src/index.js';
import { Fork } from '../../src/smgr/relation.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { seededRandom } from '../../testing/random.js';
import type { BenchTable } from '../data/table.js';
import type { Measurement } from '../measurement.js';
import { measureWork, type WorkUntil } from './measure.js';
import { openTable, PageCheck } from './table-instance.js';

export interface HitsSpec {
  /** Pin and unpin random blocks, or stream over all of them. */
  readonly how: 'random' | 'stream' | 'for await';
  readonly table: BenchTable;
  /** The first so many blocks are in the pool. */
  readonly blocks: number;
  readonly seconds: number;
}

const ORDER_LENGTH = 65_536;

export async function hits(spec: HitsSpec): Promise<Measurement> {
  const blocks = Math.min(spec.blocks, spec.table.blocks);
  const instance = await createInstance({
    ioMethod: 'sync',
    sharedBuffers: `${Math.max(blocks * 8 + 8192, 65_536)}kB`,
  });
  const { backend } = instance;
  const relation = openTable(backend, spec.table);
  const checked = await fillPool(backend, relation, spec.table, blocks);
  const misses = backend.buffers.misses;
  const work = {
    random: () => randomHits(backend, relation, blocks),
    stream: () => streamedHits(backend, relation, blocks),
    'for await': () => iteratedHits(backend, relation, blocks),
  }[spec.how]();
  const measurement = await measureWork(spec.seconds, checked, work);
  assert.equal(backend.buffers.misses, misses, 'the pool did not keep all blocks');
  await instance.close();
  return measurement;
}

/** Blocks 0 to `end`, in order. */
function blocksUpTo(end: number): () => number {
  let block = 0;
  return () => (block < end ? block++ : END_OF_STREAM);
}

async function fillPool(
  backend: Backend,
  relation: SmgrRelation,
  table: BenchTable,
  blocks: number,
): Promise<number> {
  const check = new PageCheck(table);
  let block = 0;
  for await (const buffer of backend.readStream(relation, { nextBlock: blocksUpTo(blocks) }))
    check.look(block++, buffer.page);
  assert.equal(block, blocks);
  return check.close();
}

function randomHits(backend: Backend, relation: SmgrRelation, blocks: number): WorkUntil {
  const { pool } = backend.buffers;
  const { tag } = backend.buffers.reader(relation, Fork.MAIN);
  const scope = backend.rootScope;
  const random = seededRandom(1);
  const order = Int32Array.from({ length: ORDER_LENGTH }, () => random.below(blocks));
  return (until) => {
    let ops = 0;
    do {
      for (let at = 0; at < ORDER_LENGTH; at++) pool.unpin(pool.lookup(tag, order[at]!, scope), scope);
      ops += ORDER_LENGTH;
    } while (performance.now() < until);
    return ops;
  };
}

function streamedHits(backend: Backend, relation: SmgrRelation, blocks: number): WorkUntil {
  const { pool } = backend.buffers;
  const scope = backend.rootScope;
  return (until) => {
    let ops = 0;
    do {
      const nextBlock = blocksUpTo(blocks);
      const stream = backend.rawReadStream(relation, nextBlock, { nextBlock });
      for (;;) {
        const buffer = stream.next() as number; // a hit never waits
        if (buffer === END_OF_STREAM) break;
        pool.unpin(buffer, scope);
        ops++;
      }
    } while (performance.now() < until);
    return ops;
  };
}

function iteratedHits(backend: Backend, relation: SmgrRelation, blocks: number): WorkUntil {
  return async (until) => {
    let ops = 0;
    do {
      for await (const _ of backend.readStream(relation, { nextBlock: blocksUpTo(blocks) })) ops++;
    } while (performance.now() < until);
    return ops;
  };
}
