/**
 * The clock of a job: first a warm-up, then the part that counts. The warm-up is as long: several threads that share
 * two cores take more than half a second to get their code compiled.
 */
import type { Measurement } from '../measurement.js';

/** Does work until `performance.now()` has reached `until`, and returns how many operations that was. */
export type WorkUntil = (until: number) => number | Promise<number>;

export async function measureWork(seconds: number, checked: number, work: WorkUntil): Promise<Measurement> {
  await work(performance.now() + seconds * 1000);
  return measureOnce(checked, () => work(performance.now() + seconds * 1000));
}

/** For work that must not be done before, because it would be faster the second time. */
export async function measureOnce(
  checked: number,
  work: () => number | Promise<number>,
): Promise<Measurement> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  const ops = await work();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { ops, seconds, cpuSeconds: (user + system) / 1e6, checked };
}
