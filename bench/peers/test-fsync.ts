/**
 * pg_test_fsync: one run measures every way of syncing, a second each, and serves all cases of a repetition. A way is
 * run again only when its figure has been used.
 */
import type { Measurement } from '../measurement.js';
import type { Postgres } from './postgres.js';

/** Of its output: which table, by the writes before a sync, and the line's name. */
export interface FsyncFigure {
  readonly writes: 1 | 2;
  readonly method: string;
}

export class TestFsync {
  readonly #postgres: Pick<Postgres, 'testFsync'>;
  #figures = new Map<string, number>();

  constructor(postgres: Pick<Postgres, 'testFsync'>) {
    this.#postgres = postgres;
  }

  async measure(figure: FsyncFigure): Promise<Measurement> {
    const key = keyOf(figure);
    if (!this.#figures.has(key)) this.#figures = parseFigures(await this.#postgres.testFsync());
    const rate = this.#figures.get(key);
    if (rate === undefined) throw new Error(`pg_test_fsync says nothing of ${figure.method}`);
    this.#figures.delete(key);
    return { ops: rate, seconds: 1, cpuSeconds: null, checked: 0 };
  }
}

function keyOf({ writes, method }: FsyncFigure): string {
  return `${writes} ${method}`;
}

/** Operations a second, by number of writes and method. */
export function parseFigures(output: string): Map<string, number> {
  const figures = new Map<string, number>();
  let writes: 1 | 2 | null = null;
  for (const line of output.split('\n')) {
    if (line.startsWith('Compare')) {
      if (/using one 8kB write/.test(line)) writes = 1;
      else if (/using two 8kB writes/.test(line)) writes = 2;
      else writes = null;
    }
    const [, method = '', rate = ''] = /^\s+(\w+)\s+([\d.]+) ops\/sec/.exec(line) ?? [];
    if (writes !== null && rate !== '') figures.set(keyOf({ writes, method }), Number(rate));
  }
  return figures;
}
