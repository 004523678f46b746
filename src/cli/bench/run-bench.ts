/** All of `pgaio bench` but its output. */
import { readFileSync, statSync } from 'node:fs';
import { availableParallelism, cpus, release, type } from 'node:os';
import { resolve } from 'node:path';
import type { IoMethodName } from '../../base/settings.js';
import { autoMethod, supportedMethods } from '../../instance/methods.js';
import { ioUringReason, probeIoUring } from '../../native/io-uring-support.js';
import { formatBytes } from '../output/format.js';
import { checkPagePath, writePage } from '../html/page.js';
import { benchPage } from './bench-page.js';
import { openBenchFile, type BenchFile } from './bench-file.js';
import { cellsOf, type Access, type Cell, type CellResult, type Pattern } from './cells.js';
import { fioMissing, runFio, type FioResult } from './fio.js';
import { recommendFrom } from './recommend.js';
import type { BenchReport } from './report.js';
import { CellRunner, type Skipped } from './run-cells.js';

export interface BenchOptions {
  readonly path: string;
  /** Of a scratch file, in bytes. */
  readonly size: number;
  /** Of each measurement. */
  readonly seconds: number;
  /** Default: all that work here. */
  readonly methods?: readonly IoMethodName[] | undefined;
  readonly depths: readonly number[];
  readonly sizes: readonly number[];
  readonly accesses: readonly Access[];
  readonly pattern: Pattern;
  readonly write: boolean;
  readonly fio: boolean;
  /** Where the page goes. */
  readonly report?: string | undefined;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

/** Throws a PgaioError for what cannot be done at all. */
export async function runBench(options: BenchOptions): Promise<BenchReport> {
  const { path, report, signal } = options;
  if (report !== undefined) checkPagePath(report);
  const skipped: Skipped[] = [];
  const methods = usableMethods(options.methods, skipped);
  const write = options.write && writesTo(path, skipped);
  const cells = cellsOf({ ...options, methods, write });
  const started = new Date().toISOString();
  options.progress(`making a scratch file of ${formatBytes(options.size)}`);
  using file = await openBenchFile(path, options.size, signal);
  const measured = await measure(cells, file, options, skipped);
  const result: BenchReport = {
    path: resolve(path),
    isScratch: file.isScratch,
    bytes: file.bytes,
    pattern: options.pattern,
    started,
    machine: describeMachine(path),
    ...measured,
    skipped,
    recommended: recommendFrom(measured.cells, autoMethod(probeIoUring()).name),
    interrupted: signal.aborted,
  };
  if (report !== undefined) writePage(report, benchPage(result));
  return result;
}

function usableMethods(wanted: readonly IoMethodName[] | undefined, skipped: Skipped[]): IoMethodName[] {
  const supported = supportedMethods();
  const reason = ioUringReason();
  if (reason !== null && (wanted === undefined || wanted.includes('io_uring')))
    skipped.push({ what: 'method io_uring', reason });
  return supported.filter((method) => wanted === undefined || wanted.includes(method));
}

/** A file that is there is not written to, whatever was asked for. */
function writesTo(path: string, skipped: Skipped[]): boolean {
  const isDirectory = statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  if (!isDirectory)
    skipped.push({ what: 'writes', reason: `"${path}" exists, and is only read; give a directory` });
  return isDirectory;
}

async function measure(
  cells: readonly Cell[],
  file: BenchFile,
  options: BenchOptions,
  skipped: Skipped[],
): Promise<{ cells: CellResult[]; fio: FioResult[] }> {
  const { depths, sizes, seconds, signal, progress } = options;
  const noFio = options.fio ? await fioMissing() : 'it was not asked for';
  if (noFio !== null) skipped.push({ what: 'fio', reason: noFio });
  const fio: FioResult[] = [];
  const results: CellResult[] = [];
  let at = 0;
  const runner = new CellRunner({
    file,
    seconds,
    depthMax: Math.max(...depths),
    sizeMax: Math.max(...sizes),
    signal,
    starting: ({ operation, access, method, depth, size }) =>
      progress(
        `${at} of ${cells.length}: ${access} ${operation} of ${formatBytes(size)}, ${method}, ${depth} in flight`,
      ),
  });
  try {
    let before: Cell | null = null;
    for (const cell of cells) {
      at++;
      if (noFio === null && !signal.aborted && isNewPlace(cell, before)) {
        progress(`${at} of ${cells.length}: fio, ${cell.access}, ${cell.depth} in flight`);
        const peer = await runFio({ ...cell, file, seconds, signal });
        if (peer !== null) fio.push(peer);
      }
      before = cell;
      const result = await runner.run(cell);
      if (result !== null) results.push(result);
    }
  } finally {
    await runner.close();
  }
  skipped.push(...runner.skipped);
  return { cells: results, fio };
}

/** The first of the methods that do the same. */
function isNewPlace(cell: Cell, before: Cell | null): boolean {
  if (cell.operation !== 'read') return false;
  return before?.access !== cell.access || before.size !== cell.size || before.depth !== cell.depth;
}

function describeMachine(path: string): BenchReport['machine'] {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    kernel: `${type()} ${release()}`,
    node: process.version,
    fileSystem: fileSystemOf(resolve(path)),
  };
}

/** Type and device of the mount that a path is on: the one with the longest matching mount point. */
function fileSystemOf(path: string): string {
  let longest = '';
  let found = 'unknown file system';
  for (const line of readMounts().split('\n')) {
    const [device = '', point = '', kind = ''] = line.split(' ');
    const inside = point === '/' || path === point || path.startsWith(`${point}/`);
    if (point === '' || !inside || point.length < longest.length) continue;
    longest = point;
    found = `${kind} on ${device}`;
  }
  return found;
}

function readMounts(): string {
  try {
    return readFileSync('/proc/mounts', 'utf8');
  } catch {
    return '';
  }
}
