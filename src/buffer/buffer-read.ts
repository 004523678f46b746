/**
 * The end of a read into buffers: each page is judged, its fate is logged and marked, and its buffer is ended. The
 * handle's data are the buffers, in the order of their blocks.
 *
 * Completion may run in any thread, and again after the death of the thread in which it ran. What a page turned out to
 * be is therefore marked in the handle's data before anything is done about it: a buffer that is not this I/O's any more
 * was good, unless its mark says otherwise, and what is marked is not judged again.
 */
import type { IoHandle } from '../aio/handle.js';
import { ResultStatus, type AioResult } from '../aio/result.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { PageKernel } from '../page/page-kernel.js';
import { SmgrWord } from '../smgr/smgr-target.js';
import type { ChecksumFailureTable } from '../stats/checksum-failures.js';
import type { BufferIo } from './buffer-io.js';
import type { DamageLog } from './damage-log.js';
import { checksumFailuresIn, DamageCounts, fateOf, PageFate, ReadFlag } from './page-damage.js';

const BUFFER_MASK = 0xff_ffff;
const FATE_SHIFT = 24;

/** Buffer number of a handle's data word. */
export function bufferOfWord(word: number): number {
  return word & BUFFER_MASK;
}

/** Ties the claims on all of a handle's buffers to its I/O. */
export function attachBuffers(io: IoHandle, bufferIo: BufferIo): void {
  const { index, generation } = io;
  const count = io.dataCount;
  for (let at = 0; at < count; at++) bufferIo.attach(bufferOfWord(io.dataWord(at)), index, generation);
}

/** Pages in one memory. */
export interface PageMemory {
  readonly kernel: PageKernel;
  readonly bytes: Uint8Array;
}

export interface BufferReadParts {
  readonly bufferIo: BufferIo;
  /** By the number that handles have for them. */
  readonly memories: readonly (PageMemory | undefined)[];
  readonly damageLog: DamageLog;
  readonly checksumFailures: ChecksumFailureTable;
}

/** One completion under work; a thread completes one I/O at a time. */
export class BufferRead {
  io!: IoHandle;
  index = 0;
  generation = 0;
  flags = 0;
  firstBlock = 0;
  readonly #damage = new DamageCounts();
  readonly #bufferIo: BufferIo;
  readonly #memories: readonly (PageMemory | undefined)[];
  readonly #log: DamageLog;
  readonly #failures: ChecksumFailureTable;
  readonly #reporter: number;

  /** `reporter`: the callback that reports what this finds. */
  constructor(parts: BufferReadParts, reporter: number) {
    this.#bufferIo = parts.bufferIo;
    this.#memories = parts.memories;
    this.#log = parts.damageLog;
    this.#failures = parts.checksumFailures;
    this.#reporter = reporter;
  }

  complete(io: IoHandle, result: AioResult, flags: number): void {
    this.io = io;
    this.index = io.index;
    this.generation = io.generation;
    this.flags = flags;
    this.firstBlock = io.targetWord(SmgrWord.BLOCK);
    this.#damage.reset();
    const count = io.dataCount;
    const read = result.status === ResultStatus.ERROR ? 0 : Math.min(result.value, count);
    if (read > 0) this.#judge(read);
    for (let at = read; at < count; at++) this.#end(at, false);
    if (!this.#damage.any) return;
    result.status = this.#damage.status; // of a read that was cut short, the value still says how far it came
    result.reporter = this.#reporter;
    result.errorData = this.#damage.errorData;
  }

  /** In the issuer, once. */
  countFailures(io: IoHandle, result: AioResult): void {
    if (result.reporter !== this.#reporter) return;
    const failures = checksumFailuresIn(result.errorData);
    if (failures === 0) return;
    this.#failures.add(io.targetWord(SmgrWord.DIRECTORY), io.targetWord(SmgrWord.DATABASE), failures);
  }

  /** Pieces are neighbours in memory: one call judges all of a piece up to its first bad page. */
  #judge(read: number): void {
    const { io, firstBlock } = this;
    const memory = this.#memories[io.memory] as PageMemory;
    const mode = this.flags & ReadFlag.NO_CHECKSUMS;
    const isOpaque = (this.flags & ReadFlag.OPAQUE) !== 0;
    const again = io.deaths > 0;
    for (let piece = 0, start = 0; start < read; piece++) {
      const offset = io.iovOffset(piece);
      const blocks = io.iovLength(piece) / BLOCK_SIZE;
      const end = Math.min(start + blocks, read);
      for (let at = start; at < end;) {
        if (again && this.#isOver(at)) {
          at++;
          continue;
        }
        const here = offset + (at - start) * BLOCK_SIZE;
        const limit = again ? 1 : end - at;
        const marked = again && this.#mark(at) !== 0;
        const good = marked
          ? 0
          : isOpaque
            ? limit
            : memory.kernel.verifyRun(here, firstBlock + at, limit, mode);
        for (let left = good; left > 0; left--) this.#end(at++, true);
        if (good < limit) this.#endBad(at++, memory, here + good * BLOCK_SIZE);
      }
      start += blocks;
    }
  }

  /** What a completer that died has found out about this page; 0: nothing, or that it is fine. */
  #mark(at: number): number {
    return this.io.dataWord(at) >>> FATE_SHIFT;
  }

  /** After a death: somebody ended this buffer already, and its memory may be another block's by now. */
  #isOver(at: number): boolean {
    const word = this.io.dataWord(at);
    if (this.#bufferIo.isRunning(bufferOfWord(word), this.index, this.generation)) return false;
    this.#damage.count(at, word >>> FATE_SHIFT);
    return true;
  }

  #endBad(at: number, { kernel, bytes }: PageMemory, address: number): void {
    const block = this.firstBlock + at;
    let fate = this.#mark(at);
    if (fate === 0) {
      fate = fateOf(kernel.verdict(address, block, this.flags & ReadFlag.NO_CHECKSUMS), this.flags);
      this.#log.append(this.io, block, fate);
      this.io.markDataWord(at, this.io.dataWord(at) | (fate << FATE_SHIFT));
    }
    this.#damage.count(at, fate);
    if ((fate & PageFate.ZEROED) !== 0) bytes.fill(0, address, address + BLOCK_SIZE); // before it becomes valid
    this.#end(at, (fate & PageFate.INVALID) === 0);
  }

  #end(at: number, valid: boolean): void {
    this.#bufferIo.terminate(bufferOfWord(this.io.dataWord(at)), this.index, this.generation, valid);
  }
}
