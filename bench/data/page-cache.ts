/** Files into the page cache, and out of it. */
import { spawnSync } from 'node:child_process';
import { closeSync, fsyncSync, openSync, readSync, statSync } from 'node:fs';
import { findProgram } from '../found.js';

const CHUNK = 1024 ** 2;
const ATTEMPTS = 3;
/** Share of the bytes that may be on the wrong side of the page cache. */
const TOLERANCE = 0.01;

/** Reads files so that the page cache holds them. It lets go of idle files within minutes: do it each time. */
export function warm(files: readonly string[]): void {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    for (const file of files) readThrough(file);
    if (isWarm(files)) return;
  }
  throw new Error('the page cache does not keep the files: there is too little memory');
}

/** Whether the page cache holds the files, as far as can be told. */
export function isWarm(files: readonly string[]): boolean {
  return (residentShare(files) ?? 1) >= 1 - TOLERANCE;
}

function readThrough(file: string): void {
  const chunk = new Uint8Array(CHUNK);
  const fd = openSync(file, 'r');
  while (readSync(fd, chunk, 0, CHUNK, null) > 0);
  closeSync(fd);
}

/** Has the kernel forget the pages of files, which needs no privilege: what GNU dd's `nocache` asks for. */
export function drop(files: readonly string[]): void {
  for (const file of files) writeBack(file);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    for (const file of files) run('dd', [`if=${file}`, 'iflag=nocache', 'count=0', 'status=none']);
    if ((residentShare(files) ?? 0) <= TOLERANCE) return;
  }
  throw new Error('the files stay in the page cache: another program reads them, or they are in memory only');
}

/** Only clean pages can be dropped. */
function writeBack(file: string): void {
  const fd = openSync(file, 'r');
  fsyncSync(fd);
  closeSync(fd);
}

/** How much of the files is in the page cache; null when there is no `fincore` to tell. */
function residentShare(files: readonly string[]): number | null {
  const fincore = findProgram('fincore').value;
  if (fincore === null) return null;
  const resident = run(fincore, ['--bytes', '--noheadings', '--output=RES', ...files])
    .split('\n')
    .reduce((sum, line) => sum + Number(line), 0);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  return bytes === 0 ? null : resident / bytes;
}

function run(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} failed: ${stderr}`);
  return stdout;
}
