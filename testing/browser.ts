/**
 * A real browser for the pages that the commands write: Debian's `chromium-headless-shell`, or another Chromium of the
 * machine, driven by playwright-core. Tests of a machine that has none are skipped with NO_BROWSER as the reason.
 */
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { assert } from '../src/base/assert.js';

const PROGRAMS = [
  'chromium-headless-shell',
  'chromium',
  'chromium-browser',
  'google-chrome-stable',
  'google-chrome',
];

const program = findProgram();

/** A test's `skip`: false where there is a browser. */
export const NO_BROWSER: string | false =
  program === undefined ? 'browser: no Chromium is installed (Debian: chromium-headless-shell)' : false;

/** `PGAIO_CHROMIUM`, or the first of them in PATH. */
function findProgram(): string | undefined {
  const { PGAIO_CHROMIUM, PATH = '' } = process.env;
  if (PGAIO_CHROMIUM !== undefined) return PGAIO_CHROMIUM;
  for (const name of PROGRAMS) {
    for (const directory of PATH.split(delimiter)) {
      const path = join(directory, name);
      if (isExecutable(path)) return path;
    }
  }
  return undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Without its sandbox, which root may not use and containers often cannot: the pages are our own. */
export async function launchBrowser(): Promise<Browser> {
  assert(program !== undefined, 'skip tests by NO_BROWSER');
  return chromium.launch({ executablePath: program, chromiumSandbox: false });
}

export interface PageOptions {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: 'light' | 'dark';
}

export interface OpenPage {
  readonly page: Page;
  /** Errors of its console, exceptions, and requests for anything but the page itself: all of them are failures. */
  readonly complaints: readonly string[];
}

/** Opens the file as a user does, by file://, and takes down whatever it complains of or asks the network for. */
export async function openFilePage(
  browser: Browser,
  path: string,
  { width = 1200, height = 900, colorScheme = 'light' }: PageOptions = {},
): Promise<OpenPage> {
  const page = await browser.newPage({ viewport: { width, height }, colorScheme });
  const url = pathToFileURL(path).href;
  const complaints: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.stack ?? error.message));
  page.on('request', (request) => {
    if (request.url() !== url && !request.url().startsWith('data:'))
      complaints.push(`asks for ${request.url()}`);
  });
  await page.goto(url);
  return { page, complaints };
}

/** Pixels by which the page is wider than its window: 0, or the user must scroll sideways. */
export function horizontalOverflow(page: Page): Promise<number> {
  const root = 'document.documentElement';
  return page.evaluate<number>(`${root}.scrollWidth - ${root}.clientWidth`);
}
