/** Runs cells through the library as a program uses it: an instance a method, a FileHandle, one promise an I/O. */
import type { IoMethodName } from '../../base/settings.js';
import { createInstance, type Instance } from '../../instance/instance.js';
import type { FileHandle } from '../../file/file-handle.js';
import type { IoBuffer } from '../../file/io-buffer.js';
import type { BenchFile } from './bench-file.js';
import { latenciesOf, type Cell, type CellResult } from './cells.js';

/** Of the time of a cell, and before it: workers start, code is compiled. */
const WARM_UP_SHARE = 0.2;
/** More I/Os of a cell than anybody's disk does in the time are counted, and not sampled. */
const SAMPLES_MAX = 2 ** 20;

export interface Skipped {
  readonly what: string;
  readonly reason: string;
}

export interface RunOptions {
  readonly file: BenchFile;
  readonly seconds: number;
  readonly depthMax: number;
  readonly sizeMax: number;
  readonly signal: AbortSignal;
  /** Told before each. */
  readonly starting: (cell: Cell) => void;
}

export class CellRunner {
  readonly skipped: Skipped[] = [];
  readonly #options: RunOptions;
  readonly #instances = new Map<IoMethodName, Instance>();
  readonly #samples = new Float64Array(SAMPLES_MAX);
  readonly #impossible = new Set<string>();

  constructor(options: RunOptions) {
    this.#options = options;
  }

  /** Null: it cannot be done here, which `skipped` says once, or it was interrupted. */
  async run(cell: Cell): Promise<CellResult | null> {
    const { file, signal, starting } = this.#options;
    const kind = `${cell.access} ${cell.operation === 'read' ? 'reads' : 'writes'}`;
    if (signal.aborted || this.#impossible.has(kind)) return null;
    starting(cell);
    const instance = await this.#instanceOf(cell.method);
    let handle: FileHandle;
    try {
      const flags = cell.operation === 'read' ? 'r' : 'r+';
      handle = await instance.backend.openFile(file.path, { flags, direct: cell.access === 'direct' });
    } catch (error) {
      return this.#skip(kind, (error as Error).message);
    }
    try {
      if (cell.access === 'cold') {
        const refusal = file.drop();
        if (refusal !== null) return this.#skip(kind, refusal);
      } else if (cell.access === 'cached' && cell.operation === 'read') await this.#warm(handle, cell);
      const result = await this.#measure(instance, handle, cell);
      return signal.aborted ? null : result;
    } finally {
      await handle.close();
    }
  }

  #skip(what: string, reason: string): null {
    this.#impossible.add(what);
    this.skipped.push({ what, reason });
    return null;
  }

  async #instanceOf(method: IoMethodName): Promise<Instance> {
    let instance = this.#instances.get(method);
    if (instance !== undefined) return instance;
    const { depthMax, sizeMax } = this.#options;
    instance = await createInstance({
      ioMethod: method,
      ioMaxConcurrency: depthMax + 2,
      ioMemory: Math.max(2 ** 20, 2 * depthMax * sizeMax),
      sharedBuffers: '128kB', // the pool is not used
    });
    this.#instances.set(method, instance);
    return instance;
  }

  /** Reads all that the cell may read. What is in the page cache already goes fast. */
  async #warm(handle: FileHandle, { size }: Cell): Promise<void> {
    const { file, signal } = this.#options;
    const bytes = file.bytes - (file.bytes % size);
    for await (const _ of handle.createReadStream({ start: 0, end: bytes - 1, autoClose: false }))
      if (signal.aborted) return;
  }

  async #measure(instance: Instance, handle: FileHandle, cell: Cell): Promise<CellResult> {
    const { depth, size } = cell;
    const buffers = Array.from({ length: depth }, () => instance.backend.allocateIoBuffer(size));
    const positions = new Positions(cell, this.#options.file.bytes);
    const millis = this.#options.seconds * 1000;
    // Of what is cold, each place is read once: a warm-up might leave none.
    const from = performance.now() + (cell.access === 'cold' ? 0 : WARM_UP_SHARE * millis);
    let cpu: NodeJS.CpuUsage | null = null;
    let started = Infinity;
    let until = Infinity;
    let ops = 0;
    const worker = async ({ bytes }: IoBuffer): Promise<void> => {
      for (let begun = performance.now(); begun < until && !this.#options.signal.aborted;) {
        const position = positions.next();
        if (position < 0) return;
        if (cpu === null && begun >= from) {
          cpu = process.cpuUsage();
          started = begun;
          until = begun + millis; // from here, whenever that is: something is always measured
        }
        await doOne(handle, cell, bytes, position);
        const ended = performance.now();
        if (begun >= started) {
          if (ops < SAMPLES_MAX) this.#samples[ops] = (ended - begun) * 1000;
          ops++;
        }
        begun = ended;
      }
    };
    try {
      await Promise.all(buffers.map(worker));
    } finally {
      for (const buffer of buffers) buffer.release();
    }
    await new Promise(setImmediate); // signals, where no I/O gave the loop a turn
    const seconds = (performance.now() - started) / 1000;
    const { user, system } = process.cpuUsage(cpu ?? process.cpuUsage());
    return {
      ...cell,
      ops,
      seconds,
      opsPerSecond: ops / seconds,
      bytesPerSecond: (ops * size) / seconds,
      micros: latenciesOf(this.#samples.slice(0, Math.min(ops, SAMPLES_MAX))),
      cpu: (user + system) / 1e6 / seconds,
    };
  }

  async close(): Promise<void> {
    for (const instance of this.#instances.values()) await instance.close();
  }
}

async function doOne(handle: FileHandle, cell: Cell, bytes: Uint8Array, position: number): Promise<void> {
  if (cell.operation === 'read') {
    await handle.read(bytes, 0, bytes.length, position);
    return;
  }
  await handle.write(bytes, 0, bytes.length, position);
  if (cell.operation === 'commit') await handle.datasync();
}

/** Where the I/Os go: aligned to their size. Of what is cold, sequentially, each place once. */
class Positions {
  readonly #cell: Cell;
  readonly #places: number;
  #next = 0;
  #state = 0x9e37_79b9;

  constructor(cell: Cell, fileBytes: number) {
    this.#cell = cell;
    this.#places = Math.max(1, Math.floor(fileBytes / cell.size));
  }

  /** -1: there are no more. */
  next(): number {
    const { pattern, access, size, operation } = this.#cell;
    if (pattern === 'random') return this.#random() * size;
    if (this.#next === this.#places) {
      if (access === 'cold' && operation === 'read') return -1;
      this.#next = 0;
    }
    return this.#next++ * size;
  }

  /** xorshift; the same places in each cell. */
  #random(): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return Math.floor(((this.#state >>> 0) / 2 ** 32) * this.#places);
  }
}
