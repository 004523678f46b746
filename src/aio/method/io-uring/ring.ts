/**
 * One ring as a thread sees it: filling submission entries and reading completions through typed arrays,
 * and entering the kernel. No lock and no policy; the caller is the ring's owner where it submits, and the
 * holder of its completion lock where it takes.
 *
 * Order. An entry is written before the tail that covers it (a sequentially consistent store; the kernel
 * acquires); a completion is read after the tail that covers it, and copied out before the head that gives
 * it back, because the kernel may then overwrite it.
 */
import { RingOut, type NativeAddon } from '../../../native/addon.js';
import type { Rings } from './rings.js';

const SQE_WORDS = 16;
const CQE_WORDS = 4;

/** Operations of io_uring(7). */
export const RingOperation = { READV: 1, WRITEV: 2, FSYNC: 3, READ: 22, WRITE: 23 } as const;
export type RingOperation = (typeof RingOperation)[keyof typeof RingOperation];

/** Do not try inline: hand it to a kernel thread. */
const IOSQE_ASYNC = 1 << 4;
export const FSYNC_DATA_ONLY = 1;

export class Ring {
  readonly index: number;
  /** The addon's number. */
  readonly number: number;
  readonly fd: number;
  /** READV and WRITEV serve for single pieces, too. */
  readonly vectorsOnly: boolean;
  readonly #addon: NativeAddon;
  readonly #sqes: Int32Array;
  readonly #sqesStart: number;
  readonly #queues: Int32Array;
  readonly #cqes: number;
  readonly #sqHead: number;
  readonly #sqTail: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #sqMask: number;
  readonly #cqMask: number;
  /** The owner's: where the next entry goes. Published by `submit`. */
  #next: number;

  constructor(addon: NativeAddon, rings: Rings, index: number) {
    const described = (word: number): number => rings.described(index, word);
    this.#addon = addon;
    this.index = index;
    this.number = rings.number(index);
    this.vectorsOnly = rings.hasVectorsOnly(index);
    this.fd = described(RingOut.FD);
    let start = 0;
    if (rings.isMapped(index)) {
      const [sqes, queues] = addon.ringViews(this.number);
      this.#sqes = new Int32Array(sqes);
      this.#sqesStart = 0;
      this.#queues = new Int32Array(queues, 0, queues.byteLength >>> 2);
    } else {
      this.#sqes = this.#queues = rings.slots.words.array;
      this.#sqesStart = rings.sqesIndex(index);
      start = rings.queuesIndex(index);
    }
    this.#sqHead = start + described(RingOut.SQ_HEAD) / 4;
    this.#sqTail = start + described(RingOut.SQ_TAIL) / 4;
    this.#cqHead = start + described(RingOut.CQ_HEAD) / 4;
    this.#cqTail = start + described(RingOut.CQ_TAIL) / 4;
    this.#cqes = start + described(RingOut.CQES) / 4;
    this.#sqMask = described(RingOut.SQ_ENTRIES) - 1;
    this.#cqMask = described(RingOut.CQ_ENTRIES) - 1;
    this.#next = Atomics.load(this.#queues, this.#sqTail);
  }

  // --- submitting: the owner ---------------------------------------------------------------------

  /** Position of the entry that `push` will fill. */
  get nextPosition(): number {
    return this.#next;
  }

  /** Entries that were pushed or submitted, and whose completions were not yet taken. */
  get inFlight(): number {
    return (this.#next - Atomics.load(this.#queues, this.#cqHead)) | 0;
  }

  /** Entries that can be pushed when all before were submitted, such that there is room for their completions too. */
  get room(): number {
    return Math.min(this.#sqMask, this.#cqMask - this.inFlight) + 1;
  }

  /** Fills the next entry. `position` and `address` are whole numbers below 2^53. */
  push(
    operation: RingOperation,
    fd: number,
    position: number,
    address: number,
    length: number,
    operationFlags: number,
    index: number,
    tag: number,
    forceAsync: boolean,
  ): void {
    const sqes = this.#sqes;
    const at = this.#sqesStart + (this.#next & this.#sqMask) * SQE_WORDS;
    sqes[at] = operation | (forceAsync ? IOSQE_ASYNC << 8 : 0);
    sqes[at + 1] = fd;
    sqes[at + 2] = position | 0;
    sqes[at + 3] = (position / 0x1_0000_0000) | 0;
    sqes[at + 4] = address | 0;
    sqes[at + 5] = (address / 0x1_0000_0000) | 0;
    sqes[at + 6] = length;
    sqes[at + 7] = operationFlags;
    sqes[at + 8] = index;
    sqes[at + 9] = tag;
    sqes.fill(0, at + 10, at + SQE_WORDS);
    this.#next = (this.#next + 1) | 0;
  }

  /** Lets the kernel see the entries that were pushed. */
  publish(): void {
    Atomics.store(this.#queues, this.#sqTail, this.#next);
  }

  /** Gives `count` entries to the kernel; the number that it took, or -errno. */
  submit(count: number): number {
    return this.#addon.ringEnter(this.number, count, 0, 0);
  }

  /** Tells the kernel to drop an entry that it has not begun. 0, or -errno: it goes on. */
  cancel(index: number, tag: number): number {
    return this.#addon.ringCancel(this.number, index, tag);
  }

  // --- completing: the holder of the completion lock -----------------------------------------------

  get hasCompletions(): boolean {
    return Atomics.load(this.#queues, this.#cqTail) !== this.#queues[this.#cqHead];
  }

  /** Sleeps in the kernel until there is a completion, for at most `millis`; 0, or -errno (-ETIME). */
  wait(millis: number): number {
    return this.#addon.ringEnter(this.number, 0, 1, millis);
  }

  /** Completions that are there, at most `max`; read them with the next three, then `giveBack`. */
  available(max: number): number {
    const tail = Atomics.load(this.#queues, this.#cqTail);
    return Math.min(max, (tail - (this.#queues[this.#cqHead] as number)) | 0);
  }

  #completion(at: number): number {
    return this.#cqes + (((this.#queues[this.#cqHead] as number) + at) & this.#cqMask) * CQE_WORDS;
  }

  /** What `push` was given as `index`. */
  completedIndex(at: number): number {
    return this.#queues[this.#completion(at)] as number;
  }

  completedTag(at: number): number {
    return this.#queues[this.#completion(at) + 1] as number;
  }

  /** Bytes, or -errno. */
  completedResult(at: number): number {
    return this.#queues[this.#completion(at) + 2] as number;
  }

  giveBack(count: number): void {
    Atomics.store(this.#queues, this.#cqHead, ((this.#queues[this.#cqHead] as number) + count) | 0);
  }

  /** Whether the kernel is done with everything that it took. */
  get isQuiet(): boolean {
    return Atomics.load(this.#queues, this.#sqHead) === Atomics.load(this.#queues, this.#cqTail);
  }

  // --- looking, without the lock -----------------------------------------------------------------

  /** Position behind the last completion so far; for `countTagged`. */
  get completionTail(): number {
    return Atomics.load(this.#queues, this.#cqTail);
  }

  /** How many completions from `tail` on have these low bits in their tag. Taken ones still stand there for a while. */
  countTagged(tail: number, bits: number, mask: number): number {
    const end = this.completionTail;
    let count = 0;
    for (let at = tail; at !== end; at = (at + 1) | 0) {
      const tag = this.#queues[this.#cqes + (at & this.#cqMask) * CQE_WORDS + 1] as number;
      if ((tag & mask) === bits) count++;
    }
    return count;
  }

  // --- after the owner's death: the supervisor ------------------------------------------------------

  /** Whether the kernel took the entry at this position. */
  wasTaken(position: number): boolean {
    return ((Atomics.load(this.#queues, this.#sqHead) - position) | 0) > 0;
  }

  /** Takes back the entries that the kernel never took, so that the next owner does not submit them. */
  withdrawUntaken(): void {
    Atomics.store(this.#queues, this.#sqTail, Atomics.load(this.#queues, this.#sqHead));
  }
}
