/** `pgaio verify --report`: the page, in a real browser, and what becomes of it when something goes wrong. */
import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import type { RelationFile } from '../../src/cli/verify/cluster/relation-files.js';
import type { ScannedCluster } from '../../src/cli/verify/cluster/scan-roots.js';
import { FileMap } from '../../src/cli/verify/map/file-map.js';
import { reportPage } from '../../src/cli/verify/map/report-page.js';
import type { VerifyReport } from '../../src/cli/verify/report.js';
import { horizontalOverflow, launchBrowser, NO_BROWSER, openFilePage } from '../../testing/browser.js';
import { SyntheticCluster } from '../verify/synthetic-cluster.js';
import { run } from '../cli/program.js';

const cluster: ScannedCluster = {
  dataDirectory: '/data',
  control: undefined,
  blockSize: 8192,
  blocksPerSegment: 131_072,
  checksumsEnabled: true,
};

function fileOf(displayPath: string, blocks: number, where = cluster): RelationFile {
  const file = { cluster: where, absolutePath: `/data/${displayPath}`, displayPath, size: blocks * 8192 };
  return { ...file, segmentNumber: 0 } as RelationFile;
}

const good: VerifyReport = {
  method: 'worker',
  methodReason: '',
  paths: ['/data'],
  online: false,
  files: 1,
  blocks: 1,
  bytes: 8192,
  bad: 0,
  structural: 0,
  inFlux: 0,
  unreadable: 0,
  failures: [],
  structuralBlocks: [],
  problems: [],
  undecided: 0,
  interrupted: false,
  crash: null,
  seconds: 1,
  io: {} as VerifyReport['io'],
  exitCode: 0,
};

const bad = (path: string, ...blocks: number[]): VerifyReport['failures'] =>
  blocks.map((block) => ({ path, block, stored: 1, computed: 0xab }));

let home: string;
before(() => (home = mkdtempSync(join(tmpdir(), 'pgaio-report-'))));
after(() => rmSync(home, { recursive: true }));

describe('the map of files', () => {
  it('has a name and a number for a file, and ranges for what is damaged', () => {
    const map = new FileMap();
    for (const [path, blocks] of [
      ['base/5/1', 10],
      ['base/5/2', 20],
      ['global/3', 1],
    ] as const)
      map.add(fileOf(path, blocks));
    const data = map.data({
      failures: [...bad('base/5/2', 3, 4, 5, 9), ...bad('global/3', 0), ...bad('gone', 1)],
      structuralBlocks: [{ path: 'base/5/2', block: 7 }],
      problems: [
        { path: 'base/5/1', message: 'broken' },
        { path: 'base', message: 'a directory' },
      ],
    });
    assert.deepEqual(
      data.groups.map(({ directory, files }) => [directory, files]),
      [
        ['base/5', ['1', 10, '2', 20]],
        ['global', ['3', 1]],
      ],
    );
    assert.deepEqual(data.damage, [
      { file: 1, checksum: [3, 3, 9, 1], structure: [7, 1], unreadable: false },
      { file: 2, checksum: [0, 1], structure: [], unreadable: false },
      { file: 0, checksum: [], structure: [], unreadable: true },
    ]);
  });

  it('keeps files of several data directories apart', () => {
    const map = new FileMap();
    map.add(fileOf('base/1/1', 1));
    map.add(fileOf('base/1/1', 2, { ...cluster, dataDirectory: '/other' }));
    map.add(fileOf('5', 2, { ...cluster, dataDirectory: '/other' }));
    const failures = [...bad('base/1/1', 1), ...bad('5', 0)].map((block) => ({
      ...block,
      dataDirectory: '/other',
    }));
    const { groups, damage } = map.data({ failures, structuralBlocks: [], problems: [] });
    assert.deepEqual(
      groups.map(({ directory }) => directory),
      ['/data/base/1', '/other/base/1', '/other'],
    );
    assert.deepEqual(
      damage.map(({ file }) => file),
      [1, 2],
    );
  });
});

describe('the command', () => {
  it('writes the page beside its other output, with --json as well, over the one before', async () => {
    using data = new SyntheticCluster();
    data.segment('base/5/16384', ['good', 'checksum', 'good', 'structure']);
    const file = join(home, 'page.html');
    writeFileSync(file, '<!doctype html>the one before');
    symlinkSync('page.html', join(home, 'link.html'));
    const { code, stdout, stderr } = await run(
      'verify',
      '--json',
      '--report',
      join(home, 'link.html'),
      data.path,
    );
    assert.equal(code, 1);
    assert.equal((JSON.parse(stdout) as VerifyReport).bad, 1);
    assert.match(stderr, /the report is in .*link\.html/);
    const page = readFileSync(file, 'utf8');
    assert.match(page, /<title>1 bad block found/);
    assert.match(page, /<dt>PostgreSQL<\/dt><dd>18<\/dd>/);
    assert.match(page, /pg_filenode_relation\(0, 16384\)/);
    assert.match(
      page,
      /<td class="path">base\/5\/16384<\/td><td class="number">1<\/td><td>checksum: calculated/,
    );
    assert.deepEqual(readdirSync(home).sort(), ['link.html', 'page.html']);
    assert.ok(lstatSync(join(home, 'link.html')).isSymbolicLink());
  });

  it('refuses a place where no page can be, before it reads anything', async () => {
    using data = new SyntheticCluster();
    data.segment('base/5/16384', ['good']);
    for (const [place, why] of [
      [join(home, 'not', 'there.html'), /cannot be written to .*ENOENT/],
      [home, /is no file/],
      ['/dev/null', /is no file/],
      [join(data.path, 'base/5/16384'), /is there already, and is no page/],
    ] as const) {
      const { code, stdout, stderr } = await run('verify', '--report', place, data.path);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, why);
    }
  });

  it('gives its verdict, and exit code 2, when the page cannot be written in the end', async () => {
    using data = new SyntheticCluster();
    data.segment('base/5/16384', ['good']);
    const file = join(home, `${'x'.repeat(240)}.html`); // the name under which it is written first is too long
    const { code, stdout, stderr } = await run('verify', '--report', file, data.path);
    assert.equal(code, 2);
    assert.match(stdout, /No bad blocks\./);
    assert.match(stderr, /the report could not be written to .*ENAMETOOLONG/);
  });
});

describe('the page', { skip: NO_BROWSER }, () => {
  let browser: Browser;
  before(async () => (browser = await launchBrowser()));
  after(() => browser.close());

  function write(report: Partial<VerifyReport>, map: FileMap): string {
    const file = join(home, 'shown.html');
    const page = reportPage({ report: { ...good, ...report }, map, started: new Date(0) });
    writeFileSync(file, page);
    return file;
  }

  it('shows what is damaged first, and all of it on demand, by mouse and by keyboard', async () => {
    const map = new FileMap();
    for (let number = 1; number <= 500; number++) map.add(fileOf(`base/5/${number}`, 131_072));
    const failures = [...bad('base/5/77', 5, 6, 100_000), ...bad('base/5/300', 1)];
    const structuralBlocks = [{ path: 'base/5/300', block: 131_071 }];
    const file = write({ failures, structuralBlocks, bad: 4, structural: 1, files: 500 }, map);
    const { page, complaints } = await openFilePage(browser, file);
    assert.equal(await page.locator('#shown').textContent(), '2 of 500 files');
    assert.deepEqual(await page.locator('.row .path').allTextContents(), ['base/5/77', 'base/5/300']);
    await page.locator('.row').first().click();
    assert.match((await page.locator('#detail').textContent()) ?? '', /bad checksum, block 5–6, 100000/);
    await page.locator('#only').uncheck();
    assert.equal(await page.locator('#shown').textContent(), '500 of 500 files');
    await page.locator('#sort').selectOption('path');
    await page.locator('#filter').fill('5/30');
    assert.equal(await page.locator('.row').count(), 11);
    await page.locator('#list').press('ArrowDown');
    await page.locator('#list').press('ArrowDown');
    assert.match(
      (await page.locator('#detail').textContent()) ?? '',
      /base\/5\/300: .*header.*, block 131071/,
    );
    await page.locator('#filter').fill('');
    await page.locator('#list').press('End');
    assert.match((await page.locator('#detail').textContent()) ?? '', /base\/5\/99: .*Nothing is wrong/);
    await page.locator('#whole').click({ position: { x: 2, y: 10 } });
    assert.match((await page.locator('#detail').textContent()) ?? '', /base\/5\/1:/);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  it('shows one damaged block of a whole segment, in both schemes, and fits a narrow window', async () => {
    const map = new FileMap();
    map.add(fileOf('base/5/1', 131_072));
    const file = write({ failures: bad('base/5/1', 65_536), bad: 1 }, map);
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, complaints } = await openFilePage(browser, file, {
        width: 400,
        height: 800,
        colorScheme,
      });
      assert.equal(await horizontalOverflow(page), 0);
      // The middle of the strip, above where what is fine ends, is red.
      const [red = 0, green = 0, blue = 0] = await page.evaluate<number[]>(`(() => {
        const { width, height } = document.querySelector('.row canvas');
        const context = document.querySelector('.row canvas').getContext('2d');
        return [...context.getImageData(Math.round(width / 2) + 1, Math.round(height * 0.1), 1, 1).data];
      })()`);
      assert.ok(red > 150 && red > 1.5 * green && red > 1.5 * blue, `${red} ${green} ${blue}`);
      assert.deepEqual(complaints, []);
      await page.close();
    }
  });

  it('shows names as they are, whatever is in them', async () => {
    const name = '</script><img src=x onerror=alert(1)>&amp;"\'';
    const map = new FileMap();
    map.add(fileOf(name, 2));
    const problems = [{ path: name, message: `"${name}" cannot be read` }];
    const report = { failures: bad(name, 1), bad: 1, problems, unreadable: 1, paths: [name], crash: name };
    const { page, complaints } = await openFilePage(browser, write(report, map));
    assert.equal(await page.locator('.row .path').textContent(), name);
    assert.equal(await page.locator('td.path').textContent(), name);
    assert.equal(await page.locator('img').count(), 0);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  it('is small, and opens, for a cluster of a hundred thousand files', async () => {
    const map = new FileMap();
    for (let number = 0; number < 100_000; number++)
      map.add(fileOf(`base/${16_384 + Math.floor(number / 1000)}/${20_000 + number}`, 1310));
    const failures = bad('base/16434/70000', ...Array.from({ length: 1310 }, (_, block) => block));
    const file = write({ failures, bad: failures.length, files: 100_000 }, map);
    assert.ok(readFileSync(file).length < 2_000_000);
    const { page, complaints } = await openFilePage(browser, file);
    assert.match((await page.locator('#shown').textContent()) ?? '', /^1 of 100,000 files$/);
    await page.locator('#only').uncheck();
    assert.ok((await page.locator('.row').count()) < 60, 'only those in sight are there');
    await page.locator('#list').press('End');
    assert.match((await page.locator('.row').last().textContent()) ?? '', /base\/16483\/119999/);
    assert.deepEqual(complaints, []);
    await page.close();
  });

  it('says what a run was that found nothing, was interrupted, or saw nothing', async () => {
    const titles: string[] = [];
    for (const report of [{}, { interrupted: true }, { crash: 'out of memory' }, { files: 0 }]) {
      const { page } = await openFilePage(browser, write(report, new FileMap()));
      titles.push((await page.locator('h1').textContent()) ?? '');
      await page.close();
    }
    assert.deepEqual(titles, [
      '✔ No bad blocks',
      '⚠ Interrupted; no bad blocks so far',
      '⚠ The verification broke off',
      '⚠ Nothing was verified',
    ]);
  });
});
