/**
 * The whole of an instance's shared memory: which regions there are, in which order, and how a thread finds
 * them. The plan follows from the settings alone, so every thread computes the same one.
 */
import { WorkerControl, type WorkerRegion } from '../aio/method/worker/control.js';
import { Rings, type RingRegion } from '../aio/method/io-uring/rings.js';
import { HandleTable, type HandleRegion } from '../aio/handle.js';
import { BLOCK_SIZE, type ResolvedSettings } from '../base/settings.js';
import { planBufferConditions } from '../buffer/buffer-io.js';
import { MEMORY_BLOCKS } from '../buffer/buffer-manager.js';
import { planDamageLog, type DamageLogRegion } from '../buffer/damage-log.js';
import { planBuffers, type BufferRegion } from '../buffer/region.js';
import { InstanceHeader, fingerprintOf } from '../shmem/header.js';
import { IoMemory, type IoMemoryRegion } from '../shmem/io-memory.js';
import { SegmentPlan, createSharedMemory } from '../shmem/segment.js';
import { Slots, type SlotRegion } from '../shmem/slots.js';
import { DataDirectories, type DataDirectoryRegion } from '../smgr/data-directories.js';
import { ExtensionLocks, type ExtensionLockRegion } from '../smgr/extension-locks.js';
import { SyncRequests, type SyncRequestRegion } from '../smgr/sync-requests.js';
import { ChecksumFailureTable, type ChecksumFailureRegion } from '../stats/checksum-failures.js';
import { Counters } from '../stats/counters.js';
import { planIoStats, type IoStatsRegion } from '../stats/io-stats.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { FileTable, type FileTableRegion } from '../vfd/file-table.js';
import { CheckpointLock } from '../recovery/checkpoint-lock.js';
import { WalControl, type WalRegion } from '../wal/wal-control.js';

/** Raised whenever the meaning of shared memory changes without a change of its layout. */
const SHARED_STATE_VERSION = 5;
/** Files that may be open or read at the same time. */
const FILE_TABLE_ENTRIES = 2048;
/** Segment files that were written and not synchronized yet. Then whoever writes to one more synchronizes them. */
const SYNC_REQUESTS = 1024;
/** Memory for copies of pages that are being written, behind the I/O memory. */
export const BOUNCE_BYTES: number = 2 << 20;

/** What another thread needs to attach: pass it in `workerData`. */
export interface InstanceHandle {
  readonly control: WebAssembly.Memory;
  /** The pool's memories, the WAL buffers if there is a WAL, the I/O memory. */
  readonly memories: readonly WebAssembly.Memory[];
  readonly settings: ResolvedSettings;
  /** Whose WAL it is; null for an instance without one. */
  readonly wal: WalIdentity | null;
  /** Modules with callbacks and targets of the user, by URL. */
  readonly modules: readonly string[];
  /** Module with hooks for tests, or null. */
  readonly injection: string | null;
}

/** Of the WAL of a data directory, and where that is. */
export interface WalIdentity {
  readonly dataDirectory: string;
  readonly timeline: number;
  /** A decimal number of 64 bits. */
  readonly systemIdentifier: string;
  readonly segmentSize: number;
}

export interface InstancePlan {
  readonly plan: SegmentPlan;
  readonly header: number;
  readonly slots: SlotRegion;
  readonly counters: number;
  readonly ioStats: IoStatsRegion;
  readonly handles: HandleRegion;
  readonly workers: WorkerRegion;
  /** Empty unless the method is io_uring. */
  readonly rings: RingRegion;
  readonly files: FileTableRegion;
  readonly budget: number;
  readonly directories: DataDirectoryRegion;
  readonly buffers: BufferRegion;
  readonly bufferConditions: number;
  readonly ioMemory: IoMemoryRegion;
  readonly bounces: IoMemoryRegion;
  readonly syncRequests: SyncRequestRegion;
  readonly extensionLocks: ExtensionLockRegion;
  readonly damageLog: DamageLogRegion;
  readonly checksumFailures: ChecksumFailureRegion;
  /** Null for an instance without a WAL. */
  readonly wal: WalRegion | null;
  readonly checkpointLock: number;
  readonly truncationLock: number;
}

export function planInstance(settings: ResolvedSettings): InstancePlan {
  const plan = new SegmentPlan();
  const header = InstanceHeader.plan(plan);
  const slots = Slots.plan(plan, settings.maxBackends, settings.auxiliaryBackends);
  const counters = Counters.plan(plan, slots.count);
  const { maxBackends, ioMaxConcurrency, ioMaxCombineLimit } = settings;
  const handles = HandleTable.plan(plan, maxBackends, ioMaxConcurrency, ioMaxCombineLimit);
  return {
    plan,
    header,
    slots,
    counters,
    ioStats: planIoStats(plan, slots.count),
    handles,
    workers: WorkerControl.plan(plan),
    rings: Rings.plan(plan, settings),
    files: FileTable.plan(plan, slots.count, FILE_TABLE_ENTRIES),
    budget: DescriptorBudget.plan(plan, slots.count),
    directories: DataDirectories.plan(plan),
    buffers: planBuffers(plan, settings.maxBackends, settings.sharedBuffers),
    bufferConditions: planBufferConditions(plan),
    ioMemory: IoMemory.plan(plan, settings.ioMemory),
    bounces: IoMemory.plan(plan, BOUNCE_BYTES, settings.ioMemory, 'bounce pages'),
    syncRequests: SyncRequests.plan(plan, SYNC_REQUESTS, handles.count),
    extensionLocks: ExtensionLocks.plan(plan),
    damageLog: planDamageLog(plan, slots.count),
    checksumFailures: ChecksumFailureTable.plan(plan),
    wal: settings.wal === null ? null : WalControl.plan(plan, slots.count),
    checkpointLock: CheckpointLock.plan(plan, 'checkpoint lock'),
    truncationLock: CheckpointLock.plan(plan, 'truncation lock'),
  };
}

/** The pool's memories, the WAL buffers if there is a WAL, and, last, the I/O memory. */
export function createMemories(settings: ResolvedSettings): WebAssembly.Memory[] {
  const memories: WebAssembly.Memory[] = [];
  for (let left = settings.sharedBuffers; left > 0; left -= MEMORY_BLOCKS) {
    memories.push(createSharedMemory(Math.min(left, MEMORY_BLOCKS) * BLOCK_SIZE));
  }
  if (settings.wal !== null) memories.push(createSharedMemory(settings.wal.bufferBytes));
  memories.push(createSharedMemory(settings.ioMemory + BOUNCE_BYTES));
  return memories;
}

/** What all threads must agree on, besides the tables of callbacks and targets. */
export function layoutFingerprint(plan: InstancePlan, settings: ResolvedSettings): number {
  const regions = plan.plan.regions.map(({ name, start, words }) => `${name}@${start}+${words}`);
  return fingerprintOf([`v${SHARED_STATE_VERSION}`, ...regions, JSON.stringify(settings)]);
}
