/** The pools of a backend, with all that reads and writes their pages. */
import type { Aio } from '../aio/aio.js';
import { CallbackId } from '../aio/ids.js';
import type { Scope } from '../aio/scope.js';
import { BufferManager, type ForkReader, type ManagedPool } from '../buffer/buffer-manager.js';
import { ContentLocks } from '../buffer/content-lock.js';
import { ReadFlag, type PageSettings } from '../buffer/page-damage.js';
import { BufferPool } from '../buffer/pool.js';
import { PrivatePool } from '../buffer/private-pool.js';
import { WriteBack } from '../buffer/write-back.js';
import { createPageKernel } from '../page/page-kernel.js';
import { Fork } from '../smgr/relation.js';
import type { SmgrRelation, StorageManager } from '../smgr/smgr.js';
import type { StreamOptions } from './relation-options.js';
import type { ThreadParts } from './thread-parts.js';

export interface BuffersParts {
  readonly aio: Aio;
  readonly scope: Scope;
  readonly smgr: StorageManager;
  readonly parts: ThreadParts;
  readonly pageSettings: PageSettings;
}

/** The shared pool. */
export function sharedBuffers(given: BuffersParts): BufferManager {
  const { aio, parts, pageSettings } = given;
  const { memory, slot, bufferIo } = parts;
  const { slots, plan, bytes } = memory;
  return manage(given, CallbackId.SHARED_BUFFER_WRITEV, {
    pool: new BufferPool(slots, slot, plan.buffers),
    bufferIo,
    contentLocks: new ContentLocks(slots, slot, plan.buffers, aio.waits),
    slots,
    memories: [...bytes],
    firstMemory: 0,
    callback: CallbackId.SHARED_BUFFER_READV,
    pageSettings,
    isPrivate: false,
  });
}

/** The backend's private pool; once. */
export function privateBuffers(given: BuffersParts): BufferManager {
  const { aio, parts, pageSettings } = given;
  const { memory } = parts;
  const own = new PrivatePool(memory.handle.settings.tempBuffers, aio.waits);
  parts.privatePool = own;
  return manage(given, CallbackId.LOCAL_BUFFER_WRITEV, {
    pool: own.pool,
    bufferIo: own.bufferIo,
    contentLocks: own.locks,
    slots: null,
    memories: [memory.addPrivate(own.memory)],
    firstMemory: memory.privateNumber,
    callback: CallbackId.LOCAL_BUFFER_READV,
    pageSettings,
    isPrivate: true,
  });
}

function manage(
  { aio, scope, smgr, parts }: BuffersParts,
  callback: number,
  managed: ManagedPool,
): BufferManager {
  const { memory, bounces, syncRequests, slot } = parts;
  const { memories, settings } = memory.handle;
  // The I/O memory, behind which the bounce pages lie, is the last that all share.
  const number = memories.length - 1;
  return new BufferManager(aio, managed, (page) => {
    return new WriteBack({
      aio,
      scope,
      pool: managed.pool,
      bufferIo: managed.bufferIo,
      locks: managed.contentLocks,
      smgr,
      bounces,
      bytes: memory.bytes[number] as Uint8Array,
      memory: number,
      kernel: createPageKernel(memories[number] as WebAssembly.Memory),
      syncRequests: managed.isPrivate ? null : syncRequests,
      callback,
      combineLimit: settings.ioCombineLimit,
      owner: managed.isPrivate ? slot : undefined,
      page,
    });
  });
}

/** What a read of the relation looks like, as its options say. */
export function readerOf<D>(
  buffers: BufferManager,
  relation: SmgrRelation,
  options: StreamOptions<D>,
): ForkReader {
  const flags =
    (options.noChecksums === true ? ReadFlag.NO_CHECKSUMS : 0) |
    (options.zeroOnError === true ? ReadFlag.ZERO_ON_ERROR : 0) |
    (options.ignoreChecksumFailure === true ? ReadFlag.IGNORE_CHECKSUM_FAILURES : 0);
  return buffers.reader(relation, options.fork ?? Fork.MAIN, flags);
}
