// `npm run conformance [-- ROW... | --json | --write]`: runs the tests of the contract's rows (docs/conformance.md) and
// says row by row how they ended. A ROW is an id or how ids begin: `Z-05`, `RB`. `--json`: for programs.
// `--write`: puts the test files into the tables, as their sources name the rows; runs nothing.
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { giveUp, root, say } from './command.mjs';
import {
  idsOfName,
  methodNames,
  methodOfNames,
  NONE_YET,
  poolOfNames,
  readRows,
} from './conformance-rows.mjs';
import { scanTests, tableName } from './conformance-scan.mjs';
import { runTests } from './run-tests.mjs';
import { setup } from './setup.mjs';

const letters = Object.entries(methodNames);
const words = process.argv.slice(2);
const patterns = words.filter((word) => !word.startsWith('--'));
const unknown = words.filter((word) => word.startsWith('--') && !['--json', '--write'].includes(word));
if (unknown.length > 0) giveUp(`unknown: ${unknown.join(' ')}`);

if (words.includes('--write')) write();
else await check();

async function check() {
  const wanted = ({ id }) => patterns.length === 0 || patterns.some((pattern) => id.startsWith(pattern));
  const rows = readRows().filter(wanted);
  if (rows.length === 0) giveUp(`no row begins with ${patterns.join(' or ')}`);
  await setup();
  const { supportedMethods } = await import(pathToFileURL(join(root, 'dist/src/instance/methods.js')).href);
  const supported = supportedMethods();
  const { results, others } = await run(rows);
  const verdicts = rows.map((row) => ({ ...row, ...verdictOf(row, results.get(row.id) ?? [], supported) }));
  if (words.includes('--json'))
    process.stdout.write(`${JSON.stringify({ rows: verdicts, others }, null, 1)}\n`);
  else print(verdicts, others);
  const bad = verdicts.some(({ verdict }) => verdict === 'failed' || verdict === 'not covered');
  process.exitCode = bad || others.length > 0 ? 1 : 0;
}

/** How the tests of each row ended; and what failed that belongs to no row: a file that died, for example. */
async function run(rows) {
  const files = [...new Set(rows.flatMap(({ tests }) => tests))].map((file) => `test/${file}.test.ts`);
  const results = new Map();
  const others = [];
  if (files.length === 0) return { results, others };
  let rest = '';
  const onReport = (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines) take(JSON.parse(line), results, others);
  };
  await runTests(files, { reporter: 'conformance-reporter.mjs', onReport });
  return { results, others };
}

function take(report, results, others) {
  if (report.death !== undefined) {
    others.push(report.death.trim());
    return;
  }
  const ids = new Set(report.names.flatMap(idsOfName));
  const file = report.file === null ? '' : tableName(relative(join(root, 'dist'), report.file));
  const { names } = report;
  const entry = { ...report, file, method: methodOfNames(names), pool: poolOfNames(names) };
  // A suite fails with what is in it, which says so itself; where its hooks failed, its rows have no tests that passed.
  if (ids.size === 0 && report.outcome === 'failed' && !report.suite)
    others.push(`${report.names.join(' > ')}: ${report.reason}`);
  for (const id of ids) results.set(id, [...(results.get(id) ?? []), entry]);
}

function verdictOf(row, all, supported) {
  const tests = all.filter(({ suite, outcome }) => !suite || outcome !== 'passed');
  const having = (outcome) => tests.filter((test) => test.outcome === outcome);
  const counts = {
    passed: having('passed').length,
    failed: having('failed').length,
    skipped: having('skipped').length,
  };
  // A row of one method needs no `describe` that says so; one of several must have passed under each of them.
  const named = new Set(having('passed').map(({ method }) => method));
  const isFree = row.methods.length < 2 && counts.passed > 0;
  const missing = isFree ? [] : row.methods.filter((method) => !named.has(method));
  const pools = new Set(having('passed').map(({ pool }) => pool));
  const missingPools = row.pools.filter((pool) => !pools.has(pool));
  const failures = having('failed').map(({ names, reason }) => `${names.join(' > ')}: ${reason}`);
  return {
    verdict: judge(counts, missing, missingPools, supported),
    counts,
    missing,
    missingPools,
    failures,
  };
}

function judge(counts, missing, missingPools, supported) {
  if (counts.failed > 0) return 'failed';
  if (counts.passed > 0 && missingPools.length > 0) return 'not covered';
  // What this machine has no method for, it cannot prove.
  if (missing.some((method) => supported.includes(method))) return 'not covered';
  if (counts.passed > 0) return 'passed';
  return counts.skipped > 0 || missing.length > 0 ? 'skipped' : 'not covered';
}

function print(verdicts, others) {
  let area = '';
  for (const row of verdicts) {
    if (row.area !== area) process.stdout.write(`${(area = row.area)}\n`);
    const { passed, failed, skipped } = row.counts;
    const numbers = [
      [passed, 'passed'],
      [failed, 'failed'],
      [skipped, 'skipped'],
    ];
    const said = numbers.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
    if (row.missing.length > 0) said.push(`not under ${row.missing.join(', ')}`);
    if (row.missingPools.length > 0) said.push(`not in the ${row.missingPools.join(' and ')} pool`);
    const methods = letters.map(([letter, name]) => (row.methods.includes(name) ? letter : '·')).join('');
    const mark = { passed: '✔', failed: '✖', skipped: '﹣', 'not covered': '○' }[row.verdict];
    process.stdout.write(
      `  ${mark} ${row.id.padEnd(6)} ${methods}  ${row.verdict.padEnd(11)}  ${said.join(', ')}\n`,
    );
    for (const failure of row.failures) process.stdout.write(`      ${failure.split('\n')[0]}\n`);
  }
  for (const other of others) process.stdout.write(`✖ ${other}\n`);
  const total = (verdict) => verdicts.filter((row) => row.verdict === verdict).length;
  const parts = ['passed', 'failed', 'skipped', 'not covered'].map(
    (verdict) => `${total(verdict)} ${verdict}`,
  );
  process.stdout.write(`${verdicts.length} rows: ${parts.join(', ')}\n`);
}

/** Only the last column changes. */
function write() {
  const path = join(root, 'docs/conformance.md');
  const { claims } = scanTests();
  const text = readFileSync(path, 'utf8').replace(
    /^(\| ([A-Z]{1,2}-\d+) \|.*\|)[^|]*\|$/gm,
    (_, kept, id) => {
      const files = [...claims].filter(([, ids]) => ids.has(id)).map(([file]) => file);
      return `${kept} ${files.length === 0 ? NONE_YET : files.sort().join(', ')} |`;
    },
  );
  writeFileSync(path, text);
  say(`${relative(root, path)} names the tests as their sources do`);
}
