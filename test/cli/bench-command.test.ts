/** `pgaio bench`: what it measures, what it says, and that it leaves nothing behind and changes nothing. */
import assert from 'node:assert/strict';
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { cellsOf, latenciesOf, type CellResult } from '../../src/cli/bench/cells.js';
import { recommendFrom } from '../../src/cli/bench/recommend.js';
import type { BenchReport } from '../../src/cli/bench/report.js';
import { supportedMethods } from '../../src/index.js';
import { Program, run } from './program.js';

const TINY = ['--no-fio', '--size', '4MB', '--seconds', '0.02', '--depths', '1,4', '--sizes', '4kB'];

let home: string;
before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-bench-test-'))));
after(() => rmSync(home, { recursive: true }));

it('measures all methods in a scratch file of which nothing stays', async () => {
  const { code, stdout } = await run('bench', ...TINY, '--json', '--write', home);
  assert.equal(code, 0);
  const { cells, skipped, isScratch, bytes, recommended, interrupted } = JSON.parse(stdout) as BenchReport;
  assert.deepEqual([isScratch, bytes, interrupted], [true, 4 * 2 ** 20, false]);
  const cached = cells.filter(({ operation, access }) => operation === 'read' && access === 'cached');
  const expected = supportedMethods().flatMap((method) =>
    (method === 'sync' ? [1] : [1, 4]).map((depth) => `${method} ${depth}`),
  );
  assert.deepEqual(cached.map(({ method, depth }) => `${method} ${depth}`).sort(), expected.sort());
  assert.ok(cells.some(({ operation }) => operation === 'commit'));
  for (const { ops, opsPerSecond, bytesPerSecond, micros, size } of cells) {
    assert.ok(ops > 0 && opsPerSecond > 0);
    assert.ok(Math.abs(bytesPerSecond / opsPerSecond - size) < 1e-6);
    assert.ok(
      micros.p50 > 0 && micros.p50 <= micros.p90 && micros.p90 <= micros.p99 && micros.p99 <= micros.max,
    );
  }
  // Where the temporary directory is in memory, there is nothing to be cold, or direct.
  for (const access of ['cold', 'direct'])
    assert.ok(
      cells.some((cell) => cell.access === access) || skipped.some(({ what }) => what.startsWith(access)),
    );
  assert.ok(recommended !== null && recommended.reasons.length > 0);
  assert.deepEqual(readdirSync(home), []);
});

it('only reads a file that is there, and prints tables', async () => {
  const path = join(home, 'mine');
  writeFileSync(path, Buffer.alloc(2 ** 21, 'mine'));
  utimesSync(path, 1, 1);
  const { code, stdout } = await run(
    'bench',
    ...TINY,
    '--methods',
    'sync,worker',
    '--access',
    'cached',
    '--write',
    path,
  );
  assert.equal(code, 0);
  assert.match(stdout, /^reads of 4\.0 kB, cached\n┌/m);
  assert.match(stdout, /│ worker +│ +4 │/);
  assert.match(stdout, /not measured: writes: ".*mine" exists, and is only read/);
  assert.match(stdout, /await createInstance\(\{\n {2}ioMethod: '(sync|worker)',/);
  assert.equal(statSync(path).mtimeMs, 1000);
  assert.deepEqual(readFileSync(path), Buffer.alloc(2 ** 21, 'mine'));
  rmSync(path);
});

it('interrupted, it tells what it has, and leaves nothing behind', async () => {
  const program = new Program(['bench', ...TINY, '--seconds', '30', '--json', home]);
  // It has begun to measure when it has opened its file, which has no name.
  const fds = `/proc/${program.child.pid}/fd`;
  const isOpen = (): boolean => {
    try {
      return readdirSync(fds).some((fd) => readlinkSync(join(fds, fd)).includes('/.pgaio-bench-'));
    } catch {
      return false;
    }
  };
  while (!isOpen() && program.child.exitCode === null) await new Promise(setImmediate);
  program.child.kill('SIGINT');
  const { code, stdout, stderr } = await program.ended();
  assert.equal(code, 130, stderr);
  assert.equal((JSON.parse(stdout) as BenchReport).interrupted, true);
  assert.deepEqual(readdirSync(home), []);
});

it('says in a sentence what it cannot do', async () => {
  const refused: [string[], RegExp][] = [
    [[join(home, 'none')], /".*none" does not exist/],
    [['/dev/null'], /neither a directory nor a regular file/],
    [['--size', '900TB', home], /a scratch file of 900 TB needs as much again/],
    [['--size', 'much', home], /at least 1MB/],
    [['--depths', '0', home], /whole numbers from 1 to 256/],
    [['--sizes', '5000', home], /multiples of 4096/],
    [['--methods', 'magic', home], /list of/],
    [['--report', '/dev/null', home], /is no file/],
  ];
  for (const [args, sentence] of refused) {
    const { code, stderr } = await run('bench', ...args);
    assert.equal(code, 2, stderr);
    assert.match(stderr, sentence);
    assert.doesNotMatch(stderr, /^\s+at /m);
  }
  assert.deepEqual(readdirSync(home), []);
});

describe('what is made of it', () => {
  const cell = (rest: Partial<CellResult>): CellResult => ({
    operation: 'read',
    pattern: 'random',
    access: 'cold',
    method: 'worker',
    depth: 1,
    size: 8192,
    ops: 100,
    seconds: 1,
    opsPerSecond: 100,
    bytesPerSecond: 819_200,
    micros: { p50: 1, p90: 1, p99: 1, max: 1 },
    cpu: 1,
    ...rest,
  });

  it('the smallest depth that is as good as the best, of the method that auto takes', () => {
    const cells = [
      cell({ opsPerSecond: 100 }),
      cell({ depth: 16, opsPerSecond: 950 }),
      cell({ depth: 64, opsPerSecond: 1000 }),
      cell({ method: 'io_uring', depth: 16, opsPerSecond: 930 }),
      cell({ method: 'io_uring', depth: 4, opsPerSecond: 500 }),
      cell({ access: 'cached', method: 'sync', opsPerSecond: 1e6 }),
    ];
    assert.deepEqual(recommendFrom(cells, 'io_uring')?.settings, {
      ioMethod: 'io_uring',
      effectiveIoConcurrency: 16,
    });
    assert.deepEqual(recommendFrom(cells, 'worker')?.settings, {
      ioMethod: 'worker',
      effectiveIoConcurrency: 16,
    });
    const slow = cells.map((one) => (one.method === 'io_uring' ? { ...one, opsPerSecond: 10 } : one));
    assert.equal(recommendFrom(slow, 'io_uring')?.settings.ioMethod, 'worker');
    assert.equal(recommendFrom([], 'worker'), null);
  });

  it('direct I/O only if it is clearly faster', () => {
    const with1 = (opsPerSecond: number): boolean | undefined =>
      recommendFrom([cell({}), cell({ access: 'direct', opsPerSecond })], 'worker')?.direct;
    assert.deepEqual([with1(110), with1(130)], [false, true]);
  });

  it('cells of the same kind side by side, sync with one in flight only', () => {
    const cells = cellsOf({
      methods: ['sync', 'worker'],
      depths: [1, 4],
      sizes: [4096],
      accesses: ['cached'],
      pattern: 'random',
      write: true,
    });
    assert.deepEqual(
      cells.map(({ operation, method, depth }) => `${operation} ${method} ${depth}`),
      [
        'read sync 1',
        'read worker 1',
        'read worker 4',
        'write sync 1',
        'write worker 1',
        'write worker 4',
        'commit sync 1',
        'commit worker 1',
      ],
    );
    assert.deepEqual(latenciesOf(Float64Array.from({ length: 100 }, (_, at) => 100 - at)), {
      p50: 51,
      p90: 91,
      p99: 100,
      max: 100,
    });
  });
});
