/** A diagnosis, in lines. */
import colors from 'picocolors';
import type { Check, CheckStatus } from '../doctor/check.js';
import type { Diagnosis } from '../doctor/report.js';
import { count } from './format.js';

const MARKS: Readonly<Record<CheckStatus, (text: string) => string>> = {
  ok: colors.green,
  warning: colors.yellow,
  problem: (text) => colors.red(colors.bold(text)),
};
const MARK_WIDTH = 'problem'.length;

export function diagnosisLines({ report, reasons }: Diagnosis): string[] {
  const { checks, ioMethod, recommended } = report;
  const width = Math.max(...checks.map(({ name }) => name.length));
  return [
    ...checks.flatMap((check) => checkLines(check, width)),
    '',
    `ioMethod 'auto' takes ${ioMethod.name} here: ${ioMethod.reason}.`,
    '',
    'await createInstance({',
    ...Object.entries(recommended).map(([name, value]) => settingLine(name, value, reasons[name] ?? '')),
    '});',
    '',
    verdict(checks),
  ];
}

function checkLines({ name, status, summary, detail, advice }: Check, width: number): string[] {
  const margin = ' '.repeat(MARK_WIDTH + width + 4);
  const lines = [`${MARKS[status](status.padEnd(MARK_WIDTH))}  ${name.padEnd(width)}  ${summary}`];
  if (detail !== undefined) lines.push(margin + colors.dim(detail));
  if (advice !== undefined) lines.push(`${margin}→ ${advice}`);
  return lines;
}

function settingLine(name: string, value: unknown, reason: string): string {
  const shown = typeof value === 'string' ? `'${value}'` : String(value);
  return `  ${name}: ${shown}, ${colors.dim(`// ${reason}`)}`;
}

function verdict(checks: readonly Check[]): string {
  const number = (wanted: CheckStatus): number => checks.filter(({ status }) => status === wanted).length;
  const problems = number('problem');
  const warnings = number('warning');
  const also = warnings === 0 ? '' : `, ${count(warnings, 'warning')}`;
  if (problems > 0) return colors.red(colors.bold(`${count(problems, 'problem')}${also}: see → above.`));
  const line = `All that pgaio needs works${also}${warnings === 0 ? '.' : ': see → above.'}`;
  return warnings === 0 ? colors.green(line) : colors.yellow(line);
}
