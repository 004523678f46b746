/** The child process of a case: `job-main.js NAME SPECIFICATION`. */
import { fsReads } from './file-reads.js';
import { hits } from './hits.js';
import type { Job, JobName, JobSpecs } from './job.js';
import { pgaioReads } from './pgaio-reads.js';
import { fsStream, stream } from './stream.js';

const jobs: { [N in JobName]: Job<N> } = {
  'fs-reads': fsReads,
  'pgaio-reads': pgaioReads,
  hits,
  stream,
  'fs-stream': fsStream,
};

async function runNamed<N extends JobName>(name: N, spec: string): Promise<void> {
  const measurement = await jobs[name](JSON.parse(spec) as JobSpecs[N]);
  process.stdout.write(`${JSON.stringify(measurement)}\n`);
}

const [name = '', spec = ''] = process.argv.slice(2);
await runNamed(name as JobName, spec);
