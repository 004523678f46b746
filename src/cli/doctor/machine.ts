/** What the machine has: Node, kernel, addon, io_uring, cores, memory. */
import { availableParallelism, totalmem } from 'node:os';
import { BLOCK_SIZE, type ResolvedSettings } from '../../base/settings.js';
import { getSystemErrorName } from '../../base/system-errors.js';
import type { IoUringSupport, Machine } from '../../native/io-uring-support.js';
import { count, formatBytes } from '../output/format.js';
import { ok, problem, warning, type Check } from './check.js';

/** `range` is the package's: `>=20.19`. */
export function checkNode(range: string, version: string = process.versions.node): Check {
  const [needMajor = 0, needMinor = 0] = (/\d+(\.\d+)*/.exec(range)?.[0] ?? '').split('.').map(Number);
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const needed = `${needMajor}.${needMinor} or newer is needed`;
  if (major > needMajor || (major === needMajor && minor >= needMinor))
    return ok('node', `${version}; ${needed}`);
  return problem(
    'node',
    `${version} is too old: ${needed}`,
    `Install Node ${needMajor}.${needMinor} or newer.`,
  );
}

export function checkPlatform({ platform, release }: Machine, arch: string = process.arch): Check {
  if (platform === 'linux') return ok('platform', `Linux ${release}, ${arch}`);
  return warning(
    'platform',
    `${platform} ${release}, ${arch}: pgaio is tested on Linux only`,
    'Expect the methods worker and sync to work, and test them before you rely on them.',
    'what needs Linux: io_uring, recovery from threads that end without closing, reopening renamed files',
  );
}

export function checkAddon({ addon, whyNoAddon }: Machine, support: IoUringSupport): Check {
  if (addon !== null) return ok('addon', 'the native addon is there');
  const hint = support.available ? '' : support.hint;
  return warning('addon', whyNoAddon, hint, 'without it everything works but io_uring');
}

export function checkIoUring(support: IoUringSupport): Check {
  if (!support.available) {
    return warning(
      'io_uring',
      `not available: ${support.message}`,
      support.hint,
      'the method worker serves instead',
    );
  }
  const { ownMemory, ownMemoryErrno, features, hasRead, hasWrite } = support;
  const where = ownMemory
    ? 'rings live in memory that all threads share'
    : `rings have to be mapped (in shared memory: ${getSystemErrorName(ownMemoryErrno)}; Linux 6.5 and newer can)`;
  const vectors = hasRead && hasWrite ? '' : '; no READ or WRITE, so vectors serve';
  return ok(
    'io_uring',
    'works: a ring was set up and used',
    `${where}; features 0x${features.toString(16)}${vectors}`,
  );
}

export function checkCores(cores: number = availableParallelism()): Check {
  const { ioMinWorkers, ioMaxWorkers } = workersFor(cores);
  return ok('cores', `${count(cores, 'core')}: ${ioMinWorkers} to ${ioMaxWorkers} I/O workers suit that`);
}

/**
 * The pool's floor has a worker for each core, as `verify` uses them; its ceiling more than that, because a
 * worker that waits for storage leaves its core to others.
 */
export function workersFor(cores: number): { ioMinWorkers: number; ioMaxWorkers: number } {
  const within = (value: number, min: number, max: number): number => Math.min(max, Math.max(min, value));
  return { ioMinWorkers: within(cores, 2, 8), ioMaxWorkers: within(2 * cores, 8, 32) };
}

export interface MemoryFacts {
  readonly total: number;
  readonly available: number;
  /** A limit of the container; 0 or huge when there is none. */
  readonly limit: number;
}

export function memoryHere(): MemoryFacts {
  return { total: totalmem(), available: process.availableMemory(), limit: process.constrainedMemory() };
}

export function checkMemory(settings: ResolvedSettings, facts: MemoryFacts): Check {
  const { total, available, limit } = facts;
  const limited = limit > 0 && limit < total ? `, limited to ${formatBytes(limit)}` : '';
  const summary = `${formatBytes(total)}${limited}, ${formatBytes(available)} available`;
  const need = memoryOf(settings);
  const needed = `an instance with the default settings takes ${formatBytes(need)}`;
  if (available >= need) return ok('memory', summary, needed);
  const smaller = `Free memory, raise the limit, or set sharedBuffers to ${buffersFor(facts)}.`;
  return warning('memory', summary, smaller, needed);
}

export function memoryOf({ sharedBuffers, ioMemory }: ResolvedSettings): number {
  return sharedBuffers * BLOCK_SIZE + ioMemory;
}

/** A quarter of what is available, as PostgreSQL's documentation has it of all memory. */
export function buffersFor({ available }: MemoryFacts): string {
  return `${Math.max(1, Math.floor(available / 4 / 2 ** 20))}MB`;
}

const HUGE_PAGES = '/sys/kernel/mm/transparent_hugepage/enabled';

export function checkHugePages({ readText }: Machine): Check[] {
  const text = readText(HUGE_PAGES);
  if (text === null) return []; // another platform, or a kernel without them
  const mode = /\[(\w+)\]/.exec(text)?.[1] ?? text.trim();
  const who =
    mode === 'always'
      ? 'all large memory gets them'
      : 'the pool gets none; measured, it gains nothing by them';
  return [ok('huge-pages', `transparent huge pages: ${mode}`, who)];
}
