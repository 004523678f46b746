/** Streams over a table: cached, cold, and without the I/O. */
import { BLOCK_SIZE, type InstanceSettings, type IoMethodName } from '../../src/base/settings.js';
import { streamPoolBytes } from '../data/table.js';
import { findProgram } from '../found.js';
import { runJob } from '../jobs/job.js';
import type { StreamSpec } from '../jobs/stream.js';
import { fioName, runFio, type FioSpec } from '../peers/fio.js';
import type { Bench, Case, Plan, Scenario, Target } from '../scenario.js';

const READ_BYTES = 131_072;
const DEPTH = 16;
const POSTGRES_METHODS = ['worker', 'sync', 'io_uring'] as const;

function settingsFor(bench: Bench, method: IoMethodName, workers = 2): InstanceSettings {
  return {
    ioMethod: method,
    ioMinWorkers: workers,
    ioMaxWorkers: workers,
    sharedBuffers: streamPoolBytes(bench.table),
    effectiveIoConcurrency: DEPTH,
  };
}

function cachedCase(
  bench: Bench,
  name: string,
  settings: InstanceSettings,
  how: StreamSpec['how'] = 'blocking',
  backends = 1,
): Case {
  const { table, seconds } = bench;
  const spec: StreamSpec = { how, table, settings, backends, cold: false, seconds };
  return { name, pageCache: 'all', measure: () => runJob('stream', spec) };
}

/** The cases of one of our methods, whichever this machine has. */
function methodCases(bench: Bench, method: IoMethodName): Case[] {
  const variants: [string, InstanceSettings][] =
    method === 'worker'
      ? [2, 3].map((workers) => [`${method}, ${workers} workers`, settingsFor(bench, method, workers)])
      : [[method, settingsFor(bench, method)]];
  return variants.flatMap(([name, settings]) => [
    cachedCase(bench, name, settings),
    cachedCase(bench, `${name}, for await`, settings, 'for await'),
  ]);
}

async function postgresCase(bench: Bench, method: string): Promise<Case> {
  const { value, missing } = bench.postgres;
  const reason = value === null ? missing : await value.whyNoMethod(method);
  const shared_buffers = `${streamPoolBytes(bench.table) / 1024}kB`;
  return {
    name: `PostgreSQL ${method}`,
    pageCache: 'all',
    ...(reason === null ? {} : { missing: reason }),
    measure: () => {
      if (value === null) throw new Error(missing);
      return value.prewarm(bench.table, { io_method: method, shared_buffers });
    },
  };
}

export const stream: Scenario = {
  name: 'stream',
  about: "a cached table through a smaller pool, checksums verified; PostgreSQL: pg_prewarm(table, 'buffer')",
  unit: 'blocks',
  plan: async (bench): Promise<Plan> => {
    const { table, seconds } = bench;
    const settings = settingsFor(bench, 'sync');
    const cases = [
      ...bench.methods.flatMap((method) => methodCases(bench, method)),
      ...bench.methods
        .filter((method) => method !== 'worker') // its threads would take the second core
        .flatMap((method) => [
          cachedCase(bench, `${method}, one thread`, settingsFor(bench, method), 'threads', 1),
          cachedCase(bench, `${method}, two threads`, settingsFor(bench, method), 'threads', 2),
        ]),
      ...(await Promise.all(POSTGRES_METHODS.map((method) => postgresCase(bench, method)))),
      {
        name: 'fs.createReadStream, 128 kB chunks, nothing verified',
        pageCache: 'all' as const,
        measure: () => runJob('fs-stream', { how: 'for await', table, settings, cold: false, seconds }),
      },
    ];
    return { cases, targets: streamTargets(cases.map(({ name }) => name)) };
  },
};

function streamTargets(names: readonly string[]): Target[] {
  const best = (suffix: string): string[] => names.filter((name) => name.endsWith(suffix));
  const postgres = POSTGRES_METHODS.map((method) => `PostgreSQL ${method}`);
  const twice = (method: IoMethodName): Target => ({
    text: `two backends with ${method}: 1.5 × one`,
    of: [`${method}, two threads`],
    atLeast: 1.5,
    over: [`${method}, one thread`],
  });
  const uring = { of: ['io_uring'], over: ['PostgreSQL io_uring'] };
  return [
    { text: "1.5 × PostgreSQL's io_uring", ...uring, atLeast: 1.5 },
    { text: "0.6 × the CPU of PostgreSQL's io_uring", ...uring, atMostCpu: 0.6 },
    { text: "io_uring: 1.2 × PostgreSQL's best", of: ['io_uring'], atLeast: 1.2, over: postgres },
    { text: "1.4 × PostgreSQL's worker", of: best(' workers'), atLeast: 1.4, over: ['PostgreSQL worker'] },
    { text: "1.2 × PostgreSQL's sync", of: ['sync'], atLeast: 1.2, over: ['PostgreSQL sync'] },
    { text: "for await: 1.0 × PostgreSQL's best", of: best('for await'), atLeast: 1, over: postgres },
    twice('io_uring'),
    twice('sync'),
  ];
}

export const streamBookkeeping: Scenario = {
  name: 'stream-bookkeeping',
  about: 'the same stream without I/O and without checksums: what the library itself costs',
  unit: 'blocks',
  plan: (bench): Plan => ({
    cases: [cachedCase(bench, 'no I/O, no checksum', settingsFor(bench, 'sync'), 'no I/O')],
    targets: [{ text: '2 M blocks/s', of: ['no I/O, no checksum'], atLeast: 2e6 }],
  }),
};

/** A cold sequential scan through the pool, and what fio gets out of the storage with reads of the same size. */
export const streamCold: Scenario = {
  name: 'stream-cold',
  about: `a sequential scan from storage, checksums verified; fio: reads of 128 kB, ${DEPTH} in flight`,
  unit: 'blocks',
  plan: (bench): Plan => {
    const variants = [
      { direct: false, suffix: '' },
      { direct: true, suffix: ', O_DIRECT' },
    ];
    const methods = bench.methods.map((method) => (method === 'worker' ? 'worker, 4 workers' : method));
    const cases = variants.flatMap(({ direct, suffix }) => [
      ...bench.methods.map((method, index) => coldCase(bench, method, `${methods[index]!}${suffix}`, direct)),
      coldFio(bench, direct),
    ]);
    return {
      cases,
      targets: variants.map(({ direct, suffix }) => ({
        text: `0.95 × fio${suffix}`,
        of: methods.map((name) => name + suffix),
        atLeast: 0.95,
        over: [coldFio(bench, direct).name],
      })),
    };
  },
};

function coldCase(bench: Bench, method: IoMethodName, name: string, direct: boolean): Case {
  const { table, seconds } = bench;
  const settings = { ...settingsFor(bench, method, 4), debugIoDirect: direct };
  const spec: StreamSpec = { how: 'blocking', table, settings, cold: true, seconds };
  return { name, pageCache: 'nothing', measure: () => runJob('stream', spec) };
}

function coldFio(bench: Bench, direct: boolean): Case {
  const spec: FioSpec = {
    engine: 'io_uring',
    pattern: 'read',
    blockSize: READ_BYTES,
    depth: DEPTH,
    direct,
    files: bench.table.files,
  };
  const { value, missing } = findProgram('fio');
  return {
    name: fioName(spec),
    pageCache: 'nothing',
    ...(missing === null ? {} : { missing }),
    measure: () => runFio(value ?? 'fio', spec, BLOCK_SIZE),
  };
}
