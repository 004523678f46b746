/**
 * Many ranges of one file, read with a window of I/Os in flight and one promise for all: no object, closure or promise a
 * read. A step, see shmem/wait.ts, which now and then says that there is more to do, so that others have their turn.
 *
 * The window's places are pieces of leased I/O memory, from which the issuer copies; reads into an I/O buffer, which is such
 * memory itself, go where the bytes belong. Each place is used again as soon as its read is over, in whatever order the
 * reads end; the step waits for the oldest, and then takes all that are over.
 */
import type { IoHandle } from '../aio/handle.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import { AbortError, FileError } from '../base/file-error.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { setFileTarget } from '../vfd/file-target.js';
import type { FileContext } from '../vfd/file.js';
import type { Vfd } from '../vfd/vfd.js';
import { offAbort, onAbort } from './abort-listeners.js';
import { checkInteger, checkView, invalidType } from './checks.js';
import { descriptorOf } from './descriptors.js';

/** Bytes of a file. */
export interface ReadRange {
  readonly position: number;
  readonly length: number;
}

/** Buffers of their own are cut from pieces that malloc uses again: new memory costs as much as reading from the cache. */
const SLAB_BYTES = 262_144;

/** Positions, as they are now: the caller may change its objects while they are read. */
export function positionsOf(ranges: readonly ReadRange[]): Float64Array {
  return Float64Array.from(ranges, ({ position }) => position);
}

/**
 * A buffer for each range: cut from `into`, one behind the other, or new. Throws a RangeError for what is no range, and when
 * `into` is too short.
 */
export function targetsOf(ranges: readonly ReadRange[], into?: ArrayBufferView): Buffer[] {
  if (!isArray(ranges)) throw invalidType('ranges', 'an instance of Array', ranges);
  if (into !== undefined) checkView('buffer', into);
  let total = 0;
  for (const range of ranges) {
    if (typeof range !== 'object' || (range as unknown) === null)
      throw invalidType('range', 'an object with a position and a length', range);
    checkInteger('position', range.position);
    total += checkInteger('length', range.length);
  }
  if (into !== undefined && total > into.byteLength)
    throw new RangeError(`the ranges have ${total} bytes together, and the buffer has ${into.byteLength}`);
  let slab = into === undefined ? null : Buffer.from(into.buffer, into.byteOffset, into.byteLength);
  let at = 0;
  return ranges.map(({ length }) => {
    if (slab === null || (into === undefined && at + length > slab.length)) {
      slab = Buffer.allocUnsafeSlow(Math.max(length, Math.min(SLAB_BYTES, total)));
      at = 0;
    }
    total -= length;
    at += length;
    return slab.subarray(at - length, at);
  });
}

/** A step takes about so many reads, or bytes. */
const STEP_READS = 128;
const STEP_BYTES = 1_048_576;

export interface ManyReadsRequest {
  readonly vfd: Vfd;
  /** Of each range, in the file. */
  readonly positions: Float64Array;
  /** Where the bytes of each range go, and how many they are. */
  readonly targets: readonly Buffer[];
  /** Of positions, lengths and memory; 1 unless the file is read past the page cache. */
  readonly alignment: number;
  /** Bytes an I/O at most; a multiple of the alignment. */
  readonly pieceBytes: number;
  /** I/Os in flight at most. */
  readonly depth: number;
}

/** Whether the reads can go into the targets themselves: those are I/O memory, and nothing has to be read around them. */
function areInPlace({ positions, targets, alignment }: ManyReadsRequest, memory: Uint8Array): boolean {
  return targets.every(({ buffer, byteOffset, length }, index) => {
    const position = positions[index] as number;
    if (buffer !== memory.buffer) return false;
    return position % alignment === 0 && length % alignment === 0 && byteOffset % alignment === 0;
  });
}

/** A place of the window, and the read that it is used for. */
interface Place {
  memory: number;
  readonly result: AioReturn;
  index: number;
  generation: number;
  range: number;
  /** In the target of the range. */
  offset: number;
  /** Of the bytes that are wanted. */
  position: number;
  length: number;
  /** What of them, aligned, has been read: from the aligned position on. */
  done: number;
}

export class ManyReads {
  /** By range: bytes that were read; fewer than asked for where the file ends. */
  readonly #got: Float64Array;
  readonly #context: FileContext;
  readonly #request: ManyReadsRequest;
  readonly #placeBytes: number;
  readonly #isInPlace: boolean;
  readonly #free: Place[] = [];
  /** Whose read stopped early, or found no handle; they come first. */
  readonly #toGoOn: Place[] = [];
  /** In the order of their start. */
  #flights: Place[] = [];
  #spare: Place[] = [];
  #hasPlaces = false;
  /** Of this step. */
  #readsLeft = 0;
  /** Where the next piece begins. */
  #range = 0;
  #offset = 0;
  #error: Error | null = null;

  constructor(context: FileContext, request: ManyReadsRequest) {
    this.#context = context;
    this.#request = request;
    this.#got = new Float64Array(request.targets.length);
    this.#isInPlace = areInPlace(request, context.bytes);
    const { alignment, pieceBytes, targets } = request;
    let longest = 0;
    for (const { length } of targets) longest = Math.max(longest, Math.min(length, pieceBytes));
    // What is wanted may begin and end inside an aligned block.
    this.#placeBytes = alignment === 1 ? longest : (Math.ceil(longest / alignment) + 1) * alignment;
  }

  /**
   * Resolves with what was read. `ended`: it is over, of which an abort may have rejected long before; false: of a crashed
   * instance, where the kernel may still be at its memory.
   */
  run(signal: AbortSignal | undefined, ended: (isOver: boolean) => void): Promise<Buffer[]> {
    const { waits } = this.#context.aio;
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        const error = new AbortError(signal as AbortSignal);
        this.#stop(error);
        reject(error);
      };
      const end = (): void => {
        if (signal !== undefined) offAbort(signal, abort);
        ended(this.#flights.length === 0);
      };
      const failed = (error: unknown): void => {
        end();
        reject(error instanceof Error ? error : new Error(String(error)));
      };
      const stepped = (isOver: boolean): void => {
        if (!isOver) {
          waits.settle(this.#step, stepped, failed);
          return;
        }
        end();
        resolve(this.#results());
      };
      if (signal !== undefined) onAbort(signal, abort);
      stepped(false);
    });
  }

  /** Starts nothing more; what somebody has begun goes on. The step throws this when it is over. */
  #stop(error: Error): void {
    this.#error ??= error;
    const { aio } = this.#context;
    for (const { index, generation } of this.#flights) aio.cancel(index, generation);
  }

  /** Step: true when all is read, false before. Throws the first error, when nothing is in flight any more. */
  readonly #step = (): boolean | Pending => {
    const { aio } = this.#context;
    this.#readsLeft = Math.min(STEP_READS, Math.ceil(STEP_BYTES / Math.max(1, this.#placeBytes)));
    for (;;) {
      if (this.#readsLeft <= 0) return false;
      if (this.#flights.length > 0) {
        aio.reclaimCompleted();
        this.#takeWhatIsOver();
      }
      if (this.#startMore() === PENDING) return PENDING;
      const [oldest] = this.#flights;
      if (oldest === undefined) break;
      if (aio.waitFor(oldest.index, oldest.generation) === PENDING) return PENDING;
    }
    this.#releasePlaces();
    if (this.#error !== null) throw this.#error;
    return true;
  };

  /** What was read: the targets, cut where the file ended. */
  #results(): Buffer[] {
    const { targets } = this.#request;
    return targets.map((target, range) => {
      const got = this.#got[range] as number;
      return got === target.length ? target : target.subarray(0, got);
    });
  }

  // --- starting ----------------------------------------------------------------------------------

  #startMore(): true | Pending {
    if (this.#error !== null) return true;
    if (this.#toGoOn.length === 0 && !this.#isMore()) return true;
    if (!this.#hasPlaces && this.#makePlaces() === PENDING) return PENDING;
    const { aio, scope } = this.#context;
    aio.enterBatch(scope);
    try {
      for (let place = this.#nextPlace(); place !== null; place = this.#nextPlace()) {
        const started = this.#start(place);
        if (started === PENDING) {
          this.#toGoOn.push(place);
          return this.#flights.length > 0 ? true : PENDING;
        }
        if (!started) this.#free.push(place);
      }
      return true;
    } finally {
      aio.exitBatch();
    }
  }

  /** With the read that it is for. */
  #nextPlace(): Place | null {
    if (this.#error !== null) return null;
    if (this.#toGoOn.length > 0) return this.#toGoOn.pop() as Place;
    if (this.#free.length === 0 || !this.#isMore()) return null;
    const place = this.#free.pop() as Place;
    this.#assign(place);
    return place;
  }

  #isMore(): boolean {
    const { targets } = this.#request;
    while (this.#range < targets.length && this.#offset >= (targets[this.#range] as Buffer).length) {
      this.#range++;
      this.#offset = 0;
    }
    return this.#range < targets.length;
  }

  #assign(place: Place): void {
    const { positions, targets, pieceBytes } = this.#request;
    const { byteOffset, length } = targets[this.#range] as Buffer;
    if (this.#isInPlace) place.memory = byteOffset + this.#offset;
    place.range = this.#range;
    place.position = (positions[this.#range] as number) + this.#offset;
    place.length = Math.min(pieceBytes, length - this.#offset);
    place.offset = this.#offset;
    place.done = 0;
    this.#offset += place.length;
  }

  /** False: it could not be started. PENDING: others of this thread have all handles. */
  #start(place: Place): boolean | Pending {
    const { aio, scope, vfds, memory } = this.#context;
    const { vfd, alignment } = this.#request;
    let io: IoHandle | Pending | null = null;
    try {
      io =
        this.#flights.length > 0
          ? (aio.tryAcquire(scope, place.result) ?? PENDING)
          : aio.acquire(scope, place.result);
      if (io === PENDING) return PENDING;
      const fd = descriptorOf(vfds, vfd);
      const before = place.position % alignment;
      const span = Math.ceil((before + place.length) / alignment) * alignment;
      const position = place.position - before + place.done;
      setFileTarget(io, vfd, position, span - place.done, 0);
      io.setMemory(memory);
      io.appendIov(place.memory + place.done, span - place.done);
      ({ index: place.index, generation: place.generation } = io);
      aio.startReadv(io, fd, position);
      this.#flights.push(place);
      return true;
    } catch (error) {
      // The file could not be opened again, or the backend closes: what is in flight is still to be waited for.
      if (io !== null && io !== PENDING) {
        if (!aio.isHandedOut(io)) {
          this.#flights.push(place); // it was started: the instance has crashed
          throw error;
        }
        aio.release(io);
      }
      this.#stop(error as Error);
      return false;
    }
  }

  // --- ending ------------------------------------------------------------------------------------

  #takeWhatIsOver(): void {
    const flights = this.#flights;
    const left = this.#spare;
    const { aio, scope } = this.#context;
    this.#flights = left;
    this.#spare = flights;
    aio.enterBatch(scope);
    try {
      for (const place of flights) {
        if (place.result.status === ResultStatus.UNKNOWN) {
          left.push(place);
          continue;
        }
        this.#readsLeft--;
        if (!this.#goOn(place)) this.#free.push(place);
      }
    } finally {
      aio.exitBatch();
    }
    flights.length = 0;
  }

  /** Takes what was read. True: there is more of it. */
  #goOn(place: Place): boolean {
    const { alignment } = this.#request;
    const { result } = place;
    if (result.status === ResultStatus.ERROR) {
      const { position, length } = place;
      const { path } = this.#request.vfd;
      this.#stop(new FileError('read', { path, errno: result.errorData, position, length }));
      return false;
    }
    const before = place.position % alignment;
    place.done += result.value;
    const isShort = place.done < before + place.length;
    // Fewer bytes than asked for are no end by themselves; none, or a part of a block, are.
    if (isShort && result.value > 0 && place.done % alignment === 0 && this.#error === null) {
      this.#toGoOn.push(place);
      return true;
    }
    const got = Math.max(0, Math.min(place.length, place.done - before));
    if (this.#error !== null) return false; // who aborted may use the buffers for something else
    if (!this.#isInPlace) {
      const from = place.memory + before;
      const target = this.#request.targets[place.range] as Buffer;
      target.set(this.#context.bytes.subarray(from, from + got), place.offset);
    }
    this.#got[place.range] = (this.#got[place.range] as number) + got;
    return false;
  }

  #makePlaces(): true | Pending {
    const { aio, ioMemory } = this.#context;
    const { depth, targets, pieceBytes } = this.#request;
    let pieces = 0;
    for (const { length } of targets) pieces += Math.ceil(length / pieceBytes);
    const wanted = Math.min(depth, pieces);
    if (this.#isInPlace) {
      while (this.#free.length < wanted) this.#free.push(placeAt(0)); // each read has its own
    } else {
      const first = ioMemory.lease(aio.waits, this.#placeBytes);
      if (first === PENDING) return PENDING;
      for (let memory = first; memory >= 0; memory = ioMemory.tryLease(this.#placeBytes)) {
        this.#free.push(placeAt(memory));
        if (this.#free.length >= wanted) break;
      }
    }
    this.#hasPlaces = true;
    return true;
  }

  #releasePlaces(): void {
    const { ioMemory } = this.#context;
    for (const { memory } of [...this.#free.splice(0), ...this.#toGoOn.splice(0)])
      if (!this.#isInPlace) ioMemory.releaseWhole(memory);
    this.#hasPlaces = false;
  }
}

function placeAt(memory: number): Place {
  return {
    memory,
    result: new AioReturn(),
    index: 0,
    generation: 0,
    range: 0,
    offset: 0,
    position: 0,
    length: 0,
    done: 0,
  };
}

/** `Array.isArray` makes the elements of a readonly array anything. */
function isArray(value: unknown): boolean {
  return Array.isArray(value);
}
