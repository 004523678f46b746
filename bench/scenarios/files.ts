/** Plain files: our FileHandle and our streams against Node's, and fio. */
import { ioUringReason } from '../../src/native/io-uring-support.js';
import { BLOCK_SIZE, type IoMethodName } from '../../src/base/settings.js';
import { findProgram } from '../found.js';
import type { FileStreamsSpec } from '../jobs/file-streams.js';
import { runJob } from '../jobs/job.js';
import { fioName, runFio, type FioSpec } from '../peers/fio.js';
import type { Bench, Case, Plan, RateTarget, Scenario } from '../scenario.js';
import { ReadCases } from './read-cases.js';

const DEPTH = 64;
const LIBUV_THREADS = 4;
const FS_READ = `fs.read, pool ${LIBUV_THREADS}`;
const FILE_HANDLE_READ = `FileHandle.read, pool ${LIBUV_THREADS}`;
const MIB = 1024 ** 2;

function atLeast(factor: number, over: string, of: readonly string[]): RateTarget {
  return { text: `${factor} × ${over}`, of, atLeast: factor, over: [over] };
}

const MANY = ['io_uring, readMany', 'io_uring, readMany, I/O buffer'];

export const filesRead: Scenario = {
  name: 'files-read',
  about: `cached random 8 KiB reads of a FileHandle, ${DEPTH} in flight`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { depth: DEPTH });
    const batched = make.fio('io_uring', DEPTH);
    return {
      cases: [
        make.handle('io_uring, readMany', 'readMany', 'io_uring'),
        make.handle('io_uring, readMany, I/O buffer', 'readMany, I/O buffer', 'io_uring'),
        make.handle('io_uring, readMany, new buffers', 'readMany, new buffers', 'io_uring'),
        make.handle('io_uring, read', 'read', 'io_uring'),
        make.handle('2 workers, readMany', 'readMany', 'worker'),
        make.handle('2 workers, readMany, I/O buffer', 'readMany, I/O buffer', 'worker'),
        make.handle('2 workers, read', 'read', 'worker'),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fs('read', LIBUV_THREADS),
        batched,
      ],
      targets: [
        atLeast(4, FILE_HANDLE_READ, MANY),
        atLeast(2, FS_READ, MANY),
        atLeast(1, batched.name, ['io_uring, read']),
      ],
    };
  },
};

const DIRECT_WORKERS = 8;

export const filesDirect: Scenario = {
  name: 'files-direct',
  about: `random 8 KiB reads of a FileHandle past the page cache (O_DIRECT), ${DEPTH} in flight`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { direct: true, depth: DEPTH });
    const ours = ['io_uring, readMany', 'io_uring, read'];
    return {
      cases: [
        make.handle('io_uring, readMany', 'readMany', 'io_uring'),
        make.handle('io_uring, read', 'read', 'io_uring'),
        make.handle(`${DIRECT_WORKERS} workers, readMany`, 'readMany', 'worker', DIRECT_WORKERS),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fs('read', LIBUV_THREADS),
        make.fio('io_uring'),
      ],
      targets: [atLeast(2, FS_READ, ours)],
    };
  },
};

function streamCase(
  bench: Bench,
  name: string,
  rest: Pick<FileStreamsSpec, 'method' | 'consumer' | 'cold'> & Partial<FileStreamsSpec>,
): Case {
  const file = bench.table.files[0]!;
  const spec: FileStreamsSpec = { file, seconds: bench.seconds, ...rest };
  const missing = (rest.method as IoMethodName) === 'io_uring' ? ioUringReason() : null;
  return {
    name,
    pageCache: rest.cold ? 'nothing' : 'all',
    files: [file],
    ...(missing === null ? {} : { missing }),
    measure: () => runJob('file-streams', spec),
  };
}

function fioCase(bench: Bench, spec: Omit<FioSpec, 'pattern' | 'files'>): Case {
  const files = [bench.table.files[0]!];
  const whole: FioSpec = { pattern: 'read', files, ...spec };
  const { value, missing } = findProgram('fio');
  return {
    name: fioName(whole),
    pageCache: 'nothing',
    files,
    ...(missing === null ? {} : { missing }),
    measure: () => runFio(value ?? 'fio', whole, MIB),
  };
}

const FS_STREAM = 'fs.createReadStream';
const METHODS = ['io_uring', 'worker', 'sync'] as const;

export const filesStream: Scenario = {
  name: 'files-stream',
  about: 'a cached file from beginning to end as a stream',
  unit: 'MiB',
  plan: (bench): Plan => {
    const cached = { cold: false };
    return {
      cases: [
        ...METHODS.map((method) => streamCase(bench, method, { method, consumer: 'data', ...cached })),
        streamCase(bench, FS_STREAM, { method: 'fs', consumer: 'data', ...cached }),
        streamCase(bench, 'io_uring, for await', { method: 'io_uring', consumer: 'for await', ...cached }),
        streamCase(bench, `${FS_STREAM}, for await`, { method: 'fs', consumer: 'for await', ...cached }),
        streamCase(bench, 'io_uring, web', { method: 'io_uring', consumer: 'web', ...cached }),
        streamCase(bench, 'FileHandle.readableWebStream', { method: 'fs', consumer: 'web', ...cached }),
        streamCase(bench, 'io_uring, chunks of 256 KiB', {
          method: 'io_uring',
          consumer: 'data',
          highWaterMark: 262_144,
          ...cached,
        }),
        streamCase(bench, `${FS_STREAM}, chunks of 256 KiB`, {
          method: 'fs',
          consumer: 'data',
          highWaterMark: 262_144,
          ...cached,
        }),
      ],
      targets: [
        atLeast(1.5, FS_STREAM, ['io_uring']),
        atLeast(1.5, FS_STREAM, ['worker']),
        atLeast(1.5, `${FS_STREAM}, for await`, ['io_uring, for await']),
        atLeast(1.5, 'FileHandle.readableWebStream', ['io_uring, web']),
      ],
    };
  },
};

export const filesStreamCold: Scenario = {
  name: 'files-stream-cold',
  about: 'a file from beginning to end as a stream, from storage',
  unit: 'MiB',
  plan: (bench): Plan => {
    const cold = { cold: true, consumer: 'data' } as const;
    const limit = [
      fioCase(bench, { engine: 'io_uring', blockSize: 16 * BLOCK_SIZE, depth: 16, direct: true }),
      fioCase(bench, { engine: 'psync', blockSize: 16 * BLOCK_SIZE, depth: 1, direct: false }),
    ];
    const ours = [...METHODS, 'io_uring, direct'];
    return {
      cases: [
        ...METHODS.map((method) => streamCase(bench, method, { method, ...cold })),
        streamCase(bench, 'io_uring, direct', { method: 'io_uring', direct: true, ...cold }),
        streamCase(bench, FS_STREAM, { method: 'fs', ...cold }),
        ...limit,
      ],
      targets: [
        atLeast(1.3, FS_STREAM, ours),
        {
          text: '0.95 × the disk, as fio reads it',
          of: ours,
          atLeast: 0.95,
          over: limit.map(({ name }) => name),
        },
      ],
    };
  },
};

const CACHE_THREADS = 2;
/** Of the file, and of all caches together. */
const READ_BLOCKS = 16_384;
const CACHE_BLOCKS = 4096;

/** Four reads of five are of a fifth of the blocks: a cache of a quarter has room for these, halves of it have not. */
export const filesCache: Scenario = {
  name: 'files-cache',
  about: `${CACHE_THREADS} threads read 128 MiB at random, some of it more often: one cache of 32 MiB against one of 16 each`,
  unit: 'reads',
  plan: (bench): Plan => {
    const [file = ''] = bench.table.files;
    const blocks = Math.min(READ_BLOCKS, bench.table.blocks);
    const spec = { file, blocks, threads: CACHE_THREADS, seconds: bench.seconds, depth: 16 };
    const cases = (['io_uring', 'worker'] as const).flatMap((method) =>
      (['shared', 'own'] as const).map((how): Case => {
        const missing = method === 'io_uring' ? ioUringReason() : null;
        const cacheBlocks = Math.min(CACHE_BLOCKS, blocks / 4);
        return {
          name: `${method}, ${how === 'shared' ? 'one cache' : 'a cache each'}`,
          pageCache: 'all',
          files: [file],
          ...(missing === null ? {} : { missing }),
          measure: () => runJob('file-cache', { ...spec, how, method, cacheBlocks }),
        };
      }),
    );
    return { cases, targets: [] };
  },
};
