/**
 * Jobs are what runs in a child process: one case, measured once. The parent names the job and sends it its
 * specification as JSON; the child prints its measurement as JSON.
 */
import { fileURLToPath } from 'node:url';
import type { Measurement } from '../measurement.js';
import { runProgram } from '../processes.js';
import type { BareWritesSpec } from './bare-writes.js';
import type { FileCacheSpec } from './file-cache.js';
import type { FileHandlesSpec } from './file-handles.js';
import type { FileReadsSpec } from './file-reads.js';
import type { FileStreamsSpec } from './file-streams.js';
import type { HitsSpec } from './hits.js';
import type { StreamSpec } from './stream.js';
import type { WalCommitsSpec } from './wal-commits.js';

/** All jobs, and what each is told. */
export interface JobSpecs {
  'fs-reads': FileReadsSpec;
  'pgaio-reads': FileReadsSpec;
  'file-handles': FileHandlesSpec;
  'file-streams': FileStreamsSpec;
  'file-cache': FileCacheSpec;
  hits: HitsSpec;
  stream: StreamSpec;
  'fs-stream': StreamSpec;
  'wal-commits': WalCommitsSpec;
  'bare-writes': BareWritesSpec;
}
export type JobName = keyof JobSpecs;
export type Job<N extends JobName> = (spec: JobSpecs[N]) => Promise<Measurement>;

/** Runs a job in a process of its own. */
export async function runJob<N extends JobName>(
  name: N,
  spec: JobSpecs[N],
  env: NodeJS.ProcessEnv = {},
): Promise<Measurement> {
  const program = fileURLToPath(new URL('./job-main.js', import.meta.url));
  const output = await runProgram(process.execPath, [program, name, JSON.stringify(spec)], {
    env: { ...process.env, ...env },
  });
  return JSON.parse(output) as Measurement;
}
