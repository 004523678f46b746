/** Cleaning up when this process ends before it could: at exit, and on the signals that would end it at once. */

const endings = new Set<() => void>();
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `cleanUp` (synchronous) if the process ends before the returned function was called. */
export function endWithProcess(cleanUp: () => void): () => void {
  if (endings.size === 0) listen();
  endings.add(cleanUp);
  return () => {
    endings.delete(cleanUp);
    if (endings.size === 0) unlisten();
  };
}

function listen(): void {
  process.on('exit', runAll);
  for (const signal of signals) process.on(signal, endBySignal);
}

function unlisten(): void {
  process.off('exit', runAll);
  for (const signal of signals) process.off(signal, endBySignal);
}

function runAll(): void {
  for (const cleanUp of endings) cleanUp();
  endings.clear();
}

/** Without our listener the same signal does what it would have done. */
function endBySignal(signal: NodeJS.Signals): void {
  runAll();
  unlisten();
  process.kill(process.pid, signal);
}
