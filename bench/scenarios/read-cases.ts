/** Cases of random reads: ours, Node's own functions, and fio. */
import { supportedMethods } from '../../src/instance/methods.js';
import { ioUringReason } from '../../src/native/io-uring-support.js';
import { BLOCK_SIZE, type IoMethodName } from '../../src/base/settings.js';
import { NO_ADDON_VARIABLE } from '../../src/native/addon.js';
import { findProgram } from '../found.js';
import type { FileHandlesSpec } from '../jobs/file-handles.js';
import type { FileReadsSpec } from '../jobs/file-reads.js';
import { runJob } from '../jobs/job.js';
import { fioName, runFio, type FioSpec } from '../peers/fio.js';
import type { Bench, Case, PageCache } from '../scenario.js';

/** Of what is to stay in the page cache, or is read past it. */
const BYTES_MAX = 512 * 1024 ** 2;

export interface ReadKind {
  /** Past the page cache. */
  readonly direct?: boolean;
  /** Through the page cache, but from storage; of the whole table, so that it does not become warm. */
  readonly cold?: boolean;
  readonly blockSize?: number;
  /** Reads in flight. */
  readonly depth: number;
}

interface OurVariant {
  readonly workers?: number;
  readonly punt?: boolean;
  readonly withoutAddon?: boolean;
}

/** Makes cases over the beginning of the table's first file, or over all of the table. */
export class ReadCases {
  readonly #bench: Bench;
  readonly #pageCache: PageCache;
  readonly #base: Omit<FileReadsSpec, 'how'>;

  constructor(bench: Bench, { direct = false, cold = false, blockSize = BLOCK_SIZE, depth }: ReadKind) {
    const { table } = bench;
    const bytes = table.blocks * BLOCK_SIZE;
    this.#bench = bench;
    this.#pageCache = cold ? 'nothing' : direct ? 'any' : 'all';
    this.#base = {
      files: cold ? table.files : [table.files[0]!],
      blocks: Math.floor((cold ? bytes : Math.min(bytes, BYTES_MAX)) / blockSize),
      blockSize,
      direct,
      cold,
      depth,
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

  pgaio(name: string, how: FileReadsSpec['how'], method: IoMethodName, variant: OurVariant = {}): Case {
    const { withoutAddon = false, ...rest } = variant;
    const depth = method === 'sync' ? 1 : this.#base.depth;
    const spec = { ...this.#base, ...rest, how, method, depth };
    const env = withoutAddon ? { [NO_ADDON_VARIABLE]: '1' } : {};
    return this.#ours(name, method, () => runJob('pgaio-reads', spec, env));
  }

  /** Ours with the methods of Node's FileHandle. */
  handle(name: string, how: FileHandlesSpec['how'], method: IoMethodName, workers?: number): Case {
    const spec = { ...this.#base, how, method, ...(workers === undefined ? {} : { workers }) };
    return this.#ours(name, method, () => runJob('file-handles', spec));
  }

  #ours(name: string, method: IoMethodName, measure: Case['measure']): Case {
    const missing = supportedMethods().includes(method) ? null : ioUringReason();
    return { name, pageCache: this.#pageCache, ...(missing === null ? {} : { missing }), measure };
  }

  fio(engine: FioSpec['engine'], batch?: number): Case {
    const { files, blocks, blockSize, depth, direct, cold } = this.#base;
    const spec: FioSpec = {
      engine,
      pattern: 'randread',
      blockSize,
      depth,
      direct,
      files,
      ...(cold === true ? { once: true } : { bytes: blocks * blockSize }),
      seconds: this.#bench.seconds,
      ...(batch === undefined ? {} : { batch }),
    };
    const { value, missing } = findProgram('fio');
    return {
      name: fioName(spec),
      pageCache: this.#pageCache,
      ...(missing === null ? {} : { missing }),
      measure: () => runFio(value ?? 'fio', spec, blockSize),
    };
  }
}
