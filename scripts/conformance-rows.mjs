// The contract's rows: as docs/conformance.md lists them, and as tests name them.
//
// A test of a row has the row's id at the beginning of its own name, or of a `describe` around it:
// `Z-02: …`, `RB-01, RB-02: …`, `K-04 … K-06: …`.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './command.mjs';

export const methodNames = { W: 'worker', U: 'io_uring', S: 'sync' };
export const NONE_YET = 'none yet';

const id = /[A-Z]{1,2}-\d{2,3}/;
const begin = new RegExp(`^${id.source}(?:(?:, | … )${id.source})*(?=: )`);

/** The rows that a test's name claims, in order. A range is every number from its first to its last. */
export function idsOfName(name) {
  const [list] = begin.exec(name) ?? [];
  return list === undefined ? [] : list.split(', ').flatMap(expand);
}

function expand(part) {
  const [first, last = first] = part.split(' … ');
  const [area, from] = first.split('-');
  const [lastArea, to] = last.split('-');
  if (area !== lastArea || Number(to) < Number(from)) throw new Error(`${part} is no range of rows`);
  const rows = [];
  for (let number = Number(from); number <= Number(to); number++)
    rows.push(`${area}-${String(number).padStart(from.length, '0')}`);
  return rows;
}

/** The method that a test runs under: the name of a `describe` begins with it, or the test's own behind its ids. */
export function methodOfNames(names) {
  const test = names.at(-1).replace(begin, '').replace(/^: /, '');
  for (const name of [test, ...names.slice(0, -1).reverse()]) {
    const method = /^(worker|io_uring|sync)\b/.exec(name)?.[1];
    if (method !== undefined) return method;
  }
  return null;
}

/** The pool that a test reads through, if any: one of its names says so when it is the private one. */
export function poolOfNames(names) {
  return names.some((name) => /\b(private|temporary)\b/i.test(name)) ? 'private' : 'shared';
}

/** The tables of the document: `{ id, area, demand, methods, pools, tests }` each. */
export function readRows(text = readFileSync(join(root, 'docs/conformance.md'), 'utf8')) {
  const rows = [];
  let area = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('## ')) area = line.slice(3);
    const cells = line.split('|').map((cell) => cell.trim());
    if (cells.length < 3 || !new RegExp(`^${id.source}$`).test(cells[1])) continue;
    if (cells.length !== 7) throw new Error(`docs/conformance.md: ${cells[1]} has not five columns`);
    const [, name, demand, methods, pools, tests] = cells;
    rows.push({
      id: name,
      area,
      demand,
      methods: methods === 'any' ? [] : methods.split(' ').map((letter) => methodNames[letter]),
      pools: pools === '-' ? [] : pools.split(' '),
      tests: tests === NONE_YET ? [] : tests.split(', '),
    });
    if (rows.at(-1).methods.includes(undefined)) throw new Error(`docs/conformance.md: methods of ${name}`);
    if (rows.at(-1).pools.some((pool) => !['shared', 'private'].includes(pool)))
      throw new Error(`docs/conformance.md: pools of ${name}`);
  }
  return rows;
}
