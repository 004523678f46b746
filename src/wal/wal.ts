/**
 * The write-ahead log of an instance, as one backend uses it: inserts records, and makes them durable together with
 * everybody else's. The positions and their rules are in wal-control.ts.
 */
import type { Aio } from '../aio/aio.js';
import { HandleFlag } from '../aio/operation.js';
import { CallbackId } from '../aio/ids.js';
import { AioReturn } from '../aio/result.js';
import type { Scope } from '../aio/scope.js';
import { ResourceExhaustedError } from '../base/errors.js';
import { WalFileError } from '../base/wal-errors.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import { sealRecord } from './encode-record.js';
import { pageStart } from './geometry.js';
import type { Lsn } from './lsn.js';
import { WAL_PAGE_SIZE } from './page-header.js';
import type { WalBuffers } from './wal-buffers.js';
import { Reserved, WalTask, type ReserveOptions, type WalControl } from './wal-control.js';
import type { WalFiles } from './wal-files.js';
import { setWalTarget } from './wal-target.js';

export interface WalParts {
  readonly aio: Aio;
  readonly scope: Scope;
  readonly control: WalControl;
  readonly buffers: WalBuffers;
  readonly files: WalFiles;
  readonly timeline: number;
  /** Number of the memory of the buffers, and where they begin in it. */
  readonly memory: number;
  readonly memoryOffset: number;
}

/** So much is copied into the page cache in the time that it takes to wake a thread. */
const QUICK_BYTES = 65_536;
/** How long a thread looks away while another copies a record. */
const COPY_MILLIS = 0.05;

export class Wal {
  readonly control: WalControl;
  readonly #parts: WalParts;
  /** Results nobody looks at: what became of a write is in the control words, for all. */
  readonly #result = new AioReturn();

  constructor(parts: WalParts) {
    this.#parts = parts;
    this.control = parts.control;
  }

  get files(): WalFiles {
    return this.#parts.files;
  }

  get timeline(): number {
    return this.#parts.timeline;
  }

  // --- inserting ---------------------------------------------------------------------------------

  /**
   * Step: inserts a record whose place and checksum are still to be filled in; returns the LSN of its end, or null when
   * a checkpoint has begun since the caller looked which pages need images. Throws a ClosedError behind the last record.
   */
  inserting(record: Uint8Array): Step<Lsn>;
  inserting(record: Uint8Array, options: ReserveOptions): Step<Lsn | null>;
  inserting(record: Uint8Array, options: ReserveOptions = {}): Step<Lsn | null> {
    const { control, buffers } = this.#parts;
    if (record.length > control.recordBytesMax)
      throw new ResourceExhaustedError(
        `a WAL record of ${record.length} bytes is longer than the WAL buffers allow for, ${control.recordBytesMax} bytes`,
        { hint: 'Write less at once, or create the instance with larger wal.buffers.' },
      );
    let room: Step<void> | null = null;
    return () => {
      for (;;) {
        if (room !== null) {
          if (room() === PENDING) return PENDING;
          room = null;
        }
        const reserved = control.reserve(record.length, (page) => buffers.clear(page), options);
        if (reserved === Reserved.STALE) return null;
        if (reserved === Reserved.DONE) break;
        room = this.flushing(control.roomAfter(record.length));
      }
      const { start, end, previous } = control;
      options.placed?.(start);
      sealRecord(record, previous);
      buffers.copy(record, start);
      control.inserted();
      return end;
    };
  }

  // --- flushing ----------------------------------------------------------------------------------

  /**
   * Step: until all up to `want` is durable. Does what is to be done for that and nobody else does. `inline`: by system
   * calls that block, for a thread that would block anyway and has nothing else in mind.
   */
  flushing(want: number, inline = false): Step<void> {
    const { control } = this;
    const failures = control.writeFailures;
    let isComplete = false;
    return () => {
      for (;;) {
        if (control.flushed >= want) return;
        this.#throwFailure(want, failures);
        isComplete ||= control.completeUpTo() >= want;
        if (!isComplete) {
          control.waitForCopy(COPY_MILLIS);
          continue;
        }
        if (this.#advance(want, inline) === PENDING) return PENDING;
      }
    };
  }

  #throwFailure(want: number, failures: number): void {
    const { control } = this;
    const { syncErrno } = control;
    if (syncErrno === 0 && control.writeFailures === failures) return;
    const path = this.#parts.files.path(Math.floor((want - 1) / control.shape.segmentSize));
    if (syncErrno !== 0) throw new WalFileError('sync', path, syncErrno);
    throw new WalFileError('write', path, control.writeErrno);
  }

  /** One thing of what is to be done, or a wait for what is being done. */
  #advance(want: number, inline: boolean): true | Pending {
    const { aio, scope, files } = this.#parts;
    const { control } = this;
    const task = control.next(want, -1, 0);
    if (task === WalTask.NONE) return true;
    if (task === WalTask.WAIT)
      return aio.waitFor(control.ioHandle, control.ioGeneration) === PENDING ? PENDING : true;
    // What may fail or wait comes before the task is taken: opening the file, and a handle.
    const segment = Math.floor(control.taskStart / control.shape.segmentSize);
    const isNew = task === WalTask.WRITE && control.taskStart % control.shape.segmentSize === 0;
    const file = files.open(segment, isNew);
    const io = aio.acquire(scope, this.#result);
    if (io === PENDING) return PENDING;
    const taken = control.next(want, io.index, io.generation);
    const isOurs = taken === WalTask.WRITE || taken === WalTask.SYNC;
    if (!isOurs || Math.floor(control.taskStart / control.shape.segmentSize) !== segment) {
      if (isOurs) control.giveBack(taken, io.index, io.generation);
      aio.release(io);
      return true;
    }
    const { timeline } = this.#parts;
    const { taskStart, taskEnd, flight } = control;
    if (inline || (taken === WalTask.WRITE && this.#isQuick(taskEnd - taskStart)))
      io.setFlag(HandleFlag.SYNCHRONOUS);
    if (taken === WalTask.SYNC) {
      setWalTarget(io, CallbackId.WAL_SYNC, file.vfd, timeline, taskEnd, 0);
      io.setFlag(HandleFlag.DATA_ONLY);
      aio.startFsync(io, file.fd);
      return true;
    }
    setWalTarget(io, CallbackId.WAL_WRITEV, file.vfd, timeline, taskStart, flight);
    io.setMemory(this.#parts.memory);
    this.#appendPages(taskStart, pageStart(taskEnd - 1) + WAL_PAGE_SIZE, (offset, length) => {
      io.appendIov(offset, length);
    });
    aio.startWritev(io, file.fd, taskStart % control.shape.segmentSize);
    return true;
  }

  /** A small write into the page cache is over before anybody else could be told to do it. */
  #isQuick(bytes: number): boolean {
    return bytes <= QUICK_BYTES && !this.control.shape.writesAreDurable && !this.#parts.files.direct;
  }

  /** Whole pages, as at most two pieces of the ring. */
  #appendPages(start: number, end: number, append: (offset: number, length: number) => void): void {
    const { buffers, memoryOffset } = this.#parts;
    const first = buffers.offset(start);
    const length = Math.min(end - start, buffers.size - first);
    append(memoryOffset + first, length);
    if (length < end - start) append(memoryOffset, end - start - length);
  }
}
