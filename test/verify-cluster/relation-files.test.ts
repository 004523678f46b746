import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { listRelationFiles, type RelationFile } from '../../src/cli/verify/cluster/relation-files.js';
import { findScanRoots, type ScanProblem } from '../../src/cli/verify/cluster/scan-roots.js';
import { controlFixture, FIELD, patchedControlFile } from './control-files.js';

const VERSION = 'PG_18_202506291';

let home: string;
let data: string;
let tablespace: string;

/** Makes files of one byte, with their directories; a name that ends in a slash is an empty directory. */
function make(root: string, ...names: string[]): void {
  for (const name of names) {
    const path = join(root, name);
    mkdirSync(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) writeFileSync(path, 'x');
  }
}

interface Listing {
  files: RelationFile[];
  /** Display paths, sorted. */
  shown: string[];
  problems: ScanProblem[];
}

async function list(paths: string[], filenode?: number): Promise<Listing> {
  const { roots, problems } = await findScanRoots(paths);
  const all = [...problems];
  const files: RelationFile[] = [];
  const options = { filenode, onProblem: (problem: ScanProblem): void => void all.push(problem) };
  for await (const file of listRelationFiles(roots, options)) files.push(file);
  return { files, shown: files.map((file) => file.displayPath).sort(), problems: all };
}

/** Lists, and expects no problem. */
async function shown(...paths: string[]): Promise<string[]> {
  const listing = await list(paths);
  assert.deepEqual(listing.problems, []);
  return listing.shown;
}

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'pgaio-files-'));
  data = join(home, 'data');
  tablespace = join(home, 'tablespace');
  make(data, 'PG_VERSION', 'global/1260', 'global/1260_fsm', 'global/pg_filenode.map', 'pg_wal/1', 'log/1');
  make(data, 'base/5/PG_VERSION', 'base/5/16384', 'base/5/16384.1', 'base/5/16384_vm', 'base/5/t3_16385');
  make(data, 'base/5/pg_internal.init', 'base/5/pgsql_tmp1.0', 'base/pgsql_tmp/pgsql_tmp2.0', 'pg_tblspc/');
  make(tablespace, `${VERSION}/5/16390`, `${VERSION}/pgsql_tmp/1`, 'PG_14_202107181/5/16391');
  symlinkSync(tablespace, join(data, 'pg_tblspc/16400'));
  writeFileSync(join(data, 'global/pg_control'), controlFixture('18'));
});

afterEach(() => {
  rmSync(home, { recursive: true });
});

const GLOBAL = ['global/1260', 'global/1260_fsm'];
const DATABASE = ['base/5/16384', 'base/5/16384.1', 'base/5/16384_vm', 'base/5/t3_16385'];
const IN_TABLESPACE = [`pg_tblspc/16400/${VERSION}/5/16390`];
const ALL = [...DATABASE, ...GLOBAL, ...IN_TABLESPACE];

describe('relation files of a data directory', () => {
  it('are those that pg_checksums scans', async () => {
    const { files, shown: all, problems } = await list([data]);
    assert.deepEqual(all, ALL);
    assert.deepEqual(problems, []);
    const segment = files.find((file) => file.displayPath === 'base/5/16384.1');
    assert.ok(segment);
    const { cluster, ...rest } = segment;
    assert.deepEqual(rest, {
      absolutePath: join(data, 'base/5/16384.1'),
      displayPath: 'base/5/16384.1',
      segmentNumber: 1,
      fork: 'main',
      relationNumber: 16384,
      filterKey: '16384',
      size: 1,
    });
    assert.equal(cluster.dataDirectory, data);
    assert.equal(cluster.control?.majorVersion, 18);
    assert.ok(files.every((file) => file.cluster === cluster));
  });

  it('include whatever else lies there: unknown names, nested and linked directories', async () => {
    make(data, 'base/foo', 'base/5/notes', 'base/5/nested/deep/16500', 'pg_tblspc/stray');
    make(home, 'elsewhere/16600');
    symlinkSync('../../elsewhere', join(data, 'base/77'));
    const more = ['base/5/nested/deep/16500', 'base/5/notes', 'base/77/16600', 'base/foo', 'pg_tblspc/stray'];
    assert.deepEqual(await shown(data), [...ALL, ...more].sort());
  });

  it('can be those of one relation', async () => {
    assert.deepEqual((await list([data], 16384)).shown, DATABASE.slice(0, 3));
    assert.deepEqual((await list([data], 16390)).shown, IN_TABLESPACE);
    assert.deepEqual((await list([data], 16385)).shown, []); // as pg_checksums: t3_16385 is t3
    assert.deepEqual((await list([join(data, 'base/5/16384')], 1)).shown, []);
  });

  it('take block size, segment size and checksums from the control file', async () => {
    writeFileSync(join(data, 'global/pg_control'), patchedControlFile(FIELD.blocksPerSegment, 16));
    const { roots } = await findScanRoots([data]);
    assert.equal(roots[0]?.cluster.blocksPerSegment, 16);
    writeFileSync(join(data, 'global/pg_control'), controlFixture('18-no-checksums'));
    assert.equal((await findScanRoots([data])).roots[0]?.cluster.checksumsEnabled, false);
  });

  it('are listed also where a directory has very many', async () => {
    const names = Array.from({ length: 1000 }, (_, index) => `${20000 + index}`);
    make(join(data, 'base/6'), ...names);
    assert.deepEqual(
      await shown(join(data, 'base/6')),
      names.map((name) => `base/6/${name}`),
    );
  });
});

describe('paths', () => {
  it('may be directories below the data directory', async () => {
    assert.deepEqual(await shown(join(data, 'base')), DATABASE);
    assert.deepEqual(await shown(join(data, 'base/5')), DATABASE);
    assert.deepEqual(await shown(`${data}/global/`), GLOBAL);
    assert.deepEqual(await shown(join(data, 'pg_tblspc')), IN_TABLESPACE);
    assert.deepEqual(await shown(join(data, 'pg_tblspc/16400')), IN_TABLESPACE);
    assert.deepEqual(await shown(join(data, `pg_tblspc/16400/${VERSION}`)), IN_TABLESPACE);
    assert.deepEqual(await shown(join(data, `pg_tblspc/16400/${VERSION}/5`)), IN_TABLESPACE);
  });

  it('may be segment files', async () => {
    const { files, problems } = await list([join(data, 'base/5/16384.1'), join(data, 'base/5/t3_16385')]);
    assert.deepEqual(problems, []);
    assert.deepEqual(
      files.map((file) => [file.displayPath, file.segmentNumber]),
      [
        ['base/5/16384.1', 1],
        ['base/5/t3_16385', 0],
      ],
    );
  });

  it('may be a tablespace by itself; then defaults are assumed, and the result says so', async () => {
    const file = join(tablespace, VERSION, '5/16390');
    for (const path of [tablespace, join(tablespace, VERSION), join(tablespace, VERSION, '5'), file]) {
      const { files, problems } = await list([path]);
      assert.deepEqual(problems, []);
      assert.deepEqual(
        files.map((found) => found.displayPath),
        [file],
      );
      assert.deepEqual(files[0]?.cluster, {
        dataDirectory: undefined,
        control: undefined,
        blockSize: 8192,
        blocksPerSegment: 131072,
        checksumsEnabled: true,
      });
    }
  });

  it('may be links into a data directory', async () => {
    const link = join(home, 'link');
    symlinkSync(join(data, 'base/5'), link);
    assert.deepEqual(await shown(link), DATABASE);
    symlinkSync(data, join(home, 'pgdata'));
    assert.deepEqual(await shown(join(home, 'pgdata')), ALL);
  });

  it('may overlap: no file comes twice', async () => {
    const file = join(data, 'base/5/16384');
    symlinkSync(data, join(home, 'again'));
    assert.deepEqual(await shown(data, data), ALL);
    assert.deepEqual(await shown(file, join(data, 'base'), data, join(home, 'again')), ALL);
    assert.deepEqual(await shown(file, file, join(home, 'again/base/5/16384')), ['base/5/16384']);
    // The tablespace is reached by the data directory too, whose relative paths are the ones to show.
    assert.deepEqual(await shown(tablespace, join(tablespace, VERSION, '5/16390'), data), ALL);
  });

  it('may belong to several clusters', async () => {
    const other = join(home, 'other');
    make(other, 'base/5/16384', 'global/1260', 'pg_tblspc/');
    writeFileSync(join(other, 'global/pg_control'), controlFixture('15'));
    const { files } = await list([data, other]);
    assert.equal(files.length, ALL.length + 2);
    const versions = new Set(files.map((file) => file.cluster.control?.majorVersion));
    assert.deepEqual(versions, new Set([15, 18]));
  });

  const refusals: [string, () => string, RegExp][] = [
    ['nothing', () => join(data, 'base/6'), /base\/6" does not exist/],
    ['a directory of something else', () => home, /neither a data directory nor a tablespace/],
    ['a part of the cluster without relations', () => join(data, 'pg_wal'), /neither a data directory/],
    ['a tablespace of another version', () => join(tablespace, 'PG_14_202107181'), /PostgreSQL 15 to 18/],
    ['a file without pages', () => join(data, 'global/pg_control'), /holds no pages/],
    ['a file of something else', () => join(data, 'base/x'), /not named like a segment/],
    ['a device', () => '/dev/null', /neither a file nor a directory/],
  ];
  for (const [what, path, message] of refusals) {
    it(`are refused with a sentence when they are ${what}, and the others are scanned`, async () => {
      make(data, 'base/x');
      const given = path();
      const { files, problems } = await list([given, join(data, 'base/5/16384')]);
      assert.equal(files.length, 1);
      assert.equal(problems.length, 1);
      assert.equal(problems[0]?.path, given);
      assert.match(problems[0]?.message ?? '', message);
    });
  }

  it('of a cluster that is not understood are refused with the reason of the control file', async () => {
    truncateSync(join(data, 'global/pg_control'), 100);
    const { files, problems } = await list([data, join(data, 'base/5')]);
    assert.deepEqual(files, []);
    assert.match(problems[0]?.message ?? '', /global\/pg_control" is truncated: it has only 100 bytes/);
    assert.equal(problems.length, 2);
    rmSync(join(data, 'global/pg_control'));
    assert.match(
      (await list([join(data, 'base/5')])).problems[0]?.message ?? '',
      /pg_control" does not exist/,
    );
  });
});

describe('problems', () => {
  async function only(message: RegExp, path: string): Promise<string[]> {
    const listing = await list([data]);
    assert.deepEqual(
      listing.problems.map((problem) => problem.path),
      [path],
    );
    assert.match(listing.problems[0]?.message ?? '', message);
    return listing.shown;
  }

  it('a dangling tablespace link', async () => {
    symlinkSync(join(home, 'gone'), join(data, 'pg_tblspc/16401'));
    assert.deepEqual(await only(/link that leads nowhere/, 'pg_tblspc/16401'), ALL);
  });

  it('a tablespace without files of this version', async () => {
    make(home, 'empty/PG_17_202406281/5/1');
    symlinkSync(join(home, 'empty'), join(data, 'pg_tblspc/16401'));
    assert.deepEqual(await only(/has no directory "PG_18_202506291"/, 'pg_tblspc/16401'), ALL);
  });

  it('a directory where a file should be', async () => {
    make(data, 'base/5/16777/');
    assert.deepEqual(await only(/is a directory where a file should be/, 'base/5/16777'), ALL);
  });

  it('a name without a valid segment number', async () => {
    make(data, 'base/5/16384.old');
    assert.deepEqual(await only(/segment number/, 'base/5/16384.old'), ALL);
  });

  it('links that lead nowhere, or not to a directory', async () => {
    symlinkSync('nowhere', join(data, 'base/5/16700'));
    assert.deepEqual(await only(/leads nowhere/, 'base/5/16700'), ALL);
    rmSync(join(data, 'base/5/16700'));
    symlinkSync('16384', join(data, 'base/5/16701'));
    assert.deepEqual(await only(/not a directory/, 'base/5/16701'), ALL);
  });

  it('a link that leads in a circle is none', async () => {
    symlinkSync('..', join(data, 'base/5/circle'));
    assert.deepEqual(await shown(data), ALL);
  });

  it('a part of the data directory that is missing', async () => {
    rmSync(join(data, 'pg_tblspc'), { recursive: true });
    assert.deepEqual(await only(/"pg_tblspc" does not exist/, 'pg_tblspc'), [...DATABASE, ...GLOBAL]);
  });

  const isRoot = process.getuid?.() === 0 && 'root may read everything';
  it('an unreadable directory', { skip: isRoot }, async () => {
    mkdirSync(join(data, 'base/6'), { mode: 0 });
    assert.deepEqual(await only(/permission denied/, 'base/6'), ALL);
  });
});

describe('files and directories that vanish while they are listed', () => {
  it('are passed over', async () => {
    make(join(data, 'base/6'), ...Array.from({ length: 500 }, (_, index) => `${20000 + index}`));
    make(join(data, 'base/7'), '1');
    const { roots } = await findScanRoots([join(data, 'base')]);
    const problems: ScanProblem[] = [];
    const files: string[] = [];
    const listing = listRelationFiles(roots, { onProblem: (problem) => problems.push(problem) });
    for await (const file of listing) {
      // The first file of whichever directory comes first takes everything else away.
      if (files.length === 0) rmSync(join(data, 'base'), { recursive: true });
      files.push(file.displayPath);
    }
    assert.deepEqual(problems, []);
    assert.ok(files.length >= 1 && files.length <= 64, `${files.length} files of one batch`);
  });

  const hasNoProc = !existsSync('/proc/self/fd') && 'no /proc to count descriptors in';
  it('leave no directory open when the consumer stops early', { skip: hasNoProc }, async () => {
    const { roots } = await findScanRoots([data]);
    const before = readdirSync('/proc/self/fd').length;
    for await (const file of listRelationFiles(roots, {
      onProblem: (problem) => assert.fail(problem.message),
    })) {
      assert.equal(file.size, 1);
      break;
    }
    assert.equal(readdirSync('/proc/self/fd').length, before);
  });
});
