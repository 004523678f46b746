/** Counts and sizes by resource manager, or by operation, as `pg_waldump --stats` has them. */
import Table from 'cli-table3';
import type { WalRecord } from '../../wal/record.js';
import { resourceManagerName } from '../../wal/resource-managers.js';
import { operationName } from './operations.js';

export interface Counts {
  /** `Heap`, or `Heap/INSERT`. */
  readonly name: string;
  count: number;
  /** Bytes of records without full-page images, and of the images. */
  recordBytes: number;
  imageBytes: number;
}

export class Statistics {
  readonly #byOperation: boolean;
  readonly #majorVersion: () => number;
  /** By resource manager, and by operation within. */
  readonly #counts: (Counts | undefined)[] = [];

  constructor(byOperation: boolean, majorVersion: () => number) {
    this.#byOperation = byOperation;
    this.#majorVersion = majorVersion;
  }

  add(record: WalRecord): void {
    const index = record.resourceManager * 16 + (this.#byOperation ? record.operation >>> 4 : 0);
    const counts = (this.#counts[index] ??= {
      name: this.#name(record),
      count: 0,
      recordBytes: 0,
      imageBytes: 0,
    });
    counts.count++;
    counts.recordBytes += record.totalLength - record.imageBytes;
    counts.imageBytes += record.imageBytes;
  }

  #name(record: WalRecord): string {
    const manager = resourceManagerName(record.resourceManager);
    return this.#byOperation ? `${manager}/${operationLabel(record, this.#majorVersion())}` : manager;
  }

  /** In the order of the resource managers' numbers. */
  rows(): Counts[] {
    const byName = new Map<string, Counts>();
    // Operations that differ in bits beside the name, such as commits with more or less information, are one.
    this.#counts.forEach((counts) => {
      if (counts === undefined) return;
      const sum = byName.get(counts.name);
      if (sum === undefined) byName.set(counts.name, { ...counts });
      else addTo(sum, counts);
    });
    return [...byName.values()];
  }

  total(): Counts {
    const total = { name: 'Total', count: 0, recordBytes: 0, imageBytes: 0 };
    for (const counts of this.rows()) addTo(total, counts);
    return total;
  }
}

export function operationLabel(record: WalRecord, majorVersion: number): string {
  return (
    operationName(record, majorVersion) ??
    `info 0x${record.operation.toString(16).toUpperCase().padStart(2, '0')}`
  );
}

function addTo(sum: Counts, counts: Counts): void {
  sum.count += counts.count;
  sum.recordBytes += counts.recordBytes;
  sum.imageBytes += counts.imageBytes;
}

const RIGHT = ['N', '(%)', 'Record size', '(%)', 'FPI size', '(%)', 'Combined size', '(%)'];

/** A percentage is of its column; in the last line it says how the combined size divides. */
export function statisticsTable(statistics: Statistics): string {
  const total = statistics.total();
  const sum = total.recordBytes + total.imageBytes;
  const table = new Table({
    head: ['Type', ...RIGHT],
    colAligns: ['left', ...RIGHT.map(() => 'right' as const)],
    style: { head: [], border: [], compact: true },
  });
  for (const { name, count, recordBytes, imageBytes } of statistics.rows()) {
    const combined = recordBytes + imageBytes;
    table.push([
      name,
      ...cells(count, total.count),
      ...cells(recordBytes, total.recordBytes),
      ...cells(imageBytes, total.imageBytes),
      ...cells(combined, sum),
    ]);
  }
  const { count, recordBytes, imageBytes } = total;
  table.push([
    'Total',
    String(count),
    '',
    ...cells(recordBytes, sum),
    ...cells(imageBytes, sum),
    ...cells(sum, sum),
  ]);
  return table.toString();
}

function cells(part: number, whole: number): [string, string] {
  return [String(part), whole === 0 ? '0.00' : ((100 * part) / whole).toFixed(2)];
}
