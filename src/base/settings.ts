/**
 * Settings of an instance: PostgreSQL's names in camel case, PostgreSQL's units as strings or plain
 * numbers. Resolved once by the creator into plain numbers that every thread can be sent.
 */
import { resolve as resolvePath } from 'node:path';
import { SettingError } from './errors.js';
import { checkKind, checkOnOrOff, checkRange, parseBytes, parseMillis } from './units.js';

/** Bytes of a block in the buffer pool. */
export const BLOCK_SIZE = 8192;

export const IO_METHODS = ['worker', 'io_uring', 'sync'] as const;
export type IoMethodName = (typeof IO_METHODS)[number];

/** Most reads that a stream may be told to keep in flight. */
export const MAX_IO_CONCURRENCY = 1000;

/** What a user may give; everything has a default. */
export interface InstanceSettings {
  /** `worker` (default), `io_uring`, `sync`, or `auto`: the best that this machine has. */
  ioMethod?: IoMethodName | 'auto';
  /** Fewest I/O workers, 1 to 32. Default 2. */
  ioMinWorkers?: number;
  /** Most I/O workers, 1 to 32. Default 8. */
  ioMaxWorkers?: number;
  /** Milliseconds, or '60s', after which a worker above the minimum leaves; -1: never. Default one minute. */
  ioWorkerIdleTimeout?: number | string;
  /** Milliseconds between two launches under pressure. Default 100. */
  ioWorkerLaunchInterval?: number | string;
  /** Handles of each backend, 1 to 1024; -1 (default): chosen from the size of the pool. */
  ioMaxConcurrency?: number;
  /** Bytes, or '128kB', that one read combines at most. Default 128 kB. */
  ioCombineLimit?: number | string;
  /** Upper bound for `ioCombineLimit`, fixed at start: 8 kB to 1 MB. Default 1 MB. */
  ioMaxCombineLimit?: number | string;
  /** Reads that a stream keeps in flight, 0 to 1000. Default 16. */
  effectiveIoConcurrency?: number;
  /** The same for maintenance work. Default 16. */
  maintenanceIoConcurrency?: number;
  /** Bytes, or '128MB', of the shared pool. At least 16 blocks. Default 128 MB. */
  sharedBuffers?: number | string;
  /**
   * Bytes, or '8MB', of each backend's private pool, which exists from its first read of a private relation on:
   * 800 kB to 4 GB. Default 8 MB.
   */
  tempBuffers?: number | string;
  /** Bytes of shared memory for reads of plain files. Default 16 MB. */
  ioMemory?: number | string;
  /** Threads that may attach, 1 to 222. Default 30. */
  maxBackends?: number;
  /** Kernel descriptors that all threads together may hold open. Default 1000. */
  maxFilesPerProcess?: number;
  /** Read data files past the page cache. Default false. */
  debugIoDirect?: boolean;
  /** Pages that are invalid become all zero, with a warning, unless a backend decides otherwise. Default false. */
  zeroDamagedPages?: boolean;
  /** A wrong checksum is a warning only, unless a backend decides otherwise. Default false. */
  ignoreChecksumFailure?: boolean;
  /**
   * Where the rings of io_uring lie: `own` memory (needs Linux 6.5), memory of the kernel that is `mapped`, or
   * `auto` (default): own where the kernel can. For tests, and to find out what a problem depends on.
   */
  ioUringMemory?: RingMemory;
  /** Read the clock when an I/O starts and when it is over, for latencies. May be changed while it runs. Default false. */
  trackIoTiming?: boolean;
  /** Default: none. */
  wal?: WalSettings;
  /**
   * Pages that the background writer writes in one round, so that buffers are clean when others want them; 0: there is none.
   * Up to 1000. Default 100 with a WAL that has a checkpointer, else 0. PostgreSQL's bgwriter_lru_maxpages.
   */
  bgwriterLruMaxpages?: number;
  /** Time between two of its rounds, 10 ms to 10 s. Default 200 ms. */
  bgwriterDelay?: number | string;
}

export const WAL_SYNC_METHODS = ['fdatasync', 'open_datasync'] as const;
export type WalSyncMethod = (typeof WAL_SYNC_METHODS)[number];

/** The write-ahead log of an instance. */
export interface WalSettings {
  /**
   * A directory laid out as PostgreSQL 18's: the WAL is in `pg_wal`, what recovery begins with in `global/pg_control`.
   * Made if it is missing or empty. One instance, or one server, at a time has it.
   */
  dataDirectory: string;
  /** Bytes of a segment file, or '16MB': a power of two from 1 MB to 1 GB. For a new directory; default 16 MB. */
  segmentSize?: number | string;
  /** Bytes, or '16MB', of the shared WAL buffers, 64 kB to 1 GB. Default 16 MB. */
  buffers?: number | string;
  /** What makes a write durable. Default fdatasync. */
  syncMethod?: WalSyncMethod;
  /** Past the page cache. Default false. */
  direct?: boolean;
  /**
   * How much WAL stays that recovery no longer needs: bytes, '1GB', or 'all'. Default 0. An event log, which is read
   * from the WAL itself, keeps all.
   */
  keepSize?: number | string;
  /**
   * Whether a thread takes checkpoints when they are due, and makes durable within 200 ms what was appended without
   * waiting. Default true; a short program may do without.
   */
  checkpointer?: boolean;
  /** Time between two checkpoints, 30 s to 1 day. Default 5 min. */
  checkpointTimeout?: number | string;
  /** How much WAL there may be since the last checkpoint before another is due: bytes, or '1GB', which is the default. */
  maxWalSize?: number | string;
}

export interface ResolvedWalSettings {
  readonly dataDirectory: string;
  /** Null: as it is, or the default. */
  readonly segmentSize: number | null;
  readonly bufferBytes: number;
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
  /** Infinity: all. */
  readonly keepBytes: number;
  readonly checkpointer: boolean;
  /** In milliseconds. */
  readonly checkpointTimeout: number;
  /** In bytes. */
  readonly maxWalSize: number;
}

export const RING_MEMORIES = ['auto', 'own', 'mapped'] as const;
export type RingMemory = (typeof RING_MEMORIES)[number];

export interface ResolvedSettings {
  readonly ioMethod: IoMethodName;
  /** Why this method: said by `auto`, empty for an explicit choice. */
  readonly methodReason: string;
  readonly ioMinWorkers: number;
  readonly ioMaxWorkers: number;
  readonly ioWorkerIdleTimeout: number;
  readonly ioWorkerLaunchInterval: number;
  readonly ioMaxConcurrency: number;
  /** Blocks. */
  readonly ioCombineLimit: number;
  /** Blocks. */
  readonly ioMaxCombineLimit: number;
  readonly effectiveIoConcurrency: number;
  readonly maintenanceIoConcurrency: number;
  /** Blocks. */
  readonly sharedBuffers: number;
  /** Blocks. */
  readonly tempBuffers: number;
  /** Bytes, a multiple of `IO_MEMORY_UNIT`. */
  readonly ioMemory: number;
  /** Those of the instance's own threads included. */
  readonly maxBackends: number;
  /** So many of `maxBackends` are for the instance's own threads: the checkpointer, the background writer. */
  readonly auxiliaryBackends: number;
  readonly maxFilesPerProcess: number;
  readonly debugIoDirect: boolean;
  readonly zeroDamagedPages: boolean;
  readonly ignoreChecksumFailure: boolean;
  readonly ioUringMemory: RingMemory;
  readonly trackIoTiming: boolean;
  readonly wal: ResolvedWalSettings | null;
  readonly bgwriterLruMaxpages: number;
  /** In milliseconds. */
  readonly bgwriterDelay: number;
}

const KB = 1024;
const MB = 1024 * KB;
/** PostgreSQL's least temp_buffers, and what one memory holds. */
const MIN_PRIVATE_BLOCKS = 100;
const MAX_PRIVATE_BLOCKS = (4 * 1024 * MB) / BLOCK_SIZE;
const MAX_POOL_BLOCKS = (64 * 1024 * MB) / BLOCK_SIZE;
const MAX_IO_MEMORY = 2048 * MB;
/** I/O memory is handed out in pieces of this many bytes. */
export const IO_MEMORY_UNIT: number = 8 * KB;

/** Checks everything and fills in the defaults. `method` is the outcome of `ioMethod`. */
export function resolveSettings(
  given: InstanceSettings,
  method: { name: IoMethodName; reason: string },
): ResolvedSettings {
  rejectUnknown(given);
  const ioMinWorkers = checkRange('ioMinWorkers', given.ioMinWorkers ?? 2, 1, 32);
  const ioMaxWorkers = checkRange('ioMaxWorkers', given.ioMaxWorkers ?? Math.max(8, ioMinWorkers), 1, 32);
  if (ioMaxWorkers < ioMinWorkers) {
    throw new SettingError(`ioMaxWorkers (${ioMaxWorkers}) must not be below ioMinWorkers (${ioMinWorkers})`);
  }
  const wal = given.wal === undefined ? null : resolveWal(given.wal);
  const bgwriterLruMaxpages = checkRange(
    'bgwriterLruMaxpages',
    given.bgwriterLruMaxpages ?? (wal?.checkpointer === true ? 100 : 0),
    0,
    1000,
  );
  const auxiliaryBackends = (wal === null ? 0 : 1) + (bgwriterLruMaxpages === 0 ? 0 : 1);
  const users = checkRange('maxBackends', given.maxBackends ?? 30, 1, 222 - auxiliaryBackends);
  const maxBackends = users + auxiliaryBackends;
  const sharedBuffers = blocks('sharedBuffers', given.sharedBuffers ?? 128 * MB, 16, MAX_POOL_BLOCKS);
  const ioMaxCombineLimit = blocks('ioMaxCombineLimit', given.ioMaxCombineLimit ?? MB, 1, 128);
  const combine = blocks('ioCombineLimit', given.ioCombineLimit ?? 128 * KB, 1, 128);
  const ioMemory = blocks('ioMemory', given.ioMemory ?? 16 * MB, 2, MAX_IO_MEMORY / BLOCK_SIZE);
  return {
    ioMethod: method.name,
    methodReason: method.reason,
    ioMinWorkers,
    ioMaxWorkers,
    ioWorkerIdleTimeout: checkMillis('ioWorkerIdleTimeout', given.ioWorkerIdleTimeout ?? 60_000, -1),
    ioWorkerLaunchInterval: checkMillis('ioWorkerLaunchInterval', given.ioWorkerLaunchInterval ?? 100, 0),
    ioMaxConcurrency: concurrency(given.ioMaxConcurrency ?? -1, sharedBuffers, maxBackends),
    ioCombineLimit: Math.min(combine, ioMaxCombineLimit),
    ioMaxCombineLimit,
    effectiveIoConcurrency: checkRange(
      'effectiveIoConcurrency',
      given.effectiveIoConcurrency ?? 16,
      0,
      MAX_IO_CONCURRENCY,
    ),
    maintenanceIoConcurrency: checkRange(
      'maintenanceIoConcurrency',
      given.maintenanceIoConcurrency ?? 16,
      0,
      MAX_IO_CONCURRENCY,
    ),
    sharedBuffers,
    tempBuffers: blocks('tempBuffers', given.tempBuffers ?? 8 * MB, MIN_PRIVATE_BLOCKS, MAX_PRIVATE_BLOCKS),
    ioMemory: ioMemory * IO_MEMORY_UNIT,
    maxBackends,
    auxiliaryBackends,
    maxFilesPerProcess: checkRange('maxFilesPerProcess', given.maxFilesPerProcess ?? 1000, 64, 1_000_000),
    debugIoDirect: checkOnOrOff('debugIoDirect', given.debugIoDirect ?? false),
    zeroDamagedPages: checkOnOrOff('zeroDamagedPages', given.zeroDamagedPages ?? false),
    ignoreChecksumFailure: checkOnOrOff('ignoreChecksumFailure', given.ignoreChecksumFailure ?? false),
    ioUringMemory: ringMemory(given.ioUringMemory ?? 'auto'),
    trackIoTiming: checkOnOrOff('trackIoTiming', given.trackIoTiming ?? false),
    wal,
    bgwriterLruMaxpages,
    bgwriterDelay: checkRange(
      'bgwriterDelay',
      parseMillis('bgwriterDelay', given.bgwriterDelay ?? 200),
      10,
      10_000,
    ),
  };
}

const KNOWN: ReadonlySet<string> = new Set([
  'ioMethod',
  'ioMinWorkers',
  'ioMaxWorkers',
  'ioWorkerIdleTimeout',
  'ioWorkerLaunchInterval',
  'ioMaxConcurrency',
  'ioCombineLimit',
  'ioMaxCombineLimit',
  'effectiveIoConcurrency',
  'maintenanceIoConcurrency',
  'sharedBuffers',
  'tempBuffers',
  'ioMemory',
  'maxBackends',
  'maxFilesPerProcess',
  'debugIoDirect',
  'zeroDamagedPages',
  'ignoreChecksumFailure',
  'ioUringMemory',
  'trackIoTiming',
  'wal',
  'bgwriterLruMaxpages',
  'bgwriterDelay',
]);

function resolveWal(given: WalSettings): ResolvedWalSettings {
  checkKind('an object of settings for wal', given, 'object');
  for (const name of Object.keys(given))
    if (!KNOWN_OF_WAL.has(name)) throw new SettingError(`unrecognized setting "wal.${name}"`);
  checkKind('the path wal.dataDirectory', given.dataDirectory, 'string');
  const { segmentSize, keepSize = 0, syncMethod = 'fdatasync' } = given;
  const { buffers = 16 * MB, maxWalSize = 1024 * MB } = given;
  if (!WAL_SYNC_METHODS.includes(syncMethod))
    throw new SettingError(`invalid value for wal.syncMethod: ${JSON.stringify(syncMethod)}`, {
      hint: `Available values: ${WAL_SYNC_METHODS.join(', ')}.`,
    });
  return {
    dataDirectory: resolvePath(given.dataDirectory),
    segmentSize:
      segmentSize === undefined ? null : walSegmentSize(parseBytes('wal.segmentSize', segmentSize)),
    bufferBytes: blocks('wal.buffers', buffers, 8, (1024 * MB) / BLOCK_SIZE) * BLOCK_SIZE,
    syncMethod,
    direct: checkOnOrOff('wal.direct', given.direct ?? false),
    keepBytes: keepSize === 'all' ? Infinity : parseBytes('wal.keepSize', keepSize),
    checkpointer: checkOnOrOff('wal.checkpointer', given.checkpointer ?? true),
    checkpointTimeout: checkRange(
      'wal.checkpointTimeout',
      parseMillis('wal.checkpointTimeout', given.checkpointTimeout ?? '5min'),
      30_000,
      86_400_000,
    ),
    maxWalSize: checkRange('wal.maxWalSize', parseBytes('wal.maxWalSize', maxWalSize), 2 * MB, 2 ** 46),
  };
}

const KNOWN_OF_WAL: ReadonlySet<string> = new Set([
  'dataDirectory',
  'segmentSize',
  'buffers',
  'syncMethod',
  'direct',
  'keepSize',
  'checkpointer',
  'checkpointTimeout',
  'maxWalSize',
]);

function walSegmentSize(bytes: number): number {
  if (bytes >= MB && bytes <= 1024 * MB && Number.isInteger(Math.log2(bytes))) return bytes;
  throw new SettingError(`wal.segmentSize must be a power of two from 1MB to 1GB, not ${bytes} bytes`);
}

function ringMemory(given: string): RingMemory {
  const known = RING_MEMORIES.find((name) => name === given);
  if (known !== undefined) return known;
  throw new SettingError(`invalid value for ioUringMemory: ${JSON.stringify(given)}`, {
    hint: `Available values: ${RING_MEMORIES.join(', ')}.`,
  });
}

function rejectUnknown(given: InstanceSettings): void {
  for (const name of Object.keys(given)) {
    if (!KNOWN.has(name))
      throw new SettingError(`unknown setting ${JSON.stringify(name)}`, {
        hint: `Settings are ${[...KNOWN].join(', ')}.`,
      });
  }
}

/** Refuses a method's name that is none, with the list of those that are. */
export function checkMethodName(name: string): IoMethodName | 'auto' {
  if (name === 'auto' || IO_METHODS.some((known) => known === name)) return name as IoMethodName | 'auto';
  throw new SettingError(`invalid value for ioMethod: ${JSON.stringify(name)}`, {
    hint: `Available values: auto, ${IO_METHODS.join(', ')}.`,
  });
}

function blocks(name: string, value: number | string, min: number, max: number): number {
  const count = parseBytes(name, value) / BLOCK_SIZE;
  if (!(count >= min && count <= max)) {
    throw new SettingError(
      `${JSON.stringify(value)} is outside the valid range for ${name} (${min * 8}kB .. ${max * 8}kB)`,
    );
  }
  return Math.floor(count);
}

/** Whole milliseconds, at least `min`. */
export function checkMillis(name: string, value: number | string, min: number): number {
  return checkRange(name, Math.round(parseMillis(name, value)), min, 2_147_483_647);
}

/** PostgreSQL's rule for -1: the backend's share of the pool, at most 64. */
function concurrency(value: number, sharedBuffers: number, maxBackends: number): number {
  if (value === 0) throw new SettingError('only -1 or values greater than 0 are valid for ioMaxConcurrency');
  if (value === -1) return Math.max(1, Math.min(64, Math.floor(sharedBuffers / maxBackends)));
  return checkRange('ioMaxConcurrency', value, 1, 1024);
}
