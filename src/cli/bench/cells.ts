/** What is measured: each cell is one way of doing I/O, for a short time. */
import type { IoMethodName } from '../../base/settings.js';

/** `cached`: the page cache has it all; `cold`: it has nothing of it when the cell begins; `direct`: it is not asked. */
export type Access = 'cached' | 'cold' | 'direct';
/** `commit`: a write of one block and an fdatasync, one after the other. */
export type Operation = 'read' | 'write' | 'commit';
export type Pattern = 'random' | 'sequential';

export interface Cell {
  readonly operation: Operation;
  readonly pattern: Pattern;
  readonly access: Access;
  readonly method: IoMethodName;
  /** I/Os in flight. */
  readonly depth: number;
  /** Bytes of each. */
  readonly size: number;
}

export interface Latencies {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
}

export interface CellResult extends Cell {
  readonly ops: number;
  readonly seconds: number;
  readonly opsPerSecond: number;
  readonly bytesPerSecond: number;
  /** As the program sees them, from its call to its promise, in microseconds. */
  readonly micros: Latencies;
  /** Of one core, of all threads of the process; null where it is not known. */
  readonly cpu: number | null;
}

export interface CellChoice {
  readonly methods: readonly IoMethodName[];
  readonly depths: readonly number[];
  readonly sizes: readonly number[];
  readonly accesses: readonly Access[];
  readonly pattern: Pattern;
  readonly write: boolean;
}

/** In the order in which they are measured: what is compared stands side by side, so that a machine's moods hit both. */
export function cellsOf({ methods, depths, sizes, accesses, pattern, write }: CellChoice): Cell[] {
  const cells: Cell[] = [];
  const add = (operation: Operation, access: Access, size: number, allDepths: readonly number[]): void => {
    for (const depth of allDepths)
      for (const method of methods) {
        if (method === 'sync' && depth > 1) continue; // it has one at a time
        cells.push({ operation, pattern, access, method, depth, size });
      }
  };
  for (const access of accesses) for (const size of sizes) add('read', access, size, depths);
  if (!write) return cells;
  const size = Math.min(...sizes);
  add('write', accesses.includes('direct') ? 'direct' : 'cached', size, depths);
  add('commit', 'cached', size, [1]);
  return cells;
}

export function accessName(access: Access): string {
  return { cached: 'cached', cold: 'cold, through the page cache', direct: 'direct (O_DIRECT)' }[access];
}

/** From samples in microseconds, which it sorts. */
export function latenciesOf(samples: Float64Array): Latencies {
  samples.sort();
  const at = (share: number): number =>
    samples[Math.min(samples.length - 1, Math.floor(samples.length * share))] ?? 0;
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: samples.at(-1) ?? 0 };
}
