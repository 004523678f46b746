/**
 * A scenario compares cases: the same work done by us and by peers. Its cases are run in turns (A B C, A B C, ...),
 * each in a process of its own, and judged by the ratio of their medians.
 */
import type { IoMethodName } from '../src/base/settings.js';
import type { Found } from './found.js';
import type { Measurement } from './measurement.js';
import type { Postgres } from './peers/postgres.js';
import type { BenchTable } from './data/table.js';

/** What the machine offers, and how long to measure. */
export interface Bench {
  readonly methods: readonly IoMethodName[];
  readonly table: BenchTable;
  /** A PostgreSQL 18 that can serve the table's cluster. */
  readonly postgres: Found<Postgres>;
  /** Where the scenarios of the WAL may make directories, on a file system whose syncs reach a device. */
  readonly walDirectory: string;
  /** Length of the measured part of a repetition; work that cannot be cut short is done once. */
  readonly seconds: number;
}

/** What the page cache holds of the case's files when it starts. */
export type PageCache = 'all' | 'nothing' | 'any';

export interface Case {
  readonly name: string;
  readonly pageCache: PageCache;
  /** What it reads. Default: the table's files. */
  readonly files?: readonly string[];
  /** Why it cannot run here. */
  readonly missing?: string;
  measure(): Promise<Measurement>;
}

/** The fastest of the cases `of` is to reach `atLeast`: times the fastest of the cases `over`, or operations a second. */
export interface RateTarget {
  readonly text: string;
  readonly of: readonly string[];
  readonly atLeast: number;
  readonly over?: readonly string[];
}

/** The fastest of the cases `of` is to use at most this share of the CPU an operation that the fastest of `over` uses. */
export interface CpuTarget {
  readonly text: string;
  readonly of: readonly string[];
  readonly atMostCpu: number;
  readonly over: readonly string[];
}

/** The fastest of the cases `of` is to take at most so many times as long an operation as the fastest of `over`: medians. */
export interface LatencyTarget {
  readonly text: string;
  readonly of: readonly string[];
  readonly atMostLatency: number;
  readonly over: readonly string[];
}

export type Target = RateTarget | CpuTarget | LatencyTarget;

export interface Plan {
  readonly cases: readonly Case[];
  readonly targets: readonly Target[];
  /** Ends what the plan started. */
  readonly close?: () => Promise<void>;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** What is counted, in the plural. */
  readonly unit: string;
  /** Why the whole scenario cannot run here. */
  missing?(bench: Bench): string | null;
  plan(bench: Bench): Plan | Promise<Plan>;
}
