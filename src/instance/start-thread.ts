import { Worker } from 'node:worker_threads';

/**
 * Starts a thread of the instance's own; `program` lies in this folder.
 *
 * A thread inherits the options of its process, unless it is given some; then it refuses those that are for a whole
 * process, so that options are given only where one is in the way: `--input-type`, which is for the main program.
 */
export function startThread(program: string, name: string, workerData: unknown): Worker {
  const url = new URL(program, import.meta.url);
  const options = { workerData, name };
  const execArgv = process.execArgv.filter((argument) => !argument.startsWith('--input-type'));
  if (execArgv.length === process.execArgv.length) return new Worker(url, options);
  try {
    return new Worker(url, { ...options, execArgv });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_WORKER_INVALID_EXEC_ARGV') throw error;
    return new Worker(url, { ...options, execArgv: [] });
  }
}
