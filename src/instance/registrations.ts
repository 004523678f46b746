/**
 * Binds the ids in shared memory to what they stand for, in this thread. The one place that knows all
 * layers' callbacks and targets; every thread of an instance calls it, so that every id means the same.
 */
import { CallbackId, TargetId } from '../aio/ids.js';
import { Registry } from '../aio/callback.js';
import type { BufferIo } from '../buffer/buffer-io.js';
import type { DamageLog } from '../buffer/damage-log.js';
import { localBufferReadv } from '../buffer/local-readv.js';
import type { PrivatePool } from '../buffer/private-pool.js';
import { sharedBufferReadv } from '../buffer/shared-readv.js';
import { localBufferWritev, sharedBufferWritev } from '../buffer/shared-writev.js';
import { fileBlocksReadv, fileBlocksTarget } from '../cache/file-blocks.js';
import { createPageKernel } from '../page/page-kernel.js';
import type { IoMemory } from '../shmem/io-memory.js';
import { smgrSync, smgrWritev } from '../smgr/smgr-write.js';
import type { SyncRequests } from '../smgr/sync-requests.js';
import { verifyPages } from '../smgr/verify-pages.js';
import { smgrReadv, smgrTarget } from '../smgr/smgr-target.js';
import type { ChecksumFailureTable } from '../stats/checksum-failures.js';
import { fileReadv, fileSync, fileTarget, fileWritev } from '../vfd/file-target.js';
import type { FileTable } from '../vfd/file-table.js';
import type { ReopenCache } from '../vfd/reopen.js';
import type { WalControl } from '../wal/wal-control.js';
import { walSync, walTarget, walWritev } from '../wal/wal-target.js';

/** What a user's module exports: adds callbacks and targets with ids from FIRST_USER_ID on. */
export interface RegistrationModule {
  register(registry: Registry): void;
}

export interface RegistrationParts {
  readonly files: FileTable;
  readonly reopens: ReopenCache;
  readonly bufferIo: BufferIo;
  /** Of the backend in this thread; must be there when it starts I/O on private memory. */
  readonly privatePool: () => PrivatePool;
  readonly memories: readonly WebAssembly.Memory[];
  readonly syncRequests: SyncRequests;
  /** Of the backend in this thread: where it leases memory for copies of pages. */
  readonly bounces: () => IoMemory;
  readonly damageLog: DamageLog;
  readonly checksumFailures: ChecksumFailureTable;
  readonly wal: WalControl | null;
}

export function createRegistry(parts: RegistrationParts, modules: readonly RegistrationModule[]): Registry {
  const registry = new Registry();
  const memories = parts.memories.map((memory) => ({
    kernel: createPageKernel(memory),
    bytes: new Uint8Array(memory.buffer),
  }));
  registry.addCallback(CallbackId.FILE_READV, fileReadv(parts.files));
  registry.addCallback(CallbackId.FILE_WRITEV, fileWritev(parts.files));
  registry.addCallback(CallbackId.FILE_SYNC, fileSync(parts.files));
  registry.addCallback(CallbackId.SMGR_READV, smgrReadv(parts.files));
  registry.addCallback(CallbackId.SHARED_BUFFER_READV, sharedBufferReadv({ ...parts, memories }));
  registry.addCallback(
    CallbackId.LOCAL_BUFFER_READV,
    localBufferReadv(parts.privatePool, parts.memories.length, parts),
  );
  registry.addCallback(CallbackId.SMGR_WRITEV, smgrWritev(parts.files));
  registry.addCallback(CallbackId.SMGR_SYNC, smgrSync(parts.files, parts.syncRequests));
  registry.addCallback(CallbackId.SHARED_BUFFER_WRITEV, sharedBufferWritev(parts));
  registry.addCallback(
    CallbackId.LOCAL_BUFFER_WRITEV,
    localBufferWritev(() => parts.privatePool().bufferIo, parts.bounces),
  );
  registry.addCallback(CallbackId.VERIFY_PAGES, verifyPages(parts.memories));
  registry.addCallback(CallbackId.FILE_BLOCKS_READV, fileBlocksReadv(parts.files));
  registry.addTarget(TargetId.FILE_BLOCKS, fileBlocksTarget(parts.files, parts.reopens));
  registry.addTarget(TargetId.FILE, fileTarget(parts.files, parts.reopens));
  registry.addTarget(TargetId.SMGR, smgrTarget(parts.reopens, parts.files));
  if (parts.wal !== null) {
    registry.addCallback(CallbackId.WAL_WRITEV, walWritev(parts.files, parts.wal));
    registry.addCallback(CallbackId.WAL_SYNC, walSync(parts.files, parts.wal));
    registry.addTarget(TargetId.WAL, walTarget(parts.reopens));
  }
  for (const module of modules) module.register(registry);
  return registry;
}
