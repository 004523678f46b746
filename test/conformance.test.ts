/** The contract's tables (docs/conformance.md) and the tests name the same rows, each in the other's words. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';

interface Row {
  id: string;
  methods: string[];
  tests: string[];
}
interface Rows {
  readRows: (text?: string) => Row[];
  idsOfName: (name: string) => string[];
  methodOfNames: (names: string[]) => string | null;
  poolOfNames: (names: string[]) => string;
}
interface Scan {
  scanTests: () => { claims: Map<string, Set<string>>; astray: string[] };
  scanSource: (file: string, text: string) => { ids: Set<string>; strays: string[] };
}

const root = fileURLToPath(new URL('../../', import.meta.url));
const load = (file: string): Promise<unknown> => import(pathToFileURL(join(root, 'scripts', file)).href);
const { readRows, idsOfName, methodOfNames, poolOfNames } = (await load('conformance-rows.mjs')) as Rows;
const { scanTests, scanSource } = (await load('conformance-scan.mjs')) as Scan;

describe('the tables of the contract', () => {
  const rows = readRows();
  const { claims, astray } = scanTests();
  const fileNames = '`npm run conformance -- --write` fills them in';

  it('have each row once', () => {
    const ids = rows.map(({ id }) => id);
    assert.ok(ids.length > 200, `${ids.length} rows`);
    assert.deepEqual(ids, [...new Set(ids)]);
  });

  it('name for each row the files whose tests carry its id', () => {
    const wrong: string[] = [];
    for (const { id, tests } of rows) {
      const files = [...claims].filter(([, ids]) => ids.has(id)).map(([file]) => file);
      if (tests.join() !== files.sort().join()) wrong.push(`${id}: ${tests.join()} | ${files.join()}`);
    }
    assert.deepEqual(wrong, [], fileNames);
    const open = rows.filter(({ tests }) => tests.length === 0).map(({ id }) => id);
    assert.deepEqual(open, [], 'rows without a test');
  });

  it('name files that exist', () => {
    for (const file of new Set(rows.flatMap(({ tests }) => tests)))
      assert.ok(existsSync(join(root, 'test', `${file}.test.ts`)), file);
  });

  it('know every id that a test’s name begins with', () => {
    const known = new Set(rows.map(({ id }) => id));
    const unknown = [...claims].flatMap(([file, ids]) =>
      [...ids].filter((id) => !known.has(id)).map((id) => `${file}: ${id}`),
    );
    assert.deepEqual(unknown, []);
  });

  it('are the only place for ids: names have them at their beginning, or not at all', () => {
    assert.deepEqual(astray, []);
  });
});

test('ids stand at the beginning of a name, alone, in a list or as a range', () => {
  assert.deepEqual(idsOfName('Z-02: one warning'), ['Z-02']);
  assert.deepEqual(idsOfName('RB-01, D-101: x'), ['RB-01', 'D-101']);
  assert.deepEqual(idsOfName('K-04 … K-06, D-77: x'), ['K-04', 'K-05', 'K-06', 'D-77']);
  for (const name of ['zeroes (Z-02)', 'Z-02 without a colon', 'UTF-16: x', 'as Z-02: x'])
    assert.deepEqual(idsOfName(name), []);
  assert.throws(() => idsOfName('K-04 … D-06: x'), /no range/);
});

test('the method is what a describe begins with, or the name behind its ids', () => {
  assert.equal(methodOfNames(['io_uring, mapped rings', 'inner', 'Z-02: x']), 'io_uring');
  assert.equal(methodOfNames(['MA-05: sync works alone']), 'sync');
  assert.equal(methodOfNames(['K-03: a worker that dies']), null);
  assert.equal(methodOfNames(['sync: its own suite', 'worker', 'x']), 'worker');
});

test('the pool is the private one if a name says so', () => {
  assert.equal(poolOfNames(['io_uring', 'private pool', 'Z-02: x']), 'private');
  assert.equal(poolOfNames(['V-01: a temporary relation is removed']), 'private');
  assert.equal(poolOfNames(['io_uring', 'Z-02: x']), 'shared');
});

test('sources are scanned for names also where a loop makes them; ids in the midst are found out', () => {
  const source = `
    const cases = [{ row: 'JN-01' }, { row: 'JN-02, JN-05' }]; // JN-03
    for (const { row } of cases) it(\`\${row}: joins\`, () => assert.ok(true, 'D-43: not a name'));
    describe(\`S-01, S-02: \${x}\`, () => undefined);
    it('has Z-02 in its midst', () => undefined);`;
  const { ids, strays } = scanSource('x.test.ts', source);
  assert.deepEqual([...ids].sort(), ['JN-01', 'JN-02', 'JN-05', 'S-01', 'S-02']);
  assert.deepEqual(strays, ['has Z-02 in its midst']);
  assert.deepEqual([...scanSource('x.test.ts', "it(name, () => assert.equal(x, 'D-01'));").ids], []);
});

test('a row with a column too few, an unknown method or an unknown pool is refused', () => {
  assert.throws(() => readRows('| Z-02 | demand | W U S | shared |'), /five columns/);
  assert.throws(() => readRows('| Z-02 | demand | W X | shared | none yet |'), /methods of Z-02/);
  assert.throws(() => readRows('| Z-02 | demand | W | local | none yet |'), /pools of Z-02/);
});
