/** The page of a measurement: charts by depth, with their numbers below, in one file. */
import { escapeHtml, renderPage } from '../html/page.js';
import { formatBytes } from '../output/format.js';
import { formatCount, formatMicros, groupsOf, HEAD, rowsOf, type Group } from './bench-lines.js';
import { drawChart, type Series } from './chart.js';
import type { CellResult } from './cells.js';
import type { FioResult } from './fio.js';
import type { BenchReport } from './report.js';

const STYLE = `
:root { --series-0: #0b5cad; --series-1: #b34700; --series-2: #1a6334; --series-3: #6b6f76; }
@media (prefers-color-scheme: dark) { :root { --series-0: #79b8ff; --series-1: #ffab70; --series-2: #74d193; --series-3: #a0a9b3; } }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-weight: 600; margin-bottom: 0.25rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--text); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); } svg .axis { fill: var(--faint); }
.s0 { --c: var(--series-0); } .s1 { --c: var(--series-1); } .s2 { --c: var(--series-2); } .s3 { --c: var(--series-3); }
svg .line { fill: none; stroke: var(--c); stroke-width: 2; } svg .mark { fill: var(--page); stroke: var(--c); stroke-width: 2; }
svg .s1 .line { stroke-dasharray: 7 4; } svg .s2 .line { stroke-dasharray: 2 3; } svg .s3 .line { stroke-dasharray: 10 3 2 3; }
svg .name { fill: var(--c); font-weight: 600; }
details { margin: 0.5rem 0 0; } summary { cursor: pointer; } pre { overflow-x: auto; }
@media print { .charts { grid-template-columns: 1fr 1fr; } }
`;

export function benchPage(report: BenchReport): string {
  const { path, isScratch, bytes, pattern, machine, started } = report;
  const facts: [string, string][] = [
    ['Measured', `${isScratch ? 'a scratch file in ' : ''}${path}`],
    ['Size', formatBytes(bytes)],
    ['Pattern', pattern],
    ['File system', machine.fileSystem],
    ['Machine', `${machine.cores} cores, ${machine.processor}`],
    ['System', `${machine.kernel}, Node ${machine.node}`],
    ['Begun', started.replace('T', ' ').replace(/\.\d+Z/, ' UTC')],
  ];
  const items = facts.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`);
  const body = [
    `<h1>How fast is this disk?</h1>`,
    report.interrupted ? '<p class="warn">⚠ Interrupted: this is what was measured until then.</p>' : '',
    `<dl class="facts panel">${items.join('\n')}</dl>`,
    recommendation(report),
    ...groupsOf(report).map(groupSection),
    skipped(report),
    '<p class="faint">Written by <code>pgaio bench</code>. Latencies are those of a program that awaits one promise an I/O. Figures of one machine, at one time: only what stands on one page may be compared.</p>',
  ];
  return renderPage({
    title: `${path} · pgaio bench`,
    style: STYLE,
    body: body.join('\n'),
    data: report,
    script: '',
  });
}

function recommendation({ recommended }: BenchReport): string {
  if (recommended === null) return '<p>Too little was measured to recommend anything.</p>';
  const settings = Object.entries(recommended.settings).map(
    ([name, value]) => `  ${name}: ${typeof value === 'string' ? `'${value}'` : String(value)},`,
  );
  const reasons = recommended.reasons.map((reason) => `<li>${escapeHtml(reason)}</li>`);
  return `<h2>Recommended</h2><p>For what this disk has to be asked for:</p>
<pre class="panel"><code>await createInstance({
${escapeHtml(settings.join('\n'))}
});</code></pre><ul>${reasons.join('\n')}</ul>`;
}

function groupSection({ title, cells, fio }: Group): string {
  const series = seriesOf(cells, fio);
  const depths = [...new Set(cells.map(({ depth }) => depth))].sort((a, b) => a - b);
  const charts =
    depths.length < 2
      ? ''
      : `<div class="charts">
${chart(`${title}: a second`, depths, series, ({ opsPerSecond }) => opsPerSecond, formatCount)}
${chart(`${title}: latency, p50 and p99`, depths, latencySeries(cells), ({ value }) => value, formatMicros, true)}
</div>`;
  const rows = rowsOf(cells, fio).map(
    ({ name, depth, columns }) =>
      `<tr><td>${escapeHtml(name)}</td><td class="number">${depth}</td>${columns.map((text) => `<td class="number">${escapeHtml(text)}</td>`).join('')}</tr>`,
  );
  const head = HEAD.map((name) => `<th class="number">${name}</th>`).join('');
  return `<section><h2>${escapeHtml(title)}</h2>${charts}
<details${depths.length < 2 ? ' open' : ''}><summary>The numbers</summary><div class="scroll"><table>
<thead><tr><th>Method</th><th class="number">in flight</th>${head}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div></details></section>`;
}

function skipped({ skipped: all }: BenchReport): string {
  if (all.length === 0) return '';
  const items = all.map(({ what, reason }) => `<li>${escapeHtml(`${what}: ${reason}`)}</li>`);
  return `<h2>Not measured</h2><ul>${items.join('\n')}</ul>`;
}

type Point = CellResult | FioResult;

function seriesOf(cells: readonly CellResult[], fio: readonly FioResult[]): Series<Point>[] {
  const methods = ['io_uring', 'worker', 'sync'] as const;
  const ours = methods.map((name, style) => ({
    name,
    style,
    points: cells.filter(({ method }) => method === name),
  }));
  return [...ours, { name: 'fio', style: 3, points: fio }].filter(({ points }) => points.length > 0);
}

interface LatencyPoint {
  readonly depth: number;
  readonly value: number;
}

/** Of each method two lines. */
function latencySeries(cells: readonly CellResult[]): Series<LatencyPoint>[] {
  return seriesOf(cells, []).flatMap(({ name, style, points }) =>
    (['p50', 'p99'] as const).map((which) => ({
      name: `${name} ${which}`,
      style,
      points: points.map(({ depth, micros }) => ({ depth, value: micros[which] })),
    })),
  );
}

function chart<P extends { readonly depth: number }>(
  title: string,
  depths: readonly number[],
  series: readonly Series<P>[],
  value: (point: P) => number,
  format: (value: number) => string,
  logarithmic = false,
): string {
  const picture = drawChart({ title, depths, series, value, format, logarithmic });
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>${picture}</figure>`;
}
