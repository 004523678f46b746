/** A backend's part of its instance's write-ahead log. */
import { join, resolve } from 'node:path';
import { SettingError } from '../base/errors.js';
import { checkKind } from '../base/units.js';
import { WalPositionError } from '../base/wal-errors.js';
import type { PinnedBuffer } from '../buffer/pinned-buffer.js';
import type { WalFlusher } from '../buffer/write-back.js';
import { Checkpointing } from '../recovery/checkpoint.js';
import { CheckpointLock } from '../recovery/checkpoint-lock.js';
import { controlFilePath } from '../recovery/control-file.js';
import { readMessages, type MessageOptions, type WalMessage } from '../recovery/read-messages.js';
import type { DataDirectories } from '../smgr/data-directories.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import { File, type FileContext } from '../vfd/file.js';
import { logicalMessage } from '../wal/logical-message.js';
import { formatLsn, type Lsn } from '../wal/lsn.js';
import { Wal } from '../wal/wal.js';
import { WalBuffers } from '../wal/wal-buffers.js';
import { WalFiles } from '../wal/wal-files.js';
import type { BackendWrites } from './backend-writes.js';
import { LoggedChange, type LoggedChangeParts, type LoggedPageChange } from './logged-change.js';
import { truncationLogger } from './log-truncation.js';
import type { CutsInWal } from './relation-changes.js';
import type { WalIdentity } from './shared-state.js';
import type { ThreadParts } from './thread-parts.js';

interface BackendWalParts {
  readonly wal: Wal;
  readonly buffers: WalBuffers;
  /** Of the segments. */
  readonly directory: string;
  readonly identity: WalIdentity;
  readonly files: FileContext;
  readonly checkpointing: Checkpointing;
  readonly checkpointLock: CheckpointLock;
  /** Of truncations and removals; see relation-changes.ts. */
  readonly truncationLock: CheckpointLock;
  /** What keeps pages of the data directory in memory until their records are durable. */
  readonly flusher: WalFlusher;
  readonly changes: LoggedChangeParts;
}

/** The write-ahead log of an instance, as one backend uses it. LSNs are numbers of bytes; see `formatLsn`. */
export class BackendWal {
  readonly parts: BackendWalParts;

  constructor(parts: BackendWalParts) {
    this.parts = parts;
  }

  /** Up to here all is durable. */
  get flushedUpTo(): Lsn {
    return this.parts.wal.control.flushed;
  }

  /** Where recovery begins to read once the checkpoint that began last is over: behind it, pages get images. */
  get redo(): Lsn {
    return this.parts.wal.control.redo;
  }

  /** Up to here records have their place. */
  get insertedUpTo(): Lsn {
    return this.parts.wal.control.reserved;
  }

  /**
   * Appends a message, as pg_logical_emit_message does: up to nearly as many bytes as `wal.buffers`. Resolves with the LSN of its end once it is in the buffers, not
   * durable yet: that is asynchronous commit, and a crash may lose it, and all behind it. See `flush`.
   */
  append(prefix: string, payload: Uint8Array | string): Promise<Lsn> {
    return this.parts.files.aio.waits.until(this.parts.wal.inserting(message(prefix, payload)));
  }

  /** Appends a message, and resolves with the LSN of its end when it is durable. Rejects with a WalFileError. */
  async commit(prefix: string, payload: Uint8Array | string): Promise<Lsn> {
    const end = await this.append(prefix, payload);
    await this.flush(end);
    return end;
  }

  /** As `commit`, blocking the thread. */
  commitBlocking(prefix: string, payload: Uint8Array | string): Lsn {
    const { wal, files } = this.parts;
    const end = files.aio.waits.block(wal.inserting(message(prefix, payload)));
    files.aio.waits.block(wal.flushing(end, true));
    return end;
  }

  /** Resolves when all up to `lsn` is durable; default: all that was appended before. Rejects with a WalFileError. */
  flush(lsn: Lsn = this.insertedUpTo): Promise<void> {
    if (!Number.isSafeInteger(lsn) || lsn > this.insertedUpTo)
      throw new RangeError(`${lsn} is not an LSN up to which anything was appended`);
    return this.parts.files.aio.waits.until(this.parts.wal.flushing(lsn));
  }

  /**
   * Changes pages of relations in the WAL's data directory, and logs it: recovery brings back all of the change, or
   * nothing. Waits for the pages' content locks, calls `change` with a copy of each, in the order of `buffers` (4 at
   * most), and makes these the pages. Resolves with the LSN of the record's end: durable it is after
   * `flush(lsn)`, and no page is written before. What `change` throws is a rejection, and nothing has changed then.
   *
   * Pages have PostgreSQL's layout, see `initPage`; a real server can redo the record. Rejects with a PageChangeError for
   * a page without it, or of a relation elsewhere; with a WalFileError when the WAL could not be written.
   *
   *     const lsn = await backend.wal.change([from, to], (a, b) => { a[100] -= 1; b[100] += 1; });
   *     await backend.wal.flush(lsn);
   */
  async change(buffers: PinnedBuffer | readonly PinnedBuffer[], change: LoggedPageChange): Promise<Lsn> {
    const logged = new LoggedChange(this.parts.changes, [buffers].flat(), change);
    try {
      return await this.parts.files.aio.waits.until(() => logged.step());
    } finally {
      logged.release();
    }
  }

  /** As `change`, blocking the thread. */
  changeBlocking(buffers: PinnedBuffer | readonly PinnedBuffer[], change: LoggedPageChange): Lsn {
    const logged = new LoggedChange(this.parts.changes, [buffers].flat(), change);
    try {
      return this.parts.files.aio.waits.block(() => logged.step());
    } finally {
      logged.release();
    }
  }

  /** Null for a relation whose changes are not in this WAL. */
  cutsOf(relation: SmgrRelation): CutsInWal | null {
    const { wal, changes, files, truncationLock: lock } = this.parts;
    const { slots, slot } = changes;
    const isOurs = relation.locator.backend === undefined && changes.covers(relation.directoryNumber);
    if (!isOurs) return null;
    return {
      log: truncationLogger(wal),
      take: () => lock.take(files.aio.waits, slot),
      release: () => lock.release(slot),
      enterCritical: () => slots.enterCritical(slot),
      leaveCritical: () => slots.leaveCritical(slot),
      crash: (reason) => files.aio.thread.crash(reason),
    };
  }

  /** The backend leaves: what it was in the middle of does not go on, and what must be done whole then crashes the instance. */
  leave(): void {
    const { checkpointLock, truncationLock, changes, files } = this.parts;
    const { slots, slot } = changes;
    for (const lock of [checkpointLock, truncationLock]) lock.release(slot);
    if (slots.inCritical(slot)) files.aio.thread.crash(`backend ${slot} left inside a critical section`);
  }

  /**
   * The messages that are in the files and durable, oldest first; others may go on writing. Rejects with a WalReadError
   * where the WAL ends too early.
   *
   *     for await (const { prefix, payload } of backend.wal.messages()) ...
   */
  messages(options: MessageOptions = {}): AsyncGenerator<WalMessage, void, undefined> {
    const { directory, identity, files } = this.parts;
    const { timeline, segmentSize, systemIdentifier } = identity;
    return readMessages(
      {
        files,
        open: (path) => new File(files, files.vfds.open(path, {})),
        directory,
        timeline,
        segmentSize,
        systemIdentifier: BigInt(systemIdentifier),
        flushedUpTo: this.flushedUpTo,
      },
      options,
    );
  }

  /**
   * Writes and syncs what is dirty, so that recovery begins here, and lets go of WAL that is needed no more. Resolves
   * with the LSN from which on recovery would read. Rejects with what could not be written; the last one holds then.
   */
  checkpoint(): Promise<Lsn> {
    return this.parts.checkpointing.run('online');
  }
}

/** The WAL as those need it who write pages of the data directory with a number. */
function flusherOf(wal: Wal, own: number): WalFlusher {
  const { control } = wal;
  return {
    covers: (directory) => directory === own,
    get flushedUpTo() {
      return control.flushed;
    },
    flushing(lsn) {
      // Nobody could ever make it durable.
      if (lsn > control.reserved) throw new WalPositionError(formatLsn(lsn), formatLsn(control.reserved));
      return wal.flushing(lsn);
    },
  };
}

export function failWithoutWal(): never {
  throw new SettingError('this instance has no WAL', {
    hint: 'Create it with the setting wal: { dataDirectory }.',
  });
}

function message(prefix: string, payload: Uint8Array | string): Uint8Array<ArrayBuffer> {
  checkKind('the prefix of a message', prefix, 'string');
  if (prefix.includes('\0'))
    throw new RangeError('the prefix of a message must not contain a zero character');
  if (typeof payload === 'string') return logicalMessage(prefix, Buffer.from(payload, 'utf8'));
  checkKind('the payload of a message, or a string', payload, Uint8Array);
  return logicalMessage(prefix, payload);
}

/** Null for an instance without one. */
export function walOf(
  context: FileContext,
  parts: ThreadParts,
  directories: DataDirectories,
  writes: BackendWrites,
): BackendWal | null {
  const { aio, scope } = context;
  const { memory, wal: control, vfds, slot } = parts;
  const { slots, plan, handle } = memory;
  const { wal: settings } = handle.settings;
  if (control === null || settings === null || handle.wal === null) return null;
  const { dataDirectory, timeline, segmentSize, systemIdentifier } = handle.wal;
  const directory = join(dataDirectory, 'pg_wal');
  // In front of the I/O memory, which is the last: see createMemories.
  const number = handle.memories.length - 2;
  const bytes = (memory.bytes[number] as Uint8Array<SharedArrayBuffer>).subarray(0, settings.bufferBytes);
  const identity = { timeline, segmentSize, systemIdentifier: BigInt(systemIdentifier) };
  const buffers = new WalBuffers(bytes, identity);
  const { direct, syncMethod } = settings;
  const dataSync = syncMethod === 'open_datasync';
  const files = new WalFiles(vfds, slot, { directory, timeline, segmentSize, direct, dataSync });
  const wal = new Wal({ aio, scope, control, buffers, files, timeline, memory: number, memoryOffset: 0 });
  const checkpointLock = new CheckpointLock(slots, plan.checkpointLock);
  const truncationLock = new CheckpointLock(slots, plan.truncationLock);
  const checkpointing = new Checkpointing({
    wal,
    waits: aio.waits,
    lock: checkpointLock,
    truncationLock,
    slot,
    controlPath: controlFilePath(dataDirectory),
    walDirectory: directory,
    keepBytes: settings.keepBytes,
    flushBuffers: () => writes.flushAllBuffers(),
    syncFiles: () => writes.processSyncRequests(),
  });
  const flusher = flusherOf(wal, directories.numberOf(resolve(dataDirectory)));
  const changes = {
    wal,
    slots,
    slot,
    bufferIo: parts.bufferIo,
    covers: (number: number) => flusher.covers(number),
  };
  return new BackendWal({
    wal,
    buffers,
    directory,
    identity: handle.wal,
    files: context,
    checkpointing,
    checkpointLock,
    truncationLock,
    flusher,
    changes,
  });
}
