/** What a verification found: gathered while it runs, and given as one plain object at its end. */
import type { IoMethodName } from '../../base/settings.js';
import type { ScanProblem } from './cluster/scan-roots.js';
import type { BadBlock, Block, Findings } from './job/protocol.js';

export const ExitCode = { GOOD: 0, BAD_BLOCKS: 1, NOT_DONE: 2, INTERRUPTED: 130 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Where there are several, which data directory a path is relative to. */
interface InDirectory {
  readonly dataDirectory?: string;
}

export interface IoReport {
  /** Of all threads of the process, while it verified. */
  readonly cpuSeconds: number;
  /** Reads that were carried out, and their bytes. */
  readonly reads: number;
  readonly readBytes: number;
  /** How often a job had to wait for a read. */
  readonly waits: number;
  /** How often an I/O worker opened a file. */
  readonly reopens: number;
  /** Reads that ran in the issuing thread though the method is asynchronous. */
  readonly inlineExecutions: number;
  readonly workers: number;
  readonly jobs: number;
  readonly chunkBytes: number;
  readonly depth: number;
  readonly direct: boolean;
}

export interface VerifyReport {
  readonly method: IoMethodName;
  /** Why this method; empty when it was asked for. */
  readonly methodReason: string;
  /** As given. */
  readonly paths: readonly string[];
  /** Whether a server may have been changing the files. */
  readonly online: boolean;
  readonly files: number;
  /** Blocks that were judged, new pages included. */
  readonly blocks: number;
  readonly bytes: number;
  /** Blocks with a wrong checksum: the length of `failures`. */
  readonly bad: number;
  /** Blocks with a right checksum over a header that cannot be: the length of `structuralBlocks`. */
  readonly structural: number;
  /** Blocks that looked bad and were right, or gone, when they were read again. */
  readonly inFlux: number;
  /** Files and directories that could not be read, wholly or in part. */
  readonly unreadable: number;
  readonly failures: readonly (BadBlock & InDirectory)[];
  readonly structuralBlocks: readonly (Block & InDirectory)[];
  readonly problems: readonly ScanProblem[];
  /** Blocks that were in doubt when the verification was interrupted. */
  readonly undecided: number;
  readonly interrupted: boolean;
  /** Why it ended before its time, or null. */
  readonly crash: string | null;
  readonly seconds: number;
  readonly io: IoReport;
  readonly exitCode: ExitCode;
}

/** What changes while it runs. */
export class Tally {
  files = 0;
  blocks = 0;
  bytes = 0;
  inFlux = 0;
  readonly failures: (BadBlock & InDirectory)[] = [];
  readonly structuralBlocks: (Block & InDirectory)[] = [];
  readonly problems: ScanProblem[] = [];
  readonly #namesDirectory: boolean;

  /** `dataDirectories`: how many there are. */
  constructor(dataDirectories: number) {
    this.#namesDirectory = dataDirectories > 1;
  }

  /** Adds what a job found, and returns what of it is news to print. */
  add(found: Findings): { bad: (BadBlock & InDirectory)[]; structural: (Block & InDirectory)[] } {
    this.files += found.files;
    this.blocks += found.blocks;
    this.bytes += found.bytes;
    this.inFlux += found.inFlux;
    const bad = found.bad.map((block) => this.#place(block));
    const structural = found.structural.map((block) => this.#place(block));
    this.failures.push(...bad);
    this.structuralBlocks.push(...structural);
    return { bad, structural };
  }

  #place<T extends Block & { readonly dataDirectory: string | null }>(
    block: T,
  ): Omit<T, 'dataDirectory'> & InDirectory {
    const { dataDirectory, ...rest } = block;
    return this.#namesDirectory && dataDirectory !== null ? { ...rest, dataDirectory } : rest;
  }

  /** Different files and directories among the problems. */
  get unreadable(): number {
    return new Set(this.problems.map(({ path }) => path)).size;
  }

  sort(): void {
    this.failures.sort(byPlace);
    this.structuralBlocks.sort(byPlace);
  }
}

function byPlace(left: Block & InDirectory, right: Block & InDirectory): number {
  return (
    compare(left.dataDirectory ?? '', right.dataDirectory ?? '') ||
    compare(left.path, right.path) ||
    left.block - right.block
  );
}

function compare(left: string, right: string): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

export function exitCodeFor(
  end: Pick<VerifyReport, 'crash' | 'interrupted' | 'bad' | 'unreadable'>,
): ExitCode {
  if (end.crash !== null) return ExitCode.NOT_DONE;
  if (end.interrupted) return ExitCode.INTERRUPTED;
  if (end.bad > 0) return ExitCode.BAD_BLOCKS;
  return end.unreadable > 0 ? ExitCode.NOT_DONE : ExitCode.GOOD;
}
