/** The relation that the benchmarks read: a table of a PostgreSQL cluster, by its files. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { BLOCK_SIZE } from '../../src/base/settings.js';
import { SEGMENT_BLOCKS, segmentPath } from '../../src/smgr/relation.js';

export interface BenchTable {
  readonly dataDirectory: string;
  readonly database: number;
  /** File number. */
  readonly relation: number;
  readonly blocks: number;
  /** Segment files, in order. */
  readonly files: readonly string[];
}

/** Size of every segment but the last. */
export const RELATION_SEGMENT_BYTES: number = SEGMENT_BLOCKS * BLOCK_SIZE;

/** The table at `base/DATABASE/RELATION`. */
export function tableAt(dataDirectory: string, database: number, relation: number): BenchTable {
  const files: string[] = [];
  let blocks = 0;
  for (let segment = 0; blocks === segment * SEGMENT_BLOCKS; segment++) {
    const file = segmentPath(join(dataDirectory, 'base', String(database), String(relation)), segment);
    if (!existsSync(file)) break;
    files.push(file);
    blocks += Math.floor(statSync(file).size / BLOCK_SIZE);
  }
  return { dataDirectory, database, relation, blocks, files };
}

/** The largest table of a cluster: what a benchmark should read. */
export function largestTable(dataDirectory: string): BenchTable {
  let largest: BenchTable | null = null;
  const base = join(dataDirectory, 'base');
  for (const database of readdirSync(base).filter(isNumber)) {
    for (const relation of readdirSync(join(base, database)).filter(isNumber)) {
      const table = tableAt(dataDirectory, Number(database), Number(relation));
      if (table.blocks > (largest?.blocks ?? 0)) largest = table;
    }
  }
  if (largest === null) throw new Error(`"${base}" holds no table`);
  return largest;
}

function isNumber(name: string): boolean {
  return /^\d+$/.test(name);
}

export function tableBytes(table: BenchTable): number {
  return table.blocks * BLOCK_SIZE;
}

/**
 * Bytes of the buffer pool that the table is streamed through: so much smaller that every block is a miss, and large
 * enough for a whole window of reads.
 */
export function streamPoolBytes(table: BenchTable): number {
  const share = Math.ceil(table.blocks / 8) * BLOCK_SIZE;
  return Math.min(256 * 1024 ** 2, Math.max(share, 128 * BLOCK_SIZE));
}
