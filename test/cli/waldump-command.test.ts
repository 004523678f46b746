/** `pgaio waldump` as a user sees it: what it prints where, exit codes, interruption, bad input. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { SEGMENT_SIZE, SYSTEM_IDENTIFIER, WalImage } from '../../testing/wal-image.js';
import { formatLsn } from '../../src/wal/lsn.js';
import { segmentFileName } from '../../src/wal/segments.js';
import { Program, run, type Ended } from './program.js';

const RECORDS = 300;

/** Logical messages and heap records, over two segments; and a directory that holds them. */
function makeImage(): WalImage {
  const image = new WalImage();
  const encoder = new TextEncoder();
  for (let i = 0; i < RECORDS; i++) {
    if (i % 3 !== 0) {
      const block = { id: 0, tablespace: 1663, database: 5, relation: 16384, block: i };
      const page = new Uint8Array(8192).fill(i);
      image.append({
        resourceManager: 10,
        xid: i,
        blocks: [{ ...block, image: { page } }],
        mainData: new Uint8Array(3),
      });
      continue;
    }
    const payload = encoder.encode(`prefix\0hello ${i}`);
    const mainData = new Uint8Array(24 + payload.length);
    const view = new DataView(mainData.buffer);
    view.setBigUint64(8, 7n, true);
    view.setBigUint64(16, BigInt(payload.length - 7), true);
    mainData.set(payload, 24);
    image.append({ resourceManager: 21, xid: i, mainData });
  }
  return image;
}

const nameOf = (segment: number): string => segmentFileName(1, segment, SEGMENT_SIZE);

function write(image: WalImage, directory: string): string {
  mkdirSync(directory);
  for (const [segment, bytes] of image.segments) writeFileSync(join(directory, nameOf(segment)), bytes);
  return directory;
}

/** A sentence on standard error, exit code 2, and no stack trace. */
function assertRefused({ code, stderr }: Ended, sentence: RegExp): void {
  assert.equal(code, 2, stderr);
  assert.match(stderr, sentence);
  assert.doesNotMatch(stderr, /^\s+at /m);
}

describe('pgaio waldump', { concurrency: 2 }, () => {
  let home: string;
  let directory: string;
  const image = makeImage();
  const { last } = image;

  before(() => {
    home = mkdtempSync(join(tmpdir(), 'pgaio-waldump-'));
    directory = write(image, join(home, 'wal'));
    assert.deepEqual([...image.segments.keys()], [1, 2]);
  });
  after(() => rmSync(home, { recursive: true }));

  it('prints a line for each record, and says where and why WAL ends', async () => {
    const { code, stdout, stderr } = await run('waldump', directory);
    assert.equal(code, 0);
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, RECORDS);
    assert.equal(
      lines[0],
      'rmgr: LogicalMessage len (rec/tot):     64/    64, tx:          0, lsn: 0/00100028, prev 0/00000000, ' +
        'desc: MESSAGE non-transactional, prefix "prefix"; payload (7 bytes): 68 65 6C 6C 6F 20 30',
    );
    assert.match(lines[1] ?? '', /^rmgr: Heap .* desc: INSERT, blkref #0: rel 1663\/5\/16384 blk 1 FPW$/);
    assert.equal(
      stderr,
      `pgaio: WAL ends at ${formatLsn(last.end)}: record at ${formatLsn(last.end)}: nothing was ever written there\n`,
    );
  });

  it('reads one segment only when it is given one', async () => {
    const inFirst = image.records.filter(({ end }) => end <= 2 * SEGMENT_SIZE).length;
    const { code, stdout, stderr } = await run('waldump', join(directory, nameOf(1)));
    assert.deepEqual([code, stdout.trimEnd().split('\n').length], [0, inFirst]);
    assert.match(stderr, /that is all there was to read/);
  });

  it('prints one JSON document, of a range, of one resource manager, of so many', async () => {
    const [start, end] = [formatLsn(image.records[4]!.lsn), formatLsn(image.records[100]!.end)];
    const args = ['--json', '--start', start, '--end', end, '--rmgr', 'heap', '--limit', '5', directory];
    const { code, stdout, stderr } = await run('waldump', ...args);
    assert.deepEqual([code, stderr], [0, '']);
    const report = JSON.parse(stdout) as Record<string, unknown> & { records: Record<string, unknown>[] };
    assert.deepEqual(
      report.records.map(({ lsn }) => lsn),
      [4, 5, 7, 8, 10].map((index) => formatLsn(image.records[index]!.lsn)),
    );
    assert.deepEqual(
      [report['timeline'], report['segmentSize'], report['majorVersion']],
      [1, SEGMENT_SIZE, 18],
    );
    assert.deepEqual([report['count'], report['end'], report['exitCode']], [5, null, 0]);
    assert.equal(report['systemIdentifier'], String(SYSTEM_IDENTIFIER));
  });

  it('counts, with the path before or after --stats', async () => {
    const [text, json] = await Promise.all([
      run('waldump', '--stats', directory),
      run('waldump', directory, '--stats=record', '--json'),
    ]);
    assert.equal(text.code, 0);
    assert.match(text.stdout, /│ Heap +│ +200 │ +66\.67 │/);
    assert.match(text.stdout, /│ Total +│ +300 │/);
    const { statistics, end } = JSON.parse(json.stdout) as {
      statistics: { rows: object[]; total: object };
      end: object;
    };
    const names = statistics.rows.map((row) => (row as { name: string }).name);
    assert.deepEqual(names, ['Heap/INSERT', 'LogicalMessage/MESSAGE']);
    assert.deepEqual((statistics.total as { count: number; imageBytes: number }).count, RECORDS);
    assert.deepEqual((end as { reason: string }).reason, 'zeros');
  });

  it('ends with 1 where WAL is damaged before the end that was asked for, with 0 without one', async () => {
    const damaged = makeImage();
    const { lsn } = damaged.records[50]!;
    damaged.flip(lsn + 30);
    const path = write(damaged, join(home, 'damaged'));
    const [asked, open] = await Promise.all([
      run('waldump', '--end', formatLsn(last.end), path),
      run('waldump', path),
    ]);
    assert.deepEqual([asked.code, open.code], [1, 0]);
    for (const { stdout, stderr } of [asked, open]) {
      assert.equal(stdout.trimEnd().split('\n').length, 50);
      assert.match(
        stderr,
        new RegExp(`WAL ends at ${formatLsn(lsn)}: record at .*: its CRC does not match its contents`),
      );
    }
  });

  it('says that a file was cut, is missing, or was recycled', async () => {
    const cut = write(image, join(home, 'cut'));
    truncateSync(join(cut, nameOf(2)), 100_000);
    const missing = write(image, join(home, 'missing'));
    rmSync(join(missing, nameOf(2)));
    const recycled = write(image, join(home, 'recycled'));
    writeFileSync(join(recycled, nameOf(2)), readFileSync(join(recycled, nameOf(1))));
    const ends = await Promise.all(
      [cut, missing, recycled].map((path) => run('waldump', '--json', '--stats', path)),
    );
    const reasons = ends.map(({ stdout }) => (JSON.parse(stdout) as { end: { reason: string } }).end.reason);
    assert.deepEqual(reasons, ['truncated', 'missing-segment', 'bad-page-address']);
  });

  it('refuses bad input with a sentence', async () => {
    const noWal = join(mkdtempSync(join(home, 'no-wal-')), nameOf(9));
    writeFileSync(noWal, 'no WAL');
    const unreadable = write(image, join(home, 'unreadable'));
    rmSync(join(unreadable, nameOf(2)));
    mkdirSync(join(unreadable, nameOf(2)));
    const refusals: [RegExp, ...string[]][] = [
      [/missing required argument 'PATH'/, '--stats'],
      [/--stats takes "record" or nothing, not "nonsense"/, '--stats', 'nonsense', directory],
      [/"x" is not a WAL position/, '--start', 'x', directory],
      [/There is no such resource manager/, '--rmgr', 'none', directory],
      [/"\/nonexistent" does not exist/, '/nonexistent'],
      [/no segments of WAL in/, home],
      [/no segments of timeline 7/, '--timeline', '7', directory],
      [/is not a segment of WAL: it has 6 bytes/, noWal],
      [
        /position 1\/0 lies in segment 000000010000000100000000, which is not there. WAL begins at 0\/100000/,
        '--start',
        '1/0',
        directory,
      ],
      [/the end 0\/10 is not after the start/, '--end', '0/10', directory],
      [
        /no record was found in .* from 0\/2FF000 on: page 0\/2FE000 .*: nothing was ever written there/,
        '--start',
        '0/2FF000',
        directory,
      ],
      [/0{7}10{15}2" is not a regular file/, unreadable],
    ];
    for (let i = 0; i < refusals.length; i += 3) {
      const some = refusals.slice(i, i + 3);
      const ended = await Promise.all(some.map(([, ...args]) => run('waldump', ...args)));
      ended.forEach((end, index) => assertRefused(end, some[index]![0]));
    }
  });

  it('ends with 130 when it is interrupted', async () => {
    const long = new WalImage();
    for (let i = 0; i < 15_000; i++) long.append({ resourceManager: 10, mainData: new Uint8Array(8) });
    // Its output, of which nobody reads more than the beginning, does not fit into the pipe: it is in the middle of it.
    const program = new Program(['waldump', '--json', write(long, join(home, 'long'))]);
    await program.said('{"records"');
    program.child.stdout?.pause();
    program.child.kill('SIGINT');
    program.child.stdout?.resume();
    const { code, stdout } = await program.ended();
    assert.equal(code, 130);
    const { records, end, exitCode } = JSON.parse(stdout) as {
      records: object[];
      end: unknown;
      exitCode: number;
    };
    assert.ok(records.length < 15_000);
    assert.deepEqual([end, exitCode], [null, 130]);
  });
});
