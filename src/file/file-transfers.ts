/**
 * How the bytes of one open file are moved, whatever it was that asked for them: in pieces, in their turn, and from or into
 * memory that stays theirs until the I/O is over, which may be long after an abort has settled the promise.
 */
import { fstatSync } from 'node:fs';
import { constants } from 'node:os';
import { AbortError, FileError } from '../base/file-error.js';
import type { Vfd } from '../vfd/vfd.js';
import { offAbort, onAbort } from './abort-listeners.js';
import { descriptorOf } from './descriptors.js';
import { bytesOf, type TransferArguments } from './file-arguments.js';
import type { FileIo, FileOperation } from './file-io.js';
import { Flights } from './flights.js';
import type { IoBuffer, IoBuffers } from './io-buffer.js';

const { EINVAL } = constants.errno;
/** Larger transfers are cut into pieces, several of which are in flight. */
const PIECE_BYTES = 262_144;
const PIECES_IN_FLIGHT = 8;
const NOTHING = new Uint8Array(0);

/** Bytes, and where they go to or come from. */
interface Move {
  readonly operation: FileOperation;
  readonly position: number;
  readonly bytes: Uint8Array;
  readonly signal: AbortSignal | undefined;
  /** What the bytes are of, if they are of one. */
  readonly pinned: IoBuffer | null;
  /** Who wants to know when its I/O is over. */
  readonly flights: Flights | null;
}

export class FileTransfers {
  /** Where what has no position begins. */
  current = 0;
  /** Of one I/O, at most. */
  readonly pieceBytes: number;
  /** Of positions, lengths and memory; 1 unless the file is read past the page cache. */
  readonly alignment: number;
  /** Operations and their I/O, which may last longer: an abort settles the one and not the other. */
  readonly underWay: Flights = new Flights();
  readonly #io: FileIo;
  readonly #buffers: IoBuffers;
  readonly #vfd: Vfd;
  /** What has no position waits for what had none before. */
  #cursor: Promise<unknown> = Promise.resolve();

  /** Who owns this: kept by what is under way, for a file that nobody refers to is closed. */
  readonly owner: object;

  constructor(owner: object, io: FileIo, buffers: IoBuffers, vfd: Vfd, alignment: number) {
    this.owner = owner;
    this.#io = io;
    this.#buffers = buffers;
    this.#vfd = vfd;
    this.alignment = alignment;
    const quarter = 2 ** Math.floor(Math.log2(io.context.ioMemory.capacity / 4));
    this.pieceBytes = Math.max(8192, Math.min(PIECE_BYTES, quarter));
  }

  /** The buffers one behind the other. */
  async vector(
    operation: 'read' | 'write',
    buffers: readonly NodeJS.ArrayBufferView[],
    position: number | null,
  ): Promise<number> {
    const total = buffers.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const [only] = buffers;
    const isOne = buffers.length === 1 && only !== undefined;
    const whole = isOne ? bytesOf(only) : Buffer.allocUnsafeSlow(total);
    if (operation === 'write' && !isOne) gather(whole, buffers);
    const given = { buffer: whole, bytes: whole, position, signal: undefined };
    const moved = await this.transfer(operation, given, (bytes) => bytes);
    if (operation === 'read' && !isOne) scatter(whole.subarray(0, moved), buffers);
    return moved;
  }

  /** What `result` makes of the number of bytes that were moved: at the position, or at the current one if it is null. */
  transfer<T>(
    operation: 'read' | 'write',
    { bytes, position, signal }: TransferArguments<ArrayBufferView>,
    result: (bytes: number) => T,
  ): Promise<T> {
    const pinned = this.#buffers.of(bytes);
    const move = { operation, position: position ?? 0, bytes, signal, pinned, flights: null };
    if (position === null) return this.#held(pinned, () => this.#inTurn(move)).then(result);
    return this.#moveAll(move, result);
  }

  sync(operation: 'fsync' | 'fdatasync'): Promise<void> {
    const move = { operation, position: 0, bytes: NOTHING, signal: undefined, pinned: null, flights: null };
    return this.#run(move, () => undefined);
  }

  /** From the call to the settlement the file is not closed, and the memory nobody else's, also while nothing is in flight. */
  async #held<T>(pinned: IoBuffer | null, body: () => Promise<T>): Promise<T> {
    pinned?.pin();
    this.underWay.begin();
    try {
      return await body();
    } finally {
      pinned?.unpin();
      this.underWay.end();
    }
  }

  /**
   * Moves bytes at the current position, which moves, when what was asked for before is over: not its promise, which an
   * abort may have rejected, but its I/O, which could otherwise come after this one's, in the same place.
   */
  #inTurn(move: Move): Promise<number> {
    const { signal } = move;
    return new Promise((resolve, reject) => {
      let isAborted = false;
      const abort = (): void => {
        isAborted = true;
        reject(new AbortError(signal as AbortSignal));
      };
      if (signal?.aborted === true) abort();
      else if (signal !== undefined) onAbort(signal, abort);
      const flights = new Flights();
      this.#cursor = this.#cursor.then(async () => {
        if (signal !== undefined) offAbort(signal, abort);
        if (isAborted) return;
        try {
          const moved = await this.#moveAll({ ...move, position: this.current, flights }, identity);
          this.current = this.#isAppend(move) ? this.#size() : this.current + moved;
          resolve(moved);
        } catch (error) {
          reject(error instanceof Error ? error : new Error(String(error)));
        }
        await flights.whenOver();
      });
    });
  }

  /** To the end of the file, wherever it is meant to go. */
  #isAppend({ operation }: Move): boolean {
    return operation === 'write' && this.#vfd.appends;
  }

  #size(): number {
    return fstatSync(descriptorOf(this.#io.context.vfds, this.#vfd)).size;
  }

  #moveAll<T>(move: Move, result: (bytes: number) => T): Promise<T> {
    const { operation, bytes, pinned } = move;
    const { length } = bytes;
    const position = this.#isAppend(move) ? 0 : move.position;
    if (length === 0) return Promise.resolve(result(0));
    if (operation === 'write' && (position % this.alignment !== 0 || length % this.alignment !== 0))
      return Promise.reject(this.#unaligned(position, length));
    // Memory of an I/O buffer needs no other.
    if (length <= this.pieceBytes || (pinned !== null && this.alignment === 1))
      return this.#run(move, result);
    return this.#held(pinned, () => this.#inPieces(move)).then(result);
  }

  /** A read can take what is around it as well; a write would write that. */
  #unaligned(position: number, length: number): FileError {
    const hint = `Past the page cache, positions and lengths of writes are multiples of ${this.alignment}.`;
    return new FileError('write', { path: this.#vfd.path, errno: EINVAL, position, length, hint });
  }

  async #inPieces(move: Move): Promise<number> {
    const { position, bytes } = move;
    const piece = this.pieceBytes;
    const inFlight: Promise<number>[] = [];
    const atOnce = this.#vfd.appends ? 1 : PIECES_IN_FLIGHT;
    let moved = 0;
    let isOver = false;
    const take = async (): Promise<void> => {
      const count = await (inFlight.shift() as Promise<number>);
      if (!isOver) moved += count;
      if (count < piece) isOver = true; // what is read behind the end is nothing
    };
    try {
      for (let at = 0; at < bytes.length && !isOver; at += piece) {
        const part = { ...move, position: position + at, bytes: bytes.subarray(at, at + piece) };
        const moving = this.#run(part, identity);
        moving.catch(() => undefined); // it is awaited later
        inFlight.push(moving);
        if (inFlight.length >= atOnce) await take();
      }
      while (inFlight.length > 0) await take();
    } finally {
      await Promise.allSettled(inFlight);
    }
    return moved;
  }

  /** One I/O. */
  #run<T>(
    { operation, position, bytes, signal, pinned, flights }: Move,
    result: (bytes: number) => T,
  ): Promise<T> {
    pinned?.pin();
    this.underWay.begin();
    flights?.begin();
    const ended = (isOver: boolean): void => {
      if (isOver) pinned?.unpin();
      flights?.end();
      this.underWay.end();
    };
    return this.#io.run(
      { operation, vfd: this.#vfd, position, bytes, alignment: this.alignment, signal, ended },
      result,
    );
  }
}

function identity(bytes: number): number {
  return bytes;
}

function gather(whole: Uint8Array, buffers: readonly NodeJS.ArrayBufferView[]): void {
  let at = 0;
  for (const buffer of buffers) {
    whole.set(bytesOf(buffer), at);
    at += buffer.byteLength;
  }
}

function scatter(whole: Uint8Array, buffers: readonly NodeJS.ArrayBufferView[]): void {
  let at = 0;
  for (const buffer of buffers) {
    const part = whole.subarray(at, at + buffer.byteLength);
    bytesOf(buffer).set(part);
    at += part.length;
  }
}
