/** What was measured on: results of two machines must not be compared, and a reader must be able to tell. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import { resolve } from 'node:path';

export interface Machine {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGigabytes: number;
  readonly kernel: string;
  readonly node: string;
  /** Of the data. */
  readonly fileSystem: string;
}

export function describeMachine(dataDirectory: string): Machine {
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model.trim() ?? 'unknown processor',
    memoryGigabytes: Math.round(totalmem() / 1024 ** 3),
    kernel: `${type()} ${release()}`,
    node: process.version,
    fileSystem: fileSystemOf(resolve(dataDirectory)),
  };
}

export function machineLine(machine: Machine): string {
  const { cores, processor, memoryGigabytes, kernel, node, fileSystem } = machine;
  return `${cores} cores (${processor}), ${memoryGigabytes} GB, ${kernel}, Node ${node}, ${fileSystem}`;
}

/** Type and device of the mount that a path is on: the one with the longest matching mount point. */
export function fileSystemOf(path: string): string {
  let longest = '';
  let found = 'unknown file system';
  let mounts: string;
  try {
    mounts = readFileSync('/proc/mounts', 'utf8');
  } catch {
    return found;
  }
  for (const line of mounts.split('\n')) {
    const [device = '', point = '', kind = ''] = line.split(' ');
    const inside = point === '/' || path === point || path.startsWith(`${point}/`);
    if (point === '' || !inside || point.length < longest.length) continue;
    longest = point;
    found = `${kind} on ${device}`;
  }
  return found;
}
