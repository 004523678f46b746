/**
 * A clock that all threads of the process share. `performance.now` counts from its own thread's start, by the same
 * monotonic clock of the kernel; where that start lies is found once a thread.
 */

/** Microseconds between the kernel's zero and this thread's: the closest of a few looks, as each may be interrupted. */
function originOfThread(): number {
  let closest = Number.POSITIVE_INFINITY;
  let origin = 0;
  for (let look = 0; look < 5; look++) {
    const before = performance.now();
    const [seconds, nanos] = process.hrtime();
    const after = performance.now();
    if (after - before >= closest) continue;
    closest = after - before;
    origin = seconds * 1e6 + nanos / 1e3 - ((before + after) / 2) * 1e3;
  }
  return origin;
}

const origin = originOfThread();

/** Microseconds, with a fraction, since some moment that is the same for all threads. Never 0. */
export function nowMicros(): number {
  return origin + performance.now() * 1e3;
}
