/**
 * From what was measured to settings. What is within noise of the best is as good: of such, the method that `auto` takes,
 * and the smallest depth.
 */
import type { InstanceSettings, IoMethodName } from '../../base/settings.js';
import { formatBytes, formatRate } from '../output/format.js';
import type { Access, CellResult } from './cells.js';

/** Cells are short: what differs by less says nothing. */
const NOISE = 0.1;
/** Past the page cache is worth it only if it is clearly faster: then memory must be managed by the program. */
const DIRECT_GAIN = 1.2;

export interface Recommendation {
  readonly settings: InstanceSettings;
  /** Open files with `direct`. */
  readonly direct: boolean;
  /** A sentence for each, and for what could not be said. */
  readonly reasons: readonly string[];
}

const rateOf = (cell: CellResult): string =>
  `${Math.round(cell.opsPerSecond)} reads/s, ${formatRate(cell.bytesPerSecond, 1)}`;

export function recommendFrom(cells: readonly CellResult[], auto: IoMethodName): Recommendation | null {
  const reads = cells.filter(({ operation }) => operation === 'read');
  const small = Math.min(...reads.map(({ size }) => size));
  const of = (access: Access): CellResult[] =>
    reads.filter((cell) => cell.access === access && cell.size === small);
  // What waits for the disk decides. What is cached is fast in any way.
  const [access, judged] =
    of('cold').length > 0
      ? ['cold', of('cold')]
      : of('direct').length > 0
        ? ['direct', of('direct')]
        : ['cached', of('cached')];
  const best = fastest(judged);
  if (best === null) return null;
  const asGood = judged.filter(({ opsPerSecond }) => opsPerSecond >= best.opsPerSecond * (1 - NOISE));
  const chosen = asGood.toSorted(
    (a, b) =>
      Number(b.method === auto) - Number(a.method === auto) ||
      a.depth - b.depth ||
      b.opsPerSecond - a.opsPerSecond,
  )[0] as CellResult;
  const reasons = [
    `ioMethod '${chosen.method}': ${rateOf(chosen)}, of ${formatBytes(small)} each, ${access}, with ${chosen.depth} in flight` +
      (chosen === best ? '.' : `; the fastest was '${best.method}' with ${best.depth}: ${rateOf(best)}.`),
  ];
  const one = judged.find(({ method, depth }) => method === chosen.method && depth === 1);
  if (one !== undefined && chosen.depth > 1)
    reasons.push(
      `effectiveIoConcurrency ${chosen.depth}: ${(chosen.opsPerSecond / one.opsPerSecond).toFixed(1)} times one at a time; ` +
        (judged.some(({ depth }) => depth > chosen.depth)
          ? `more in flight gains less than ${NOISE * 100} %.`
          : 'more was not measured.'),
    );
  const direct = directGain(of('direct'), of('cold'), reasons);
  const settings: InstanceSettings = { ioMethod: chosen.method, effectiveIoConcurrency: chosen.depth };
  return { settings, direct, reasons };
}

function fastest(cells: readonly CellResult[]): CellResult | null {
  return cells.reduce<CellResult | null>(
    (best, cell) => (best === null || cell.opsPerSecond > best.opsPerSecond ? cell : best),
    null,
  );
}

function directGain(direct: readonly CellResult[], cold: readonly CellResult[], reasons: string[]): boolean {
  const past = fastest(direct);
  const through = fastest(cold);
  if (past === null || through === null) return false;
  const gain = past.opsPerSecond / through.opsPerSecond;
  const isWorth = gain >= DIRECT_GAIN;
  reasons.push(
    `direct ${isWorth}: past the page cache ${rateOf(past)}, through it and cold ${rateOf(through)} (${gain.toFixed(2)} times).` +
      (isWorth ? ' Only where what is read again is cached by the program, as in its shared buffers.' : ''),
  );
  return isWorth;
}
