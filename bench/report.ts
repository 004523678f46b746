/** Results for people. */
import Table from 'cli-table3';
import pc from 'picocolors';
import type { CaseResult, ScenarioResult, TargetResult } from './run.js';

const plain = { head: [], border: [] };
/** No lines between rows. */
const compact = { mid: '', 'left-mid': '', 'mid-mid': '', 'right-mid': '' };

export function formatScenario(result: ScenarioResult): string {
  const lines = [`${pc.bold(result.name)}: ${result.about}`];
  if (result.missing !== null) return [...lines, `  not measured: ${result.missing}`].join('\n');
  const measured = result.cases.filter(({ summary }) => summary !== null);
  if (measured.length > 0) lines.push(casesTable(result.unit, measured));
  for (const { name, missing, failed } of result.cases) {
    if (missing !== null) lines.push(`  ${name}: ${failed ? pc.red('FAILED') : 'not measured'}: ${missing}`);
  }
  for (const target of result.targets) lines.push(`  ${formatTarget(target)}`);
  return lines.join('\n');
}

function casesTable(unit: string, cases: readonly CaseResult[]): string {
  const timed = cases.some(({ summary }) => (summary?.latency ?? null) !== null);
  const latencyHead = timed ? ['median', '99 %'] : [];
  const cached = cases.some(({ summary }) => (summary?.hitRate ?? null) !== null);
  const head = [
    'case',
    `${unit}/s`,
    'from .. to',
    'each',
    ...latencyHead,
    ...(cached ? ['hits'] : []),
    'CPU each',
    '× first',
  ];
  const table = new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: plain,
    chars: compact,
  });
  const first = cases[0]?.summary?.rate ?? 0;
  for (const { name, summary } of cases) {
    if (summary === null) continue;
    const { rate, rateMin, rateMax, cpuMicros, latency, hitRate } = summary;
    const latencyCells = [latency?.medianMicros, latency?.p99Micros].map((micros) =>
      micros === undefined ? '' : formatMicros(micros),
    );
    table.push([
      name,
      formatRate(rate),
      `${formatRate(rateMin)} .. ${formatRate(rateMax)}`,
      formatMicros(1e6 / rate),
      ...(timed ? latencyCells : []),
      ...(cached ? [hitRate === null ? '' : `${(hitRate * 100).toFixed(1)} %`] : []),
      cpuMicros === null ? '?' : formatMicros(cpuMicros),
      (rate / first).toFixed(2),
    ]);
  }
  return table.toString();
}

function formatTarget({ text, kind, limit, measured, of, over }: TargetResult): string {
  if (measured === null) return `target ${text}: not measured`;
  const value = kind === 'rate' ? `${formatRate(measured)}/s` : `${measured.toFixed(2)} ×`;
  const sides = [of, over].filter((side) => side !== null).join(' over ');
  const met = kind === 'cpu' || kind === 'latency' ? measured <= limit : measured >= limit;
  return `target ${text}: ${value} ${met ? pc.green('met') : pc.red('missed')} (${sides})`;
}

/** Three significant digits, with k or M. */
export function formatRate(rate: number): string {
  if (rate >= 1e6) return `${(rate / 1e6).toPrecision(3)} M`;
  if (rate >= 1e3) return `${(rate / 1e3).toPrecision(3)} k`;
  return rate.toPrecision(3);
}

export function formatMicros(micros: number): string {
  if (micros >= 1000) return `${(micros / 1000).toPrecision(3)} ms`;
  return micros < 1 ? `${(micros * 1000).toPrecision(3)} ns` : `${micros.toPrecision(3)} µs`;
}
