/**
 * Verifies the checksums of all pages below some paths: the job behind `pgaio verify`, without its output.
 *
 *   listing ─▶ work list ─▶ job threads ─▶ streams of reads through handles ─▶ completion judges the pages
 *   (main thread)  batches    (each a backend)      (FILE target)               (in whichever thread completes)
 *
 * The main thread lists files and gathers findings; it never waits for a file's contents, so that signals and
 * the progress bar are served at any time.
 */
import { closeSync, constants as fsConstants, openSync } from 'node:fs';
import { PgaioError, SettingError } from '../../base/errors.js';
import type { IoMethodName } from '../../base/settings.js';
import { createInstance, type Instance } from '../../instance/instance.js';
import { chooseMethod } from '../../instance/methods.js';
import type { CounterSnapshot } from '../../stats/counters.js';
import { listRelationFiles, type RelationFile } from './cluster/relation-files.js';
import { findScanRoots, type ScanProblem, type ScanRoot } from './cluster/scan-roots.js';
import { JobThreads } from './job/job-threads.js';
import type { BadBlock, Block, Findings } from './job/protocol.js';
import { RunControl } from './job/run-control.js';
import { exitCodeFor, Tally, type IoReport, type VerifyReport } from './report.js';
import { tune, type Tuning } from './tuning.js';
import { isOnline, WorkList } from './work-list.js';

export interface VerifyOptions {
  /** Data directories, tablespaces, directories below them, or segment files. */
  readonly paths: readonly string[];
  /** Default `auto`. */
  readonly method?: IoMethodName | 'auto' | undefined;
  /** Threads that issue reads. Default: what suits the method and the machine. */
  readonly jobs?: number | undefined;
  /** Past the page cache. Default false. */
  readonly direct?: boolean | undefined;
  /** Bytes a second, over all jobs. Default: no limit. */
  readonly rate?: number | undefined;
  /** Only files of relations with this file number. */
  readonly filenode?: number | undefined;
  /** Ends the verification early; the report then covers what was done so far. */
  readonly signal?: AbortSignal | undefined;
  readonly watcher?: Partial<VerifyWatcher> | undefined;
  /** URL of a module with hooks for tests. */
  readonly injection?: string | undefined;
}

export interface Progress {
  readonly files: number;
  readonly bytes: number;
  readonly bad: number;
  /** Of all files listed so far. */
  readonly totalBytes: number;
  /** Whether that is all. */
  readonly listed: boolean;
}

/** Told what happens, when it happens. */
export interface VerifyWatcher {
  /** It was listed, and is going to be read. */
  file(file: RelationFile): void;
  /** Reading is about to begin. */
  started(how: { method: IoMethodName; methodReason: string; tuning: Tuning; online: boolean }): void;
  progress(progress: Progress): void;
  bad(block: BadBlock & { dataDirectory?: string }): void;
  structural(block: Block & { dataDirectory?: string }): void;
  problem(problem: ScanProblem): void;
}

/** Nothing that is wrong with the files or paths throws; an option that cannot be honoured does. */
export async function verifyPaths(options: VerifyOptions): Promise<VerifyReport> {
  if (options.paths.length === 0) throw new SettingError('no path was given');
  const method = chooseMethod(options.method ?? 'auto');
  const tuning = tune(method.name, { jobs: options.jobs, rate: options.rate ?? 0 });
  const { roots, problems } = await findScanRoots(options.paths);
  const refusals = new Map<string, ScanProblem>();
  const usable = roots.filter((root) => {
    const refusal = whyNotVerifiable(root, options.direct ?? false);
    if (refusal !== null) refusals.set(refusal.path, refusal);
    return refusal === null;
  });
  return new Verification(options, method, tuning, usable).run([...problems, ...refusals.values()]);
}

class Verification {
  readonly #options: VerifyOptions;
  readonly #method: { name: IoMethodName; reason: string };
  readonly #tuning: Tuning;
  readonly #roots: readonly ScanRoot[];
  readonly #tally: Tally;
  readonly #work = new WorkList();
  readonly #control: RunControl;
  readonly #online: boolean;

  constructor(
    options: VerifyOptions,
    method: { name: IoMethodName; reason: string },
    tuning: Tuning,
    roots: readonly ScanRoot[],
  ) {
    this.#options = options;
    this.#method = method;
    this.#tuning = tuning;
    this.#roots = roots;
    this.#tally = new Tally(new Set(roots.map(({ cluster }) => cluster.dataDirectory)).size);
    this.#control = RunControl.create(options.rate ?? 0);
    this.#online = roots.some(({ cluster }) => isOnline(cluster));
  }

  async run(problems: readonly ScanProblem[]): Promise<VerifyReport> {
    const started = performance.now();
    const cpuBefore = process.cpuUsage();
    for (const problem of problems) this.#problem(problem);
    const outcome = this.#roots.length === 0 ? NOTHING_DONE : await this.#readEverything();
    const { user, system } = process.cpuUsage(cpuBefore);
    const tally = this.#tally;
    tally.sort();
    const { undecided, interrupted, crash } = outcome;
    const bad = tally.failures.length;
    const { unreadable } = tally;
    return {
      method: this.#method.name,
      methodReason: this.#method.reason,
      paths: this.#options.paths,
      online: this.#online,
      files: tally.files,
      blocks: tally.blocks,
      bytes: tally.bytes,
      bad,
      structural: tally.structuralBlocks.length,
      inFlux: tally.inFlux,
      unreadable,
      failures: tally.failures,
      structuralBlocks: tally.structuralBlocks,
      problems: tally.problems,
      undecided,
      interrupted,
      crash,
      seconds: (performance.now() - started) / 1000,
      io: this.#ioReport(outcome, (user + system) / 1e6),
      exitCode: exitCodeFor({ bad, unreadable, interrupted, crash }),
    };
  }

  #ioReport({ counters, workers, waits }: Outcome, cpuSeconds: number): IoReport {
    const { jobs, chunkBytes, depth } = this.#tuning;
    const { reads = 0, readBytes = 0, reopens = 0, inlineExecutions = 0 } = counters;
    const direct = this.#options.direct ?? false;
    return {
      cpuSeconds,
      reads,
      readBytes,
      waits,
      reopens,
      // The sync method has no other way.
      inlineExecutions: this.#method.name === 'sync' ? 0 : inlineExecutions,
      workers,
      jobs,
      chunkBytes,
      depth,
      direct,
    };
  }

  /** Everything that can begins at once: jobs load their modules while the instance is made and files are listed. */
  async #readEverything(): Promise<Outcome> {
    const { signal } = this.#options;
    const threads = new JobThreads(this.#tuning.jobs, (findings) => this.#found(findings));
    const making = createInstance(this.#instanceSettings());
    const stop = (): void => this.#stop(threads);
    signal?.addEventListener('abort', stop);
    if (signal?.aborted === true) stop();
    const starting = making.then((instance) => this.#start(instance, threads));
    try {
      await Promise.all([starting, this.#work.fill(this.#list()), this.#handOut(threads)]);
      return await this.#outcome(await making, threads);
    } finally {
      signal?.removeEventListener('abort', stop);
      this.#stop(threads);
      await threads.finish();
      await making.then(closeOrWhyNot, () => null);
    }
  }

  async #outcome(instance: Instance, { waits, undecided, failure }: JobThreads): Promise<Outcome> {
    const counters = instance.backend.counters();
    const workers = instance.workerCount;
    const notClosed = await closeOrWhyNot(instance);
    const crash = (failure ?? notClosed)?.message ?? null;
    const interrupted = this.#options.signal?.aborted === true;
    return { waits, undecided, counters, workers, crash, interrupted };
  }

  #start({ handle }: Instance, threads: JobThreads): void {
    const { chunkBytes, depth } = this.#tuning;
    const { direct = false, watcher } = this.#options;
    threads.start({ handle, control: this.#control.memory, chunkBytes, depth, direct });
    watcher?.started?.({
      method: this.#method.name,
      methodReason: this.#method.reason,
      tuning: this.#tuning,
      online: this.#online,
    });
  }

  async #handOut(threads: JobThreads): Promise<void> {
    for (let batch = await this.#work.take(); batch !== null; batch = await this.#work.take()) {
      if (!(await threads.wantWork(() => this.#control.stopped))) break;
      threads.give(batch);
    }
    if (threads.failure !== null) this.#stop(threads);
    await threads.finish();
  }

  #stop(threads: JobThreads): void {
    this.#control.stop();
    this.#work.stop();
    threads.poke();
  }

  #instanceSettings(): Parameters<typeof createInstance>[0] {
    const { jobs, workers, chunkBytes, depth } = this.#tuning;
    return {
      ioMethod: this.#method.name,
      ioMinWorkers: workers,
      ioMaxWorkers: workers,
      ioMaxConcurrency: depth + 2, // the stream's, and the block in doubt
      ioMemory: jobs * (depth * chunkBytes + 64 * 1024),
      maxBackends: jobs + 1,
      sharedBuffers: '128kB', // the pool is not used
      injection: this.#options.injection ?? null,
    };
  }

  #list(): ReturnType<typeof listRelationFiles> {
    const { filenode, watcher } = this.#options;
    return listRelationFiles(this.#roots, {
      filenode,
      onFile: watcher?.file,
      onProblem: (problem) => this.#problem(problem),
    });
  }

  #problem(problem: ScanProblem): void {
    this.#tally.problems.push(problem);
    this.#options.watcher?.problem?.(problem);
  }

  #found(findings: Findings): void {
    const { watcher } = this.#options;
    const { bad, structural } = this.#tally.add(findings);
    for (const block of bad) watcher?.bad?.(block);
    for (const block of structural) watcher?.structural?.(block);
    for (const problem of findings.problems) this.#problem(problem);
    watcher?.progress?.({
      files: this.#tally.files,
      bytes: this.#tally.bytes,
      bad: this.#tally.failures.length,
      totalBytes: this.#work.bytes,
      listed: this.#work.complete,
    });
  }
}

interface Outcome {
  readonly waits: number;
  readonly undecided: number;
  readonly interrupted: boolean;
  readonly crash: string | null;
  readonly counters: Partial<CounterSnapshot>;
  readonly workers: number;
}

const NOTHING_DONE: Outcome = {
  waits: 0,
  undecided: 0,
  interrupted: false,
  crash: null,
  counters: {},
  workers: 0,
};

/** A crashed instance cannot be closed in order, and says why. */
async function closeOrWhyNot(instance: Instance): Promise<Error | null> {
  try {
    await instance.close();
    return null;
  } catch (error) {
    return error as Error;
  }
}

function whyNotVerifiable({ cluster }: ScanRoot, direct: boolean): ScanProblem | null {
  const { control, dataDirectory } = cluster;
  if (control === undefined || dataDirectory === undefined) return null;
  if (!cluster.checksumsEnabled) {
    return {
      path: dataDirectory,
      message: `data checksums are not enabled in "${dataDirectory}", so there is nothing to verify`,
      hint: 'They can be enabled with "pg_checksums --enable" while the server is stopped.',
    };
  }
  return direct ? whyNotDirect(dataDirectory, control.path) : null;
}

function whyNotDirect(path: string, file: string): ScanProblem | null {
  try {
    closeSync(openSync(file, fsConstants.O_RDONLY | fsConstants.O_DIRECT));
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'EINVAL') throw new PgaioError('ERR_PGAIO_DIRECT', message, { cause: error });
    return {
      path,
      message: `the file system of "${path}" does not support direct I/O`,
      hint: 'Verify without --direct.',
    };
  }
}
