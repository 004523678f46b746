/** Random 8 KiB reads of a file: handles and callbacks against Node's own functions and fio. */
import { BLOCK_SIZE, type IoMethodName } from '../../src/base/settings.js';
import { findProgram } from '../found.js';
import type { FileReadsSpec } from '../jobs/file-reads.js';
import { runJob } from '../jobs/job.js';
import { fioName, runFio, type FioSpec } from '../peers/fio.js';
import type { Bench, Case, PageCache, Plan, Scenario } from '../scenario.js';

const FILE_BYTES_MAX = 512 * 1024 ** 2;
const DEPTH = 64;

/** Makes cases over the beginning of the table's first file. */
class ReadCases {
  readonly #bench: Bench;
  readonly #pageCache: PageCache;
  readonly #base: Omit<FileReadsSpec, 'how'>;

  constructor(bench: Bench, direct: boolean) {
    this.#bench = bench;
    this.#pageCache = direct ? 'any' : 'all';
    this.#base = {
      file: bench.table.files[0]!,
      blocks: Math.min(bench.table.blocks, FILE_BYTES_MAX / BLOCK_SIZE),
      blockSize: BLOCK_SIZE,
      direct,
      depth: DEPTH,
      seconds: bench.seconds,
    };
  }

  fs(how: 'readSync' | 'read' | 'FileHandle.read', threads?: number): Case {
    const env = threads === undefined ? {} : { UV_THREADPOOL_SIZE: String(threads) };
    return {
      name: `${how === 'FileHandle.read' ? how : `fs.${how}`}${threads === undefined ? '' : `, pool ${threads}`}`,
      pageCache: this.#pageCache,
      measure: () => runJob('fs-reads', { ...this.#base, how }, env),
    };
  }

  pgaio(
    name: string,
    how: 'pgaio' | 'pgaio await' | 'pgaio promises',
    method: IoMethodName,
    workers?: number,
  ): Case {
    const spec = { ...this.#base, how, method, ...(workers === undefined ? {} : { workers }) };
    const depth = method === 'sync' ? 1 : DEPTH;
    return { name, pageCache: this.#pageCache, measure: () => runJob('pgaio-reads', { ...spec, depth }) };
  }

  fio(engine: FioSpec['engine'], batch?: number): Case {
    const { file, blocks, direct } = this.#base;
    const spec: FioSpec = {
      engine,
      pattern: 'randread',
      blockSize: BLOCK_SIZE,
      depth: DEPTH,
      direct,
      files: [file],
      bytes: blocks * BLOCK_SIZE,
      seconds: this.#bench.seconds,
      ...(batch === undefined ? {} : { batch }),
    };
    const { value, missing } = findProgram('fio');
    return {
      name: fioName(spec),
      pageCache: this.#pageCache,
      ...(missing === null ? {} : { missing }),
      measure: () => runFio(value ?? 'fio', spec, BLOCK_SIZE),
    };
  }
}

export const syncRead: Scenario = {
  name: 'sync-read',
  about: 'cached random 8 KiB reads, one at a time: the sync method against fs.readSync',
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, false);
    return {
      cases: [make.pgaio('sync', 'pgaio', 'sync'), make.fs('readSync'), make.fio('psync')],
      targets: [{ text: '0.9 × fs.readSync', of: ['sync'], atLeast: 0.9, over: ['fs.readSync'] }],
    };
  },
};

const LIBUV_THREADS = 4;

export const workerRead: Scenario = {
  name: 'worker-read',
  about: `cached random 8 KiB reads, ${DEPTH} in flight: ${LIBUV_THREADS} workers against libuv's ${LIBUV_THREADS} threads`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, false);
    const workers = `${LIBUV_THREADS} workers`;
    return {
      cases: [
        make.pgaio(`${workers}, awaiting`, 'pgaio await', 'worker', LIBUV_THREADS),
        make.pgaio(`${workers}, blocking`, 'pgaio', 'worker', LIBUV_THREADS),
        make.pgaio(`${workers}, a promise each`, 'pgaio promises', 'worker', LIBUV_THREADS),
        make.fs('read', LIBUV_THREADS),
        make.fs('read', 16),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fio('io_uring', DEPTH),
      ],
      targets: [
        {
          text: '1.1 × fs.read',
          of: [`${workers}, awaiting`, `${workers}, blocking`],
          atLeast: 1.1,
          over: [`fs.read, pool ${LIBUV_THREADS}`],
        },
      ],
    };
  },
};

const DIRECT_WORKERS = 8;

export const directRead: Scenario = {
  name: 'direct-read',
  about: `random 8 KiB reads past the page cache (O_DIRECT), ${DEPTH} in flight`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, true);
    return {
      cases: [
        make.pgaio(`${DIRECT_WORKERS} workers, awaiting`, 'pgaio await', 'worker', DIRECT_WORKERS),
        make.pgaio(`${DIRECT_WORKERS} workers, blocking`, 'pgaio', 'worker', DIRECT_WORKERS),
        make.pgaio('sync (one at a time)', 'pgaio', 'sync'),
        make.fs('read', LIBUV_THREADS),
        make.fs('read', 16),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fs('readSync'),
        make.fio('io_uring'),
      ],
      targets: [
        {
          text: '1.3 × fs.read, pool 4',
          of: [`${DIRECT_WORKERS} workers, awaiting`, `${DIRECT_WORKERS} workers, blocking`],
          atLeast: 1.3,
          over: [`fs.read, pool ${LIBUV_THREADS}`],
        },
      ],
    };
  },
};
