/**
 * Reads, writes and synchronizations of plain files, as many at a time as there are handles and memory, with one
 * promise each. What a thread asks for in one turn is started together, behind that turn, and submitted by one call.
 *
 * The bytes go through leased I/O memory, because neither an I/O worker nor the kernel on our behalf can be given a
 * buffer of the thread's own; the issuer copies. Memory that was leased before (see io-buffer.ts) is used where it is.
 *
 *   MEMORY ── leased ──▶ HANDLE ── started ──▶ FLIGHT ── over ──▶ the promise
 *                          ▲                     │
 *                          └── too few bytes ────┘
 */
import { constants } from 'node:os';
import type { Aio } from '../aio/aio.js';
import type { IoHandle } from '../aio/handle.js';
import { HandleFlag } from '../aio/operation.js';
import { CallbackId } from '../aio/ids.js';
import { errorOf } from '../aio/report.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import type { Scope } from '../aio/scope.js';
import { AbortError, FileError } from '../base/file-error.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { setFileTarget } from '../vfd/file-target.js';
import type { FileContext } from '../vfd/file.js';
import type { Vfd } from '../vfd/vfd.js';
import { offAbort, onAbort } from './abort-listeners.js';
import { descriptorOf } from './descriptors.js';

const { EIO } = constants.errno;
const NONE = -1;

const Phase = { MEMORY: 0, HANDLE: 1, FLIGHT: 2 } as const;
type Phase = (typeof Phase)[keyof typeof Phase];

export type FileOperation = 'read' | 'write' | 'fsync' | 'fdatasync';

/** What is to be done with a file, and for whom. */
export interface FileRequest {
  readonly operation: FileOperation;
  readonly vfd: Vfd;
  /** In the file, in bytes. */
  readonly position: number;
  /** Where the bytes go to or come from; its length is how many. */
  readonly bytes: Uint8Array;
  /** Of positions, lengths and memory; 1 unless the file is read past the page cache. */
  readonly alignment: number;
  readonly signal?: AbortSignal | undefined;
  /**
   * The request is over, also one whose promise an abort has rejected before. False: of a crashed instance, where the kernel may
   * still be at its memory.
   */
  readonly ended: (isOver: boolean) => void;
}

export class FileIo {
  readonly context: FileContext;
  /** What this turn has asked for. */
  #asked: Task[] = [];
  readonly #startAsked = (): void => this.#start();

  constructor(context: FileContext) {
    this.context = context;
  }

  /** Resolves with what `result` makes of the number of bytes; fewer than asked for only where a file ends. */
  run<T>(request: FileRequest, result: (bytes: number) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (request.signal?.aborted === true) {
        request.ended(true);
        reject(new AbortError(request.signal));
        return;
      }
      this.#asked.push(new Task(this.context, request, (bytes) => resolve(result(bytes)), reject));
      if (this.#asked.length === 1) queueMicrotask(this.#startAsked);
    });
  }

  #start(): void {
    const tasks = this.#asked;
    this.#asked = [];
    const { aio, scope } = this.context;
    try {
      if (tasks.length > 1) startTogether(aio, scope, tasks);
    } catch {
      // The submission has crashed the instance, or could not be made: each hears of that from its own step.
    }
    for (const task of tasks) if (!task.isOver) aio.waits.settle(task.step, task.succeed, task.fail);
  }
}

function startTogether(aio: Aio, scope: Scope, tasks: readonly Task[]): void {
  aio.enterBatch(scope);
  try {
    for (const task of tasks) task.begin();
  } finally {
    aio.exitBatch();
  }
}

/** One request under way. */
class Task {
  readonly step = (): number | Pending => this.#step(true);
  readonly succeed = (bytes: number): void => {
    this.#end();
    this.#resolve(bytes);
  };
  readonly fail = (error: unknown): void => {
    // While the kernel may still write into it, the memory stays leased: then the instance has crashed.
    if (this.#phase !== Phase.FLIGHT) this.#releaseMemory();
    this.#end();
    this.#reject(error);
  };
  isOver = false;
  readonly #context: FileContext;
  readonly #request: FileRequest;
  readonly #resolve: (bytes: number) => void;
  readonly #reject: (error: unknown) => void;
  readonly #result = new AioReturn();
  readonly #onAbort: (() => void) | null = null;
  #phase: Phase = Phase.MEMORY;
  #aborted = false;
  /** Of the leased memory, or of the caller's own piece of it. */
  #memory = NONE;
  #isLeased = false;
  #index = 0;
  #generation = 0;
  /** Where the I/O begins in the file: the position, or what is aligned before it. */
  readonly #start: number;
  /** Bytes from there on. */
  readonly #span: number;
  #done = 0;

  constructor(
    context: FileContext,
    request: FileRequest,
    resolve: (bytes: number) => void,
    reject: (error: unknown) => void,
  ) {
    this.#context = context;
    this.#request = request;
    this.#resolve = resolve;
    this.#reject = reject;
    const { position, bytes, alignment, signal } = request;
    this.#start = position - (position % alignment);
    this.#span = Math.ceil((position - this.#start + bytes.length) / alignment) * alignment;
    const isWhole = this.#start === position && this.#span === bytes.length;
    if (isWhole && bytes.buffer === context.bytes.buffer && bytes.byteOffset % alignment === 0)
      this.#memory = bytes.byteOffset;
    if (request.operation === 'fsync' || request.operation === 'fdatasync') this.#phase = Phase.HANDLE;
    if (signal !== undefined) onAbort(signal, (this.#onAbort = () => this.#abort(signal)));
  }

  /** Starts it, if that can be done without waiting. */
  begin(): void {
    try {
      const bytes = this.#step(false);
      if (bytes !== PENDING) this.succeed(bytes);
    } catch (error) {
      this.fail(error);
    }
  }

  #abort(signal: AbortSignal): void {
    this.#aborted = true;
    this.#reject(new AbortError(signal));
    // What is being carried out goes on, and keeps its memory until it is over.
    if (this.#phase === Phase.FLIGHT) this.#context.aio.cancel(this.#index, this.#generation);
  }

  #end(): void {
    this.isOver = true;
    const { signal } = this.#request;
    if (signal !== undefined && this.#onAbort !== null) offAbort(signal, this.#onAbort);
    this.#request.ended(this.#phase !== Phase.FLIGHT);
  }

  #step(mayWait: boolean): number | Pending {
    for (;;) {
      if (this.#aborted && this.#phase !== Phase.FLIGHT) {
        this.#releaseMemory();
        return 0;
      }
      if (this.#phase === Phase.MEMORY && this.#takeMemory() === PENDING) return PENDING;
      if (this.#phase === Phase.HANDLE && this.#startIo() === PENDING) return PENDING;
      if (!mayWait) return PENDING;
      const { aio } = this.#context;
      if (aio.waitFor(this.#index, this.#generation) === PENDING) return PENDING;
      this.#phase = Phase.HANDLE;
      if (this.#isDone()) return this.#finish();
    }
  }

  #takeMemory(): true | Pending {
    if (this.#memory === NONE) {
      const { aio, ioMemory, bytes } = this.#context;
      const leased = ioMemory.lease(aio.waits, this.#span);
      if (leased === PENDING) return PENDING;
      this.#memory = leased;
      this.#isLeased = true;
      if (this.#request.operation === 'write') bytes.set(this.#request.bytes, leased);
    }
    this.#phase = Phase.HANDLE;
    return true;
  }

  #startIo(): true | Pending {
    const { aio, scope } = this.#context;
    const io = aio.acquire(scope, this.#result);
    if (io === PENDING) return PENDING;
    ({ index: this.#index, generation: this.#generation } = io);
    try {
      this.#fill(io);
    } catch (error) {
      if (aio.isHandedOut(io))
        aio.release(io); // the file could not be opened again
      else this.#phase = Phase.FLIGHT; // it was started: the instance has crashed
      throw error;
    }
    this.#phase = Phase.FLIGHT;
    return true;
  }

  #fill(io: IoHandle): void {
    const { aio, vfds, memory } = this.#context;
    const { operation, vfd } = this.#request;
    const position = this.#start + this.#done;
    const length = this.#span - this.#done;
    const fd = descriptorOf(vfds, vfd);
    if (operation === 'read' || operation === 'write') {
      io.setMemory(memory);
      io.appendIov(this.#memory + this.#done, length);
    }
    switch (operation) {
      case 'read':
        setFileTarget(io, vfd, position, length, 0);
        aio.startReadv(io, fd, position);
        return;
      case 'write':
        setFileTarget(io, vfd, position, length, 0, CallbackId.FILE_WRITEV);
        // A worker's death makes others run its I/O again, which would append twice.
        if (vfd.appends) io.setFlag(HandleFlag.SYNCHRONOUS);
        aio.startWritev(io, fd, position);
        return;
      default:
        setFileTarget(io, vfd, position, 0, 0, CallbackId.FILE_SYNC);
        if (operation === 'fdatasync') io.setFlag(HandleFlag.DATA_ONLY);
        aio.startFsync(io, fd);
    }
  }

  /** Whether it was the last I/O. Fewer bytes than asked for are no end by themselves: FUSE and full disks do that. */
  #isDone(): boolean {
    const { operation, alignment } = this.#request;
    if (this.#result.status === ResultStatus.ERROR || operation === 'fsync' || operation === 'fdatasync')
      return true;
    const { value } = this.#result;
    this.#done += value;
    return value === 0 || this.#done >= this.#span || this.#done % alignment !== 0;
  }

  #finish(): number {
    const { operation, position, bytes, vfd } = this.#request;
    if (this.#result.status === ResultStatus.ERROR) throw this.#error();
    if (operation !== 'read') {
      if (this.#done < this.#span)
        throw new FileError('write', { path: vfd.path, errno: EIO, position, length: bytes.length });
      this.#releaseMemory();
      return operation === 'write' ? bytes.length : 0;
    }
    const before = position - this.#start;
    const got = Math.max(0, Math.min(bytes.length, this.#done - before));
    if (this.#isLeased && !this.#aborted)
      bytes.set(this.#context.bytes.subarray(this.#memory + before, this.#memory + before + got));
    this.#releaseMemory();
    return got;
  }

  #error(): Error {
    const { operation, vfd, position, bytes } = this.#request;
    const { reporter, errorData: errno } = this.#result;
    const isOurs = reporter === CallbackId.FILE_READV || reporter >= CallbackId.FILE_WRITEV;
    if (!isOurs) return errorOf(this.#context.aio, this.#result);
    const where = operation === 'read' || operation === 'write' ? { position, length: bytes.length } : {};
    return new FileError(operation, { path: vfd.path, errno, ...where });
  }

  #releaseMemory(): void {
    if (!this.#isLeased) return;
    this.#isLeased = false;
    this.#context.ioMemory.release(this.#memory, this.#span);
  }
}
