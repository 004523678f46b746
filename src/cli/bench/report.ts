/** What `pgaio bench` found: plain data, as `--json` prints it. */
import type { CellResult, Pattern } from './cells.js';
import type { FioResult } from './fio.js';
import type { Recommendation } from './recommend.js';
import type { Skipped } from './run-cells.js';

export interface BenchReport {
  readonly path: string;
  readonly isScratch: boolean;
  readonly bytes: number;
  readonly pattern: Pattern;
  readonly started: string;
  readonly machine: {
    readonly cores: number;
    readonly processor: string;
    readonly kernel: string;
    readonly node: string;
    readonly fileSystem: string;
  };
  readonly cells: readonly CellResult[];
  readonly fio: readonly FioResult[];
  readonly skipped: readonly Skipped[];
  readonly recommended: Recommendation | null;
  readonly interrupted: boolean;
}
