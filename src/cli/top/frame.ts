/** What `pgaio top` shows of two snapshots: lines, as wide as they come. */
import colors from 'picocolors';
import type { Snapshot } from '../../instance/snapshot.js';
import type { IoStatsRow } from '../../stats/io-stats-view.js';
import { LatencyHistogram } from '../../stats/latency-histogram.js';
import { count, formatBytes, formatDuration } from '../output/format.js';

/** How many I/Os in flight are shown. */
const IN_FLIGHT_SHOWN = 10;

/** `before`: null for what was counted since the reset, or since the instance began. */
export function frameLines(now: Snapshot, before: Snapshot | null): string[] {
  return [
    ...headLines(now),
    '',
    ...throughputLines(now, before),
    '',
    ...latencyLines(now, before),
    '',
    ...inFlightLines(now),
    '',
    ...backendLines(now),
  ];
}

function headLines(now: Snapshot): string[] {
  const { pid, ioMethod, uptimeMillis, node, crashed, inFlightCount, workers } = now;
  const up = formatDuration(uptimeMillis / 1000);
  const { count: number, minWorkers, maxWorkers, idle, queued } = workers;
  const roster =
    ioMethod === 'worker'
      ? `, ${count(number, 'worker')} (${minWorkers} to ${maxWorkers}), ${idle} idle, ${queued} queued`
      : '';
  const head = `pgaio of process ${pid}, Node ${node}, up ${up}: ${ioMethod}${roster}, ${inFlightCount} in flight`;
  return crashed === null ? [colors.bold(head)] : [colors.bold(head), colors.red(`crashed: ${crashed}`)];
}

// --- throughput ----------------------------------------------------------------------------------

interface Throughput {
  operation: string;
  count: number;
  bytes: number | null;
}

const OPERATIONS = [
  ['read', 'reads', 'readBytes'],
  ['write', 'writes', 'writeBytes'],
  ['fsync', 'fsyncs', null],
  ['extend', 'extends', 'extendBytes'],
  ['hit', 'hits', null],
  ['eviction', 'evictions', null],
  ['reuse', 'reuses', null],
  ['failure', 'failures', null],
] as const;

function throughputLines(now: Snapshot, before: Snapshot | null): string[] {
  const seconds = before === null ? 0 : (now.uptimeMillis - before.uptimeMillis) / 1000;
  const objects = [...new Set(now.io.map(({ object }) => object))];
  const rows = objects.flatMap((object) =>
    throughputOf(
      now.io.filter((row) => row.object === object),
      (before?.io ?? []).filter((row) => row.object === object),
    ).map(({ operation, count: number, bytes }) => [
      `${object} ${operation}`,
      seconds > 0 ? perSecond(number / seconds) : String(number),
      bytes === null ? '' : seconds > 0 ? `${formatBytes(bytes / seconds)}/s` : formatBytes(bytes),
      bytes === null || number === 0 ? '' : formatBytes(bytes / number),
    ]),
  );
  return table(['throughput', seconds > 0 ? 'per second' : 'in all', 'bytes', 'each'], rows);
}

/** Over all kinds of backends and contexts. A reset between the two may leave less than before: then it begins anew. */
function throughputOf(rows: readonly IoStatsRow[], before: readonly IoStatsRow[]): Throughput[] {
  const sum = (of: readonly IoStatsRow[], field: keyof IoStatsRow): number =>
    of.reduce((total, row) => total + Number(row[field]), 0);
  return OPERATIONS.flatMap(([operation, number, bytes]) => {
    const all = sum(rows, number);
    if (all === 0) return [];
    const anew = all < sum(before, number) ? [] : before;
    return {
      operation,
      count: all - sum(anew, number),
      bytes: bytes === null ? null : Math.max(0, sum(rows, bytes) - sum(anew, bytes)),
    };
  });
}

function perSecond(rate: number): string {
  return rate >= 100 || rate === 0 ? String(Math.round(rate)) : rate.toFixed(1);
}

// --- latencies -----------------------------------------------------------------------------------

function latencyLines(now: Snapshot, before: Snapshot | null): string[] {
  const rows = now.latencies.flatMap(({ object, operation, method, latency }) => {
    const old = before?.latencies.find(
      (one) => one.object === object && one.operation === operation && one.method === method,
    );
    const all = new LatencyHistogram(latency);
    const recent = old === undefined || old.latency.count > all.count ? all : all.since(old.latency);
    if (recent.count === 0) return [];
    const { p50, p90, p99, maxMicros } = recent;
    return [[`${object} ${operation} by ${method}`, ...[p50, p90, p99, maxMicros].map(formatMicros)]];
  });
  return table(['latency', 'p50', 'p90', 'p99', 'max'], rows);
}

export function formatMicros(micros: number): string {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1e6) return `${(micros / 1000).toPrecision(3)} ms`;
  return formatDuration(micros / 1e6);
}

// --- what is going on ----------------------------------------------------------------------------

function inFlightLines({ inFlight, inFlightCount }: Snapshot): string[] {
  const shown = inFlight.filter(({ operation }) => operation !== null).slice(0, IN_FLIGHT_SHOWN);
  const rows = shown.map((io) => [
    io.ageMicros === null ? '-' : formatMicros(io.ageMicros),
    String(io.owner),
    io.operation ?? '',
    io.state.toLowerCase().replaceAll('_', ' '),
    formatBytes(io.length ?? 0),
    `${String(io.offset)} of ${printable(io.targetDescription ?? '')}`,
  ]);
  const more = inFlightCount - shown.length;
  const rest = more > 0 && shown.length > 0 ? [colors.dim(`and ${more} more`)] : [];
  return [...table(['in flight', 'backend', 'operation', 'state', 'bytes', 'at'], rows, [2, 3, 5]), ...rest];
}

function backendLines({ backends }: Snapshot): string[] {
  const rows = backends.map(({ backend, type, event }) => [`${backend} ${type}`, event ?? '-']);
  return table(['backend', 'waits for'], rows, [0, 1]);
}

/** Names of files may hold anything, and a terminal obeys some of it. */
function printable(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}

/** Columns as wide as their widest; those of text to the left, those of numbers to the right. */
function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  text: readonly number[] = [0],
): string[] {
  if (rows.length === 0) return [colors.dim(`${head[0] ?? ''}: none`)];
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  const cell = (content: string, width: number, at: number): string =>
    text.includes(at) ? content.padEnd(width) : content.padStart(width);
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, at) => cell(cells[at] ?? '', width, at))
      .join('  ')
      .trimEnd();
  return [colors.dim(line(head)), ...rows.map((row) => line(row))];
}
