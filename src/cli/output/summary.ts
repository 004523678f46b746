/** What a verification found, in sentences. */
import Table from 'cli-table3';
import colors from 'picocolors';
import type { VerifyReport } from '../verify/report.js';
import type { BadBlock, Block } from '../verify/job/protocol.js';
import type { ScanProblem } from '../verify/cluster/scan-roots.js';
import { count, formatBytes, formatDuration, formatRate, hex } from './format.js';

const FILES_SHOWN = 20;
const BLOCKS_SHOWN = 8;

type Placed<T> = T & { readonly dataDirectory?: string };

/** One line, as soon as it is found. */
export function badBlockLine(bad: Placed<BadBlock>): string {
  const what = `bad checksum in file "${shownPath(bad)}", block ${bad.block}`;
  return `${colors.red(what)}: calculated ${hex(bad.computed)}, the block contains ${hex(bad.stored)}`;
}

export function structuralLine(block: Placed<Block>): string {
  const what = `damaged page header in file "${shownPath(block)}", block ${block.block}`;
  return `${colors.yellow(what)}: its checksum is right, but PostgreSQL will refuse the page`;
}

export function problemLine({ message, hint }: ScanProblem): string {
  return colors.yellow(hint === undefined ? message : `${message}. ${hint}`);
}

/** The last lines. */
export function summary(report: VerifyReport): string[] {
  const { files, blocks, bytes, seconds } = report;
  const lines: string[] = [];
  if (report.failures.length > 0) lines.push(failureTable(report.failures));
  if (report.crash !== null) lines.push(colors.red(`The verification broke off: ${report.crash}.`));
  if (report.interrupted) lines.push(colors.yellow('Interrupted: what follows is what was verified so far.'));
  if (files === 0) return [...lines, nothing(report)];
  const done = `${count(files, 'file')}, ${count(blocks, 'block')}, ${formatBytes(bytes)}`;
  lines.push(`${done} in ${formatDuration(seconds)} (${formatRate(bytes, seconds)}), ${methodOf(report)}`);
  lines.push(...verdict(report), ...adviceOn(report));
  return lines;
}

function nothing({ problems, interrupted, crash }: VerifyReport): string {
  const isExplained = problems.length > 0 || interrupted || crash !== null;
  return isExplained ? 'Nothing was verified.' : 'Nothing was verified: there are no such files.';
}

function methodOf({ method, methodReason, io }: VerifyReport): string {
  const workers = method === 'worker' ? ` with ${count(io.workers, 'I/O worker')}` : '';
  const reason = methodReason === '' ? '' : ` (${methodReason})`;
  return `method ${method}${workers}${reason}`;
}

function verdict(report: VerifyReport): string[] {
  const { bad, structural, inFlux, unreadable, undecided, blocks } = report;
  const lines: string[] = [];
  if (bad > 0) lines.push(colors.red(colors.bold(`${count(bad, 'bad block')}.`)));
  if (structural > 0) {
    const pages = count(structural, 'block has a', 'blocks have a');
    lines.push(colors.yellow(`${pages} right checksum over a damaged page header; see above.`));
  }
  if (unreadable > 0) {
    lines.push(
      colors.yellow(`${count(unreadable, 'path')} could not be verified, wholly or in part; see above.`),
    );
  }
  if (inFlux > 0) {
    lines.push(
      `${count(inFlux, 'block')} changed while being read, and ${inFlux === 1 ? 'is' : 'are'} all right.`,
    );
  }
  if (undecided > 0) {
    lines.push(colors.yellow(`${count(undecided, 'block')} looked bad and could not be looked at again.`));
  }
  if (blocks > 0 && bad + structural + unreadable + undecided === 0) {
    lines.push(colors.green(report.interrupted ? 'No bad blocks so far.' : 'No bad blocks.'));
  }
  return lines;
}

/** What to do next: sentences, if there is damage. */
export function adviceOn(report: VerifyReport): string[] {
  const { bad, structural, online, failures, structuralBlocks } = report;
  const worst = failures[0] ?? structuralBlocks[0];
  if (bad + structural === 0 || worst === undefined) return [];
  const lines = [
    'Keep a copy of the damaged files, check the storage, and restore them from a backup or a standby.',
  ];
  const database = /(?:^|\/)base\/(\d+)\/(?:t\d+_)?(\d+)[^/]*$/.exec(worst.path);
  if (database !== null) {
    lines.push(
      `To see which table or index it is, in the database with oid ${database[1] ?? ''}: ` +
        `SELECT pg_filenode_relation(0, ${database[2] ?? ''});`,
    );
  }
  if (online) {
    lines.push(
      'If the server is not running, it was not shut down cleanly: start it first, recovery may repair blocks.',
    );
  }
  return lines;
}

function failureTable(failures: readonly Placed<BadBlock>[]): string {
  const byFile = new Map<string, number[]>();
  for (const failure of failures) {
    const path = shownPath(failure);
    const blocks = byFile.get(path);
    if (blocks === undefined) byFile.set(path, [failure.block]);
    else blocks.push(failure.block);
  }
  const table = new Table({
    head: ['file', 'bad', 'blocks'],
    style: { head: [], border: [] },
    colAligns: ['left', 'right', 'left'],
  });
  for (const [path, blocks] of [...byFile].slice(0, FILES_SHOWN)) {
    const more = blocks.length > BLOCKS_SHOWN ? ', …' : '';
    table.push([path, blocks.length, blocks.slice(0, BLOCKS_SHOWN).join(', ') + more]);
  }
  const more = byFile.size > FILES_SHOWN ? `\nand ${count(byFile.size - FILES_SHOWN, 'more file')}` : '';
  return table.toString() + more;
}

/** With its data directory, where there are several. */
export function shownPath({ path, dataDirectory }: Placed<Block>): string {
  return dataDirectory === undefined ? path : `${dataDirectory}/${path}`;
}
