/** fio writing in sequence, every write durable: what the device can do with so many in flight. */
import { openSync, closeSync, rmSync, writeSync, fsyncSync } from 'node:fs';
import { join } from 'node:path';
import type { WalSyncMethod } from '../../src/base/settings.js';
import type { Measurement } from '../measurement.js';
import { runProgram } from '../processes.js';

export interface FioWritesSpec {
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
  readonly blockSize: number;
  /** Above 1 with io_uring, else with psync. */
  readonly depth: number;
  readonly directory: string;
  readonly seconds: number;
}

const FILE_BYTES = 64 * 1024 ** 2;
const ZEROES = new Uint8Array(1 << 20);

/** For a case's name. */
export function fioWritesName({ syncMethod, direct, blockSize, depth }: FioWritesSpec): string {
  const settings = [
    depth > 1 ? `io_uring write iodepth=${depth}` : 'psync write',
    `bs=${blockSize / 1024}k`,
    syncMethod === 'fdatasync' ? 'fdatasync=1' : 'sync=dsync',
    ...(direct ? ['direct=1'] : []),
  ];
  return `fio ${settings.join(' ')}`;
}

interface FioOutput {
  readonly jobs: readonly [
    {
      readonly write: {
        readonly total_ios: number;
        readonly runtime: number;
      };
      readonly usr_cpu: number;
      readonly sys_cpu: number;
      readonly job_runtime: number;
    },
  ];
}

export async function runFioWrites(program: string, spec: FioWritesSpec): Promise<Measurement> {
  const path = join(spec.directory, `fio-${process.pid}`);
  const fd = openSync(path, 'w');
  for (let at = 0; at < FILE_BYTES; at += ZEROES.length) writeSync(fd, ZEROES, 0, ZEROES.length, at);
  fsyncSync(fd);
  closeSync(fd);
  const args = [
    ...['--name=pgaio', '--output-format=json', '--rw=write', '--overwrite=1', '--allow_mounted_write=0'],
    ...(spec.depth > 1 ? ['--ioengine=io_uring', `--iodepth=${spec.depth}`] : ['--ioengine=psync']),
    spec.syncMethod === 'fdatasync' ? '--fdatasync=1' : '--sync=dsync',
    ...[`--bs=${spec.blockSize}`, `--direct=${spec.direct ? 1 : 0}`, `--size=${FILE_BYTES}`],
    ...['--time_based', `--runtime=${Math.ceil(spec.seconds * 1000)}ms`],
    `--filename=${path.replaceAll(':', '\\:')}`,
  ];
  try {
    const [job] = (JSON.parse(await runProgram(program, args)) as FioOutput).jobs;
    const cpuShare = (job.usr_cpu + job.sys_cpu) / 100;
    return {
      ops: job.write.total_ios,
      seconds: job.write.runtime / 1000,
      cpuSeconds: (cpuShare * job.job_runtime) / 1000,
      checked: 0,
    };
  } finally {
    rmSync(path);
  }
}
