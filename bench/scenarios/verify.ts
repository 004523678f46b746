/** The command line's `verify` of a whole cluster, as a process from its start to its end, against pg_checksums. */
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IoMethodName } from '../../src/base/settings.js';
import type { Measurement } from '../measurement.js';
import { endedChildrenCpuSeconds, runProgram } from '../processes.js';
import type { Bench, Case, PageCache, Plan, Scenario } from '../scenario.js';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
type CacheState = Pick<Case, 'pageCache' | 'files'>;
const PEER = 'pg_checksums --check';

/** The files that hold a cluster's pages, and a few others. */
function clusterFiles(dataDirectory: string): string[] {
  return ['base', 'global'].flatMap((folder) =>
    readdirSync(join(dataDirectory, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
}

function ourCase(bench: Bench, method: IoMethodName, jobs: number, cache: CacheState): Case {
  const args = ['verify', '--json', '--method', method, '--jobs', String(jobs), bench.table.dataDirectory];
  return {
    name: `verify --method ${method} --jobs ${jobs}`,
    ...cache,
    ...(existsSync(program) ? {} : { missing: 'this version has no command line' }),
    measure: async (): Promise<Measurement> => {
      const cpu = endedChildrenCpuSeconds();
      const started = performance.now();
      const report = JSON.parse(await runProgram(process.execPath, [program, ...args])) as { blocks: number };
      const seconds = (performance.now() - started) / 1000;
      return { ops: report.blocks, seconds, cpuSeconds: endedChildrenCpuSeconds() - cpu, checked: 0 };
    },
  };
}

async function peerCase(bench: Bench, cache: CacheState): Promise<Case> {
  const { value, missing } = bench.postgres;
  const reason = value === null ? missing : await value.whyNot('pg_checksums');
  return {
    name: PEER,
    ...cache,
    ...(reason === null ? {} : { missing: reason }),
    measure: () => {
      if (value === null) throw new Error(missing);
      return value.checksums();
    },
  };
}

async function planFor(bench: Bench, pageCache: PageCache, atLeast: number): Promise<Plan> {
  const jobs = [...new Set([1, availableParallelism()])];
  const cache = { pageCache, files: clusterFiles(bench.table.dataDirectory) };
  const ours = bench.methods.flatMap((method) => jobs.map((count) => ourCase(bench, method, count, cache)));
  return {
    cases: [...ours, await peerCase(bench, cache)],
    targets: [{ text: `${atLeast} × pg_checksums`, of: ours.map(({ name }) => name), atLeast, over: [PEER] }],
  };
}

export const verify: Scenario = {
  name: 'verify',
  about: 'verify of a cached cluster, the whole process',
  unit: 'blocks',
  plan: (bench) => planFor(bench, 'all', 2),
};

export const verifyCold: Scenario = {
  name: 'verify-cold',
  about: 'verify of a cluster that is read from storage, the whole process',
  unit: 'blocks',
  plan: (bench) => planFor(bench, 'nothing', 1),
};
