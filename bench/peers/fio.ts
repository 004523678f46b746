/** fio: what the machine can do. Its settings are part of the case's name. */
import type { Measurement } from '../measurement.js';
import { runProgram } from '../processes.js';

export interface FioSpec {
  readonly engine: 'psync' | 'libaio' | 'io_uring';
  readonly pattern: 'randread' | 'read';
  readonly blockSize: number;
  readonly depth: number;
  readonly direct: boolean;
  readonly files: readonly string[];
  /** Only the first so many bytes of the files. */
  readonly bytes?: number;
  /** Runs so long; without it, once over everything. */
  readonly seconds?: number;
  /** Read each block at most once, of all files in turn. Random blocks otherwise may come again. */
  readonly once?: boolean;
  /** Submit and reap as many at once. Default: fio's, one by one. */
  readonly batch?: number;
}

/** For a case's name. */
export function fioName({ engine, pattern, blockSize, depth, direct, batch }: FioSpec): string {
  const settings = [
    engine,
    pattern,
    `bs=${blockSize / 1024}k`,
    ...(engine === 'psync' ? [] : [`iodepth=${depth}`]),
    ...(batch === undefined ? [] : [`iodepth_batch=${batch}`]),
    ...(direct ? ['direct=1'] : []),
  ];
  return `fio ${settings.join(' ')}`;
}

interface FioOutput {
  readonly jobs: readonly [
    {
      readonly read: { readonly total_ios: number; readonly runtime: number };
      readonly usr_cpu: number;
      readonly sys_cpu: number;
      readonly job_runtime: number;
    },
  ];
}

/** Runs fio. An operation is a read of `unit` bytes, however many of them fio reads at once. */
export async function runFio(program: string, spec: FioSpec, unit: number): Promise<Measurement> {
  const args = [
    '--name=pgaio',
    '--output-format=json',
    '--readonly',
    '--invalidate=0',
    '--randrepeat=0',
    ...(spec.once === true ? [] : ['--norandommap']),
    `--ioengine=${spec.engine}`,
    `--rw=${spec.pattern}`,
    `--bs=${spec.blockSize}`,
    ...(spec.engine === 'psync' ? [] : [`--iodepth=${spec.depth}`]),
    `--direct=${spec.direct ? 1 : 0}`,
    `--file_service_type=${spec.once === true ? 'random' : 'sequential'}`,
    `--filename=${spec.files.map((file) => file.replaceAll(':', '\\:')).join(':')}`,
  ];
  if (spec.bytes !== undefined) args.push(`--size=${spec.bytes}`);
  if (spec.seconds !== undefined) args.push('--time_based', `--runtime=${Math.ceil(spec.seconds * 1000)}ms`);
  if (spec.batch !== undefined) {
    args.push(`--iodepth_batch_submit=${spec.batch}`, `--iodepth_batch_complete_max=${spec.batch}`);
  }
  const [job] = (JSON.parse(await runProgram(program, args)) as FioOutput).jobs;
  const cpuShare = (job.usr_cpu + job.sys_cpu) / 100;
  return {
    ops: (job.read.total_ios * spec.blockSize) / unit,
    seconds: job.read.runtime / 1000,
    cpuSeconds: (cpuShare * job.job_runtime) / 1000,
    checked: 0,
  };
}
