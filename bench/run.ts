/** Runs scenarios: their cases in turns, each repetition with the page cache as the case wants it. */
import { drop, isWarm, warm } from './data/page-cache.js';
import { summarize, type Measurement, type Summary } from './measurement.js';
import type { Bench, Case, LatencyTarget, Plan, Scenario, Target } from './scenario.js';

export interface CaseResult {
  readonly name: string;
  /** Why there are no measurements: it cannot run here, or it failed. */
  missing: string | null;
  failed: boolean;
  readonly measurements: Measurement[];
  summary: Summary | null;
}

export interface TargetResult {
  readonly text: string;
  /** What `limit` and `measured` are: operations a second, a ratio of those, or a ratio of CPU or time an operation. */
  readonly kind: 'rate' | 'ratio' | 'cpu' | 'latency';
  /** A most for `cpu` and `latency`, else a least. */
  readonly limit: number;
  /** Null when a side of it is missing. */
  readonly measured: number | null;
  /** The cases that were the fastest of their side. */
  readonly of: string | null;
  readonly over: string | null;
}

export interface ScenarioResult {
  readonly name: string;
  readonly about: string;
  readonly unit: string;
  readonly missing: string | null;
  readonly cases: readonly CaseResult[];
  readonly targets: readonly TargetResult[];
}

export interface RunOptions {
  readonly reps: number;
  /** Which cases. Default: all. */
  readonly wanted?: (name: string) => boolean;
  /** Told what is being done. */
  readonly say?: (line: string) => void;
}

const WARM_ATTEMPTS = 3;

export async function runScenario(
  scenario: Scenario,
  bench: Bench,
  options: RunOptions,
): Promise<ScenarioResult> {
  const { name, about, unit } = scenario;
  const missing = scenario.missing?.(bench) ?? null;
  if (missing !== null) return { name, about, unit, missing, cases: [], targets: [] };
  const plan = await scenario.plan(bench);
  try {
    const cases = await runCases(scenario, plan, bench, options);
    const targets = plan.targets.map((target) => judge(target, cases));
    return { name, about, unit, missing, cases, targets };
  } finally {
    await plan.close?.();
  }
}

async function runCases(
  scenario: Scenario,
  plan: Plan,
  bench: Bench,
  options: RunOptions,
): Promise<CaseResult[]> {
  const runs = plan.cases
    .filter(({ name }) => options.wanted?.(name) ?? true)
    .map((one) => ({ case: one, result: emptyResult(one) }));
  for (let rep = 0; rep < options.reps; rep++) {
    for (const { case: one, result } of runs) {
      if (result.missing !== null) continue;
      options.say?.(`${scenario.name} ${rep + 1}/${options.reps}: ${one.name}`);
      await runOnce(one, result, bench);
    }
  }
  for (const { result } of runs) {
    if (result.measurements.length > 0) result.summary = summarize(result.measurements);
  }
  return runs.map(({ result }) => result);
}

function emptyResult({ name, missing }: Case): CaseResult {
  return { name, missing: missing ?? null, failed: false, measurements: [], summary: null };
}

/** A case that fails is not tried again; the others go on. */
async function runOnce(one: Case, result: CaseResult, bench: Bench): Promise<void> {
  try {
    const files = one.files ?? bench.table.files;
    if (one.pageCache === 'nothing') drop(files);
    result.measurements.push(await (one.pageCache === 'all' ? measureWarm(one, files) : one.measure()));
  } catch (error) {
    result.failed = true;
    result.missing = (error as Error).message;
  }
}

/** What the page cache lost meanwhile, to another program or for want of memory, was read from storage: again, then. */
async function measureWarm(one: Case, files: readonly string[]): Promise<Measurement> {
  for (let attempt = 0; attempt < WARM_ATTEMPTS; attempt++) {
    warm(files);
    const measurement = await one.measure();
    if (isWarm(files)) return measurement;
  }
  throw new Error('the page cache did not keep the files during the measurement');
}

function judge(target: Target, cases: readonly CaseResult[]): TargetResult {
  if ('atMostLatency' in target) return judgeLatency(target, cases);
  const of = best(target.of, cases);
  const over = target.over === undefined ? null : best(target.over, cases);
  const { text } = target;
  const sides = { of: of?.name ?? null, over: over?.name ?? null };
  if ('atMostCpu' in target) {
    const cpu = ratio(of?.summary?.cpuMicros, over?.summary?.cpuMicros);
    return { text, kind: 'cpu', limit: target.atMostCpu, measured: cpu, ...sides };
  }
  const limit = target.atLeast;
  if (target.over !== undefined)
    return { text, kind: 'ratio', limit, measured: ratio(of?.summary?.rate, over?.summary?.rate), ...sides };
  return { text, kind: 'rate', limit, measured: of?.summary?.rate ?? null, ...sides };
}

function judgeLatency(target: LatencyTarget, cases: readonly CaseResult[]): TargetResult {
  const quickest = (names: readonly string[]): CaseResult | null => {
    const latencyOf = (one: CaseResult | null): number => one?.summary?.latency?.medianMicros ?? Infinity;
    let first: CaseResult | null = null;
    for (const one of cases) if (names.includes(one.name) && latencyOf(one) < latencyOf(first)) first = one;
    return first;
  };
  const [of, over] = [quickest(target.of), quickest(target.over)];
  const measured = ratio(of?.summary?.latency?.medianMicros, over?.summary?.latency?.medianMicros);
  const sides = { of: of?.name ?? null, over: over?.name ?? null };
  return { text: target.text, kind: 'latency', limit: target.atMostLatency, measured, ...sides };
}

/** Null where a side is not known. */
function ratio(of: number | null = null, over: number | null = null): number | null {
  return of === null || over === null ? null : of / over;
}

function best(names: readonly string[], cases: readonly CaseResult[]): CaseResult | null {
  const rateOf = (one: CaseResult | undefined): number => one?.summary?.rate ?? 0;
  let fastest: CaseResult | undefined;
  for (const one of cases) if (names.includes(one.name) && rateOf(one) > rateOf(fastest)) fastest = one;
  return fastest ?? null;
}
