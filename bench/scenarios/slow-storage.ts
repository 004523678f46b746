/** Storage with a latency of 1 ms: what reading ahead is for. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IoMethodName } from '../../src/base/settings.js';
import { tableAt, type BenchTable } from '../data/table.js';
import { runJob } from '../jobs/job.js';
import { DelayedFile, whyNoDelayedFile } from '../peers/delayed-file.js';
import type { Bench, Case, Plan, Scenario } from '../scenario.js';

const LATENCY_MILLIS = 1;
const DEPTH = 16;

export const slowStorage: Scenario = {
  name: 'slow-storage',
  about: `a read stream over random blocks of storage with ${LATENCY_MILLIS} ms latency (nbdkit's delay filter)`,
  unit: 'blocks',
  missing: whyNoDelayedFile,
  plan: async (bench): Promise<Plan> => {
    const delayed = await DelayedFile.open(bench.table.files[0]!, LATENCY_MILLIS);
    const directory = mkdtempSync(join(tmpdir(), 'pgaio-slow-'));
    const table = linkedTable(directory, delayed.path);
    // The sync method has one read in flight at any depth.
    const methods = bench.methods.filter((method) => method !== 'sync');
    return {
      cases: methods.flatMap((method) => [
        depthCase(bench, table, method, DEPTH),
        depthCase(bench, table, method, 1),
      ]),
      targets: methods.map((method) => ({
        text: `${method}: 5 × depth 1`,
        of: [caseName(method, DEPTH)],
        atLeast: 5,
        over: [caseName(method, 1)],
      })),
      close: async () => {
        delayed.close();
        rmSync(directory, { recursive: true });
      },
    };
  },
};

/** A data directory whose one relation is the slow file. */
function linkedTable(directory: string, file: string): BenchTable {
  mkdirSync(join(directory, 'base/1'), { recursive: true });
  writeFileSync(join(directory, 'PG_VERSION'), '18\n');
  symlinkSync(file, join(directory, 'base/1/1'));
  return tableAt(directory, 1, 1);
}

function caseName(method: IoMethodName, depth: number): string {
  return `${method}, depth ${depth}`;
}

function depthCase(bench: Bench, table: BenchTable, method: IoMethodName, depth: number): Case {
  const settings = {
    ioMethod: method,
    ioMinWorkers: depth,
    ioMaxWorkers: depth,
    effectiveIoConcurrency: depth,
    sharedBuffers: '64MB',
  } as const;
  const { seconds } = bench;
  // So many that a repetition takes as long at any depth.
  const randomBlocks = Math.ceil((seconds * 1000) / LATENCY_MILLIS) * depth;
  const spec = {
    how: 'blocking',
    table,
    settings,
    randomBlocks,
    cold: true,
    seconds,
  } as const;
  return { name: caseName(method, depth), pageCache: 'any', measure: () => runJob('stream', spec) };
}
