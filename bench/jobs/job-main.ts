/** The child process of a case: `job-main.js NAME SPECIFICATION`. */
import { bareWrites } from './bare-writes.js';
import { fileCache } from './file-cache.js';
import { fileHandles } from './file-handles.js';
import { fsReads } from './file-reads.js';
import { fileStreams } from './file-streams.js';
import { hits } from './hits.js';
import type { Measurement } from '../measurement.js';
import type { Job, JobName } from './job.js';
import { pgaioReads } from './pgaio-reads.js';
import { fsStream, stream } from './stream.js';
import { walCommits } from './wal-commits.js';

const jobs: { [N in JobName]: Job<N> } = {
  'fs-reads': fsReads,
  'pgaio-reads': pgaioReads,
  'file-handles': fileHandles,
  'file-streams': fileStreams,
  'file-cache': fileCache,
  hits,
  stream,
  'fs-stream': fsStream,
  'wal-commits': walCommits,
  'bare-writes': bareWrites,
};

const [name = '', spec = ''] = process.argv.slice(2);
const job = jobs[name as JobName] as (spec: unknown) => Promise<Measurement>;
process.stdout.write(`${JSON.stringify(await job(JSON.parse(spec)))}\n`);
