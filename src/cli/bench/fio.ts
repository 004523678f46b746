/** fio, where it is installed, on the same file: what the disk can do without us. */
import { spawn } from 'node:child_process';
import type { BenchFile } from './bench-file.js';
import type { Access, CellResult } from './cells.js';

export interface FioResult {
  readonly access: Access;
  readonly depth: number;
  readonly size: number;
  readonly engine: string;
  readonly opsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Microseconds. */
  readonly micros: CellResult['micros'];
}

interface FioOutput {
  readonly jobs: readonly {
    readonly read: {
      readonly iops: number;
      readonly bw_bytes: number;
      readonly clat_ns: { readonly max: number; readonly percentile?: Readonly<Record<string, number>> };
    };
  }[];
}

export interface FioRun {
  readonly file: BenchFile;
  readonly pattern: 'random' | 'sequential';
  readonly access: Access;
  readonly depth: number;
  readonly size: number;
  readonly seconds: number;
  readonly signal: AbortSignal;
}

/** Null, or why there is no fio. */
export async function fioMissing(): Promise<string | null> {
  const { code } = await run(['--version'], new AbortController().signal);
  return code === 0 ? null : 'fio is not installed';
}

/** Null when it failed, or was interrupted. Reads only. */
export async function runFio({
  file,
  pattern,
  access,
  depth,
  size,
  seconds,
  signal,
}: FioRun): Promise<FioResult | null> {
  if (access === 'cold' && file.drop() !== null) return null;
  const engine = depth === 1 ? 'psync' : 'io_uring';
  const { code, stdout } = await run(
    [
      '--name=pgaio',
      '--readonly',
      '--output-format=json',
      '--invalidate=0',
      `--ioengine=${engine}`,
      `--rw=${pattern === 'random' ? 'randread' : 'read'}`,
      `--bs=${size}`,
      `--iodepth=${depth}`,
      `--direct=${access === 'direct' ? 1 : 0}`,
      `--size=${file.bytes - (file.bytes % size)}`,
      `--filename=${file.path.replaceAll(':', '\\:')}`,
      '--norandommap',
      '--time_based',
      `--runtime=${Math.ceil(seconds * 1000)}ms`,
    ],
    signal,
  );
  if (code !== 0) return null;
  const read = (JSON.parse(stdout) as FioOutput).jobs[0]?.read;
  if (read === undefined) return null;
  const { percentile = {}, max } = read.clat_ns;
  const micros = (name: string): number => (percentile[name] ?? 0) / 1000;
  return {
    access,
    depth,
    size,
    engine,
    opsPerSecond: read.iops,
    bytesPerSecond: read.bw_bytes,
    micros: { p50: micros('50.000000'), p90: micros('90.000000'), p99: micros('99.000000'), max: max / 1000 },
  };
}

function run(args: readonly string[], signal: AbortSignal): Promise<{ code: number | null; stdout: string }> {
  return new Promise((resolve) => {
    const child = spawn('fio', args, { stdio: ['ignore', 'pipe', 'ignore'], signal });
    let stdout = '';
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.once('error', () => resolve({ code: null, stdout }));
    child.once('close', (code) => resolve({ code, stdout }));
  });
}
