/** The page of a verification: what was found, what to do, and where in which file the damage is. */
import { stripVTControlCharacters } from 'node:util';
import { escapeHtml, renderPage } from '../../html/page.js';
import { count, formatBytes, formatDuration, formatRate, hex } from '../../output/format.js';
import { adviceOn, shownPath } from '../../output/summary.js';
import type { VerifyReport } from '../report.js';
import type { FileMap } from './file-map.js';
import { MAP_SCRIPT } from './map-script.js';
import { MAP_STYLE } from './map-style.js';

/** Of each kind of finding, written out; the map shows all. */
const LISTED_MAX = 500;

export interface PageOptions {
  readonly report: VerifyReport;
  readonly map: FileMap;
  /** When the verification began. */
  readonly started: Date;
}

export function reportPage({ report, map, started }: PageOptions): string {
  const { title, mark, tone } = verdict(report);
  const body = [
    `<h1 class="${tone}"><span aria-hidden="true">${mark}</span> ${escapeHtml(title)}</h1>`,
    sentences(report),
    facts(report, map, started),
    advice(report),
    MAP_BODY,
    findings(report),
    problems(report),
    `<p class="faint">Written by <code>pgaio verify</code>. ${escapeHtml(rules(report))}</p>`,
  ];
  return renderPage({
    title: `${title} · pgaio verify`,
    style: MAP_STYLE,
    body: body.join('\n'),
    data: { ...map.data(report), complete: !report.interrupted && report.crash === null },
    script: MAP_SCRIPT,
  });
}

interface Verdict {
  readonly title: string;
  readonly mark: string;
  readonly tone: 'good' | 'bad' | 'warn';
}

function verdict(report: VerifyReport): Verdict {
  const { bad, structural, unreadable, undecided, interrupted, crash, files } = report;
  if (bad > 0) return { title: `${count(bad, 'bad block')} found`, mark: '✖', tone: 'bad' };
  if (structural > 0)
    return { title: `${count(structural, 'damaged page header')} found`, mark: '✖', tone: 'bad' };
  if (crash !== null) return { title: 'The verification broke off', mark: '⚠', tone: 'warn' };
  if (interrupted) return { title: 'Interrupted; no bad blocks so far', mark: '⚠', tone: 'warn' };
  if (unreadable + undecided > 0)
    return { title: 'Not everything could be verified', mark: '⚠', tone: 'warn' };
  if (files === 0) return { title: 'Nothing was verified', mark: '⚠', tone: 'warn' };
  return { title: 'No bad blocks', mark: '✔', tone: 'good' };
}

function sentences({ crash, interrupted, unreadable, undecided, inFlux }: VerifyReport): string {
  const lines: string[] = [];
  if (crash !== null) lines.push(`The verification broke off: ${crash}.`);
  if (interrupted) lines.push('It was interrupted: this page tells of what was verified until then.');
  if (unreadable > 0) lines.push(`${count(unreadable, 'path')} could not be verified, wholly or in part.`);
  if (undecided > 0) lines.push(`${count(undecided, 'block')} looked bad and could not be looked at again.`);
  const warnings = lines.map((line) => `<p class="warn">${escapeHtml(line)}</p>`);
  if (inFlux > 0)
    warnings.push(`<p>${count(inFlux, 'block')} changed while being read, and turned out to be right.</p>`);
  return warnings.join('\n');
}

function facts(report: VerifyReport, map: FileMap, started: Date): string {
  const { files, blocks, bytes, seconds, bad, structural, inFlux, unreadable, undecided } = report;
  const { method, methodReason, online } = report;
  const versions = [...map.clusters].flatMap(({ control }) =>
    control === undefined ? [] : [control.majorVersion],
  );
  const rows: [string, string][] = [
    ['Verified', report.paths.join(', ')],
    ['PostgreSQL', versions.length === 0 ? 'not known: no control file' : [...new Set(versions)].join(', ')],
    ['Server', online ? 'may have been running' : 'was stopped'],
    [
      'Begun',
      started
        .toISOString()
        .replace('T', ' ')
        .replace(/\.\d+Z/, ' UTC'),
    ],
    ['Took', `${formatDuration(seconds)}, ${formatRate(bytes, seconds)}`],
    ['Read', `${count(files, 'file')}, ${count(blocks, 'block')}, ${formatBytes(bytes)}`],
    ['Bad checksums', String(bad)],
    ['Damaged headers under a right checksum', String(structural)],
    ['Changed while being read', String(inFlux)],
    ...(unreadable > 0 ? [['Not readable, wholly or in part', String(unreadable)] as [string, string]] : []),
    ...(undecided > 0 ? [['Undecided', String(undecided)] as [string, string]] : []),
    ['Method', methodReason === '' ? method : `${method} (${methodReason})`],
    ['Exit code', String(report.exitCode)],
  ];
  const items = rows.map(([name, value]) => `<div><dt>${name}</dt><dd>${escapeHtml(value)}</dd></div>`);
  return `<dl class="facts panel">${items.join('\n')}</dl>`;
}

function advice(report: VerifyReport): string {
  const lines = [...adviceOn(report)];
  if (report.interrupted || report.crash !== null)
    lines.push('Run it again, to its end: what was not read may be damaged.');
  if (report.unreadable > 0)
    lines.push('See below what could not be read and why; mend that, and verify it again.');
  if (lines.length === 0) return '';
  const items = lines.map((line) => `<li>${escapeHtml(line)}</li>`);
  return `<h2>What to do</h2><ul>${items.join('\n')}</ul>`;
}

const MAP_BODY = `<section class="screen" aria-labelledby="map-title">
<h2 id="map-title">Files</h2>
<p class="faint" id="legend"><span class="key fine"></span> nothing found &nbsp; <span class="key broken"></span> bad checksum
&nbsp; <span class="key header"></span> damaged header &nbsp; <span class="key unread"></span> not readable, wholly or in part</p>
<canvas id="whole" height="48" role="img" aria-label="All blocks of all files, one behind the other"></canvas>
<div class="tools"><label>Path contains <input id="filter" type="search" autocomplete="off" spellcheck="false"></label>
<label><input id="only" type="checkbox"> only damaged</label>
<label>Sort by <select id="sort"><option value="damage">damage</option><option value="path">path</option><option value="size">size</option></select></label>
<span id="shown" role="status"></span></div>
<div id="list" tabindex="0" role="grid" aria-label="Files" aria-describedby="legend"><div id="space"><div id="rows"></div></div></div>
<div id="detail" class="panel" role="status" hidden></div>
<noscript><p>The map needs JavaScript; the lists below do not.</p></noscript>
</section>`;

function findings(report: VerifyReport): string {
  const { failures, structuralBlocks } = report;
  if (failures.length + structuralBlocks.length === 0) return '';
  const rows = [
    ...failures.slice(0, LISTED_MAX).map((bad) => {
      const what = `checksum: calculated ${hex(bad.computed)}, the block contains ${hex(bad.stored)}`;
      return findingRow(shownPath(bad), bad.block, what);
    }),
    ...structuralBlocks
      .slice(0, LISTED_MAX)
      .map((block) => findingRow(shownPath(block), block.block, 'damaged header under a right checksum')),
  ];
  const more = failures.length + structuralBlocks.length - rows.length;
  const rest = more === 0 ? '' : `<p>and ${more} more: <code>pgaio verify --json</code> lists all.</p>`;
  return `<h2>Damaged blocks</h2><div class="scroll"><table>
<thead><tr><th>File</th><th class="number">Block</th><th>What</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table></div>${rest}`;
}

function findingRow(path: string, block: number, what: string): string {
  return `<tr><td class="path">${escapeHtml(path)}</td><td class="number">${block}</td><td>${what}</td></tr>`;
}

function problems({ problems: all }: VerifyReport): string {
  if (all.length === 0) return '';
  const items = all.slice(0, LISTED_MAX).map(({ message, hint }) => {
    const text = hint === undefined ? message : `${message}. ${hint}`;
    return `<li>${escapeHtml(stripVTControlCharacters(text))}</li>`;
  });
  const more = all.length > LISTED_MAX ? `<p>and ${all.length - LISTED_MAX} more.</p>` : '';
  return `<h2>What could not be verified</h2><ul>${items.join('\n')}</ul>${more}`;
}

function rules({ online }: VerifyReport): string {
  return online
    ? 'A block that did not match its checksum was read again; it is bad only if it stayed the same and wrong.'
    : 'The verdicts are those of pg_checksums --check.';
}
