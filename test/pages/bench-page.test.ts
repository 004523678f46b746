/** The page of `pgaio bench`, in a real browser. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { benchPage } from '../../src/cli/bench/bench-page.js';
import type { CellResult } from '../../src/cli/bench/cells.js';
import type { BenchReport } from '../../src/cli/bench/report.js';
import { horizontalOverflow, launchBrowser, NO_BROWSER, openFilePage } from '../../testing/browser.js';

const cells: CellResult[] = (['cached', 'cold'] as const).flatMap((access) =>
  (['sync', 'worker', 'io_uring'] as const).flatMap((method, at) =>
    [1, 4, 16].map((depth) => ({
      operation: 'read' as const,
      pattern: 'random' as const,
      access,
      method,
      depth,
      size: 8192,
      ops: 1000,
      seconds: 1,
      opsPerSecond: 1000 * depth * (at + 1),
      bytesPerSecond: 8_192_000 * depth * (at + 1),
      micros: { p50: 100 / (at + 1), p90: 300, p99: 2000 * depth, max: 9000 * depth },
      cpu: 0.5,
    })),
  ),
);
const report: BenchReport = {
  path: '/srv/</script><img src=x>',
  isScratch: true,
  bytes: 2 ** 30,
  pattern: 'random',
  started: new Date(0).toISOString(),
  machine: { cores: 2, processor: 'P', kernel: 'Linux', node: 'v20', fileSystem: 'ext4 on /dev/vda' },
  cells,
  fio: [
    {
      access: 'cold',
      depth: 4,
      size: 8192,
      engine: 'io_uring',
      opsPerSecond: 5000,
      bytesPerSecond: 4e7,
      micros: { p50: 1, p90: 2, p99: 3, max: 4 },
    },
  ],
  skipped: [{ what: 'direct reads', reason: 'the file system has none' }],
  recommended: {
    settings: { ioMethod: 'worker', effectiveIoConcurrency: 16 },
    direct: false,
    reasons: ['because'],
  },
  interrupted: false,
};

interface Box {
  readonly top: number;
  readonly bottom: number;
  readonly right: number;
  /** Of the picture, on the right. */
  readonly edge: number;
}

function assertApart(boxes: readonly Box[]): void {
  for (const [at, { top, bottom, right, edge }] of boxes.entries()) {
    assert.ok(right <= edge + 1);
    for (const other of boxes.slice(at + 1)) assert.ok(other.top >= bottom - 4 || other.bottom <= top + 4);
  }
}

it(
  'draws charts that can be read in any light and width, and has the numbers below',
  { skip: NO_BROWSER },
  async () => {
    const home = mkdtempSync(join(tmpdir(), 'pgaio-bench-page-'));
    const file = join(home, 'page.html');
    writeFileSync(file, benchPage(report));
    assert.ok(readFileSync(file).length < 500_000);
    const browser = await launchBrowser();
    try {
      for (const options of [{}, { width: 400, colorScheme: 'dark' as const }]) {
        const { page, complaints } = await openFilePage(browser, file, options);
        assert.equal(await horizontalOverflow(page), 0);
        assert.equal(await page.locator('svg').count(), 4);
        assert.equal(
          await page.locator('svg').nth(2).locator('polyline').count(),
          4,
          'three methods and fio',
        );
        assert.match((await page.locator('svg title').last().textContent()) ?? '', /, 16 in flight: /);
        assert.equal(await page.locator('img').count(), 0);
        await page.locator('summary').first().click();
        assert.match((await page.locator('table').first().textContent()) ?? '', /io_uring.*48\.0 k|48\.0 k/);
        // No name of a line lies upon another, or outside of its picture.
        const boxes = await page.evaluate<Box[][]>(`
        [...document.querySelectorAll('svg')].map((svg) => [...svg.querySelectorAll('.name')].map((name) => {
          const { top, bottom, right } = name.getBoundingClientRect();
          return { top, bottom, right, edge: svg.getBoundingClientRect().right };
        }))`);
        for (const names of boxes) assertApart(names);
        assert.deepEqual(complaints, []);
        await page.close();
      }
    } finally {
      await browser.close();
      rmSync(home, { recursive: true });
    }
  },
);
