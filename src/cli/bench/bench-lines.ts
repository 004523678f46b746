/** A measurement, in lines: a table for each kind of access and size, then what to do with it. */
import Table from 'cli-table3';
import colors from 'picocolors';
import { formatBytes, formatRate } from '../output/format.js';
import { accessName, type CellResult } from './cells.js';
import type { FioResult } from './fio.js';
import type { BenchReport } from './report.js';

export function benchLines(report: BenchReport): string[] {
  const { machine, path, isScratch, bytes, pattern } = report;
  const lines = [
    `${machine.cores} cores (${machine.processor}), ${machine.kernel}, Node ${machine.node}, ${machine.fileSystem}`,
    `${isScratch ? 'a scratch file in ' : ''}${path}, ${formatBytes(bytes)}, ${pattern}`,
  ];
  for (const { title, cells, fio } of groupsOf(report)) lines.push('', colors.bold(title), table(cells, fio));
  if (report.interrupted) lines.push('', colors.yellow('Interrupted: that is what was measured so far.'));
  for (const { what, reason } of report.skipped) lines.push(colors.dim(`not measured: ${what}: ${reason}`));
  return [...lines, '', ...recommendationLines(report)];
}

export interface Group {
  readonly title: string;
  readonly cells: readonly CellResult[];
  readonly fio: readonly FioResult[];
}

const operationNames = {
  read: 'reads',
  write: 'writes',
  commit: 'commits (a write and an fdatasync)',
} as const;

/** What may be compared, together. */
export function groupsOf({ cells, fio }: BenchReport): Group[] {
  const groups = new Map<string, { title: string; cells: CellResult[]; fio: readonly FioResult[] }>();
  for (const cell of cells) {
    const { operation, access, size } = cell;
    const title =
      operation === 'commit'
        ? `${operationNames.commit} of ${formatBytes(size)}`
        : `${operationNames[operation]} of ${formatBytes(size)}, ${accessName(access)}`;
    let group = groups.get(title);
    if (group === undefined) {
      const peers =
        operation === 'read' ? fio.filter((one) => one.access === access && one.size === size) : [];
      groups.set(title, (group = { title, cells: [], fio: peers }));
    }
    group.cells.push(cell);
  }
  return [...groups.values()];
}

export interface Row {
  readonly name: string;
  readonly depth: number;
  readonly columns: readonly string[];
}

export const HEAD = ['a second', 'bytes/s', 'p50', 'p90', 'p99', 'longest', 'CPU'] as const;

export function rowsOf(cells: readonly CellResult[], fio: readonly FioResult[]): Row[] {
  const of = (name: string, one: CellResult | FioResult, cpu: string): Row => ({
    name,
    depth: one.depth,
    columns: [
      formatCount(one.opsPerSecond),
      formatRate(one.bytesPerSecond, 1),
      ...[one.micros.p50, one.micros.p90, one.micros.p99, one.micros.max].map(formatMicros),
      cpu,
    ],
  });
  const ours = cells.map((cell) =>
    of(cell.method, cell, cell.cpu === null ? '' : `${Math.round(cell.cpu * 100)} %`),
  );
  const peers = fio.map((one) => of(`fio ${one.engine}`, one, ''));
  return [...ours, ...peers].toSorted((a, b) => a.name.localeCompare(b.name) || a.depth - b.depth);
}

function table(cells: readonly CellResult[], fio: readonly FioResult[]): string {
  const rows = new Table({
    head: ['method', 'in flight', ...HEAD],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', ...HEAD.map(() => 'right' as const)],
  });
  for (const { name, depth, columns } of rowsOf(cells, fio)) rows.push([name, depth, ...columns]);
  return rows.toString();
}

export function formatCount(number: number): string {
  return number >= 10_000 ? `${(number / 1000).toFixed(number >= 100_000 ? 0 : 1)} k` : number.toFixed(0);
}

export function formatMicros(micros: number): string {
  if (micros < 1000) return `${micros.toFixed(micros < 10 ? 1 : 0)} µs`;
  const [value, unit] = micros < 1e6 ? [micros / 1000, 'ms'] : [micros / 1e6, 's'];
  return `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`;
}

function recommendationLines({ recommended }: BenchReport): string[] {
  if (recommended === null) return ['Too little was measured to recommend anything.'];
  const settings = Object.entries(recommended.settings).map(
    ([name, value]) => `  ${name}: ${typeof value === 'string' ? `'${value}'` : String(value)},`,
  );
  return [
    colors.bold('Recommended for what this disk has to be asked for:'),
    'await createInstance({',
    ...settings,
    '});',
    ...recommended.reasons,
  ];
}
