/**
 * What the main thread and the job threads tell each other. A job asks for work when it has taken the last of
 * what it was given; it is told to finish once there is no more. Everything is plain data.
 */
import type { InstanceHandle } from '../../../instance/shared-state.js';

/** A part of a segment file, of at most some megabytes. */
export interface ScanRange {
  /** Absolute. */
  readonly path: string;
  /** For messages; relative to the data directory. */
  readonly displayPath: string;
  /** Null where none was found around the file. */
  readonly dataDirectory: string | null;
  readonly position: number;
  /** Whole blocks, and a multiple of the alignment of direct I/O; the file may end before. */
  readonly length: number;
  readonly blockSize: number;
  /** Number, in the relation's fork, of the first block of the file. */
  readonly segmentFirstBlock: number;
  /** A server may be changing the file. */
  readonly online: boolean;
}

/** `start` comes first, and may be missing if there is nothing to do. */
export type ToJob =
  { readonly start: JobData } | { readonly ranges: readonly ScanRange[] } | { readonly finish: true };

export interface Block {
  readonly path: string;
  /** Counted inside the file. */
  readonly block: number;
}

/** A block whose checksum is wrong, however often it is read. */
export interface BadBlock extends Block {
  readonly stored: number;
  readonly computed: number;
}

export interface JobProblem {
  readonly path: string;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** What a job found since it last told. */
export interface Findings {
  files: number;
  /** Whole blocks that were judged. */
  blocks: number;
  bytes: number;
  /** Blocks that were in doubt and then, read again, were right, or gone. */
  inFlux: number;
  /** Bad blocks, by their data directory where there are several. */
  readonly bad: (BadBlock & { readonly dataDirectory: string | null })[];
  /** Blocks with a right checksum over a header that cannot be. */
  readonly structural: (Block & { readonly dataDirectory: string | null })[];
  readonly problems: JobProblem[];
}

export interface FromJob {
  readonly wantsWork?: boolean;
  readonly findings?: Findings;
  /** The last message of a job. */
  readonly end?: {
    /** How often the job had to wait for an I/O. */
    readonly waits: number;
    /** Blocks that were still in doubt when it was stopped. */
    readonly undecided: number;
  };
}

export interface JobData {
  readonly handle: InstanceHandle;
  readonly control: SharedArrayBuffer;
  readonly chunkBytes: number;
  readonly depth: number;
  readonly direct: boolean;
}

export function noFindings(): Findings {
  return { files: 0, blocks: 0, bytes: 0, inFlux: 0, bad: [], structural: [], problems: [] };
}
