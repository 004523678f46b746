/**
 * Pages that stand alone: one file without a network, which opens from a disk, in a light and a dark room, on a
 * telephone and on paper.
 */
import { randomBytes } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  openSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  type Stats,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { SettingError } from '../../base/errors.js';

export interface HtmlPage {
  readonly title: string;
  readonly style: string;
  /** HTML. */
  readonly body: string;
  /** What the script finds by `JSON.parse(document.getElementById('data').textContent)`. */
  readonly data: unknown;
  readonly script: string;
}

const DOCTYPE = '<!doctype html>';

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For texts and quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => ESCAPES[char] as string);
}

/** Nothing in it can end the script element that it stands in. */
function jsonForScript(data: unknown): string {
  return JSON.stringify(data).replace(/</g, '\\u003c');
}

const THEME = `
:root { color-scheme: light dark; --page: #fff; --panel: #f5f6f8; --text: #1b1f24; --faint: #59636e; --line: #d4d9df;
  --good: #8fa9c4; --good-text: #1a6334; --bad: #c62828; --warn: #9a5b00; --accent: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --panel: #1e2328; --text: #e6e9ec; --faint: #a0a9b3;
  --line: #363d45; --good: #46607c; --good-text: #74d193; --bad: #ff6b5e; --warn: #f0b050; --accent: #79b8ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.75rem, 3vw, 2rem) 3rem; max-width: 84rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
code, .path { font-family: ui-monospace, monospace; font-size: 0.92em; }
.faint { color: var(--faint); } .bad { color: var(--bad); } .warn { color: var(--warn); } .good { color: var(--good-text); }
.panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 0.75rem 1rem; }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(10rem, 45%), 1fr)); gap: 0.6rem 1.5rem; margin: 1rem 0; }
dl.facts dt { color: var(--faint); font-size: 0.85em; } dl.facts dd { margin: 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.3rem 0.75rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
button, input, select { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line);
  border-radius: 6px; padding: 0.3rem 0.6rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
@media print { body { max-width: none; padding: 0; } .screen { display: none !important; } }
`;

/** The whole file. */
export function renderPage({ title, style, body, data, script }: HtmlPage): string {
  return `${DOCTYPE}
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>${THEME}${style}</style>
</head>
<body>
${body}
<script type="application/json" id="data">${jsonForScript(data)}</script>
<script>${script}</script>
</body>
</html>
`;
}

/**
 * Before the work that the page is to tell of: throws a SettingError when none could be written there, or when something else
 * is there, which it would replace.
 */
export function checkPagePath(path: string): void {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) checkReplaceable(path, found);
    accessSync(dirname(path), constants.W_OK);
  } catch (error) {
    if (error instanceof SettingError) throw error;
    const { code = 'an error' } = error as NodeJS.ErrnoException;
    throw new SettingError(`the report cannot be written to "${path}": ${code}`);
  }
}

function checkReplaceable(path: string, found: Stats): void {
  if (!found.isFile()) throw new SettingError(`"${path}" is no file; the report needs the name of one`);
  const start = Buffer.alloc(DOCTYPE.length);
  const fd = openSync(path, 'r');
  const bytes = readSync(fd, start);
  closeSync(fd);
  if (bytes === 0 || start.toString('latin1') === DOCTYPE) return;
  throw new SettingError(`"${path}" is there already, and is no page that the report could replace`, {
    hint: 'Choose another name, or remove it.',
  });
}

/** Under another name first: who looks finds the whole page, or the one before. A link stays one. */
export function writePage(path: string, page: string): void {
  const target = existsSync(path) ? realpathSync(path) : path;
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    writeFileSync(temporary, page, { flag: 'wx' });
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}
