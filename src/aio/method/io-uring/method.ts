/**
 * The io_uring method: I/O goes to the kernel through the backend's ring, and any thread completes it.
 * PostgreSQL's method_io_uring.c.
 *
 * The move to SUBMITTED comes before the kernel can see the entry, because a completion of a handle that is
 * not SUBMITTED is dropped; and the executor word before that, because a waiter may have taken the I/O over.
 */
import { constants } from 'node:os';
import type { RegisteredMemories, Registration } from '../../../native/registered-memories.js';
import { Phase } from '../../../shmem/header.js';
import type { OwnLatch } from '../../../shmem/latch.js';
import type { IoSleeper } from '../../../shmem/wait.js';
import { Counter } from '../../../stats/counters.js';
import type { IoHandle } from '../../handle.js';
import { HandleFlag, Operation } from '../../operation.js';
import { HandleState, generationOf, stateOf } from '../../states.js';
import type { AioThread } from '../../thread.js';
import type { IoMethodOps } from '../method.js';
import { runLeftToIssuer, runReopened, runsInIssuerOnly } from '../../reopened.js';
import { PROBE_BITS, PROBE_MASK, Punting, type PuntingRule } from './punting.js';
import { Reaper, stillRuns } from './reaper.js';
import { FSYNC_DATA_ONLY, RingOperation, type Ring } from './ring.js';
import type { Rings } from './rings.js';

const { EBADF, ECANCELED, EINTR, EAGAIN, EBUSY } = constants.errno;
const IOVEC_WORDS = 4;
/** Entries whose vectors the kernel has not read yet: at most one submission. */
const VECTOR_SLOTS = 32;
/** How long a submission that the kernel has no memory for waits for a completion before it tries again. */
const RETRY_MILLIS = 10;
const LOOK_AGAIN_MILLIS = 1;

export class IoUringMethod implements IoMethodOps {
  readonly name = 'io_uring';
  /** What is queued for a kernel thread looks its descriptor up only then. */
  readonly waitOnFdBeforeClose = true;
  readonly sleeper: IoSleeper = {
    sleep: (index, generation, latch, seen, millis) => this.#sleep(index, generation, latch, seen, millis),
    watch: (index, generation) => {
      this.#watch(index, generation);
    },
    unwatch: () => {
      this.#unwatch();
    },
  };
  /** Which I/Os skip the attempt inside the system call. Another rule may be put here while nothing is in flight. */
  punting: PuntingRule = new Punting();
  readonly #thread: AioThread;
  readonly #native: Registration;
  readonly #reaper: Reaper;
  readonly #ring: Ring;
  /** The first `#submittedCount` are those of the current submission. */
  readonly #submitted: IoHandle[] = [];
  #submittedCount = 0;
  /** Vectors as the kernel wants them: addresses, not offsets. This thread's own memory. */
  readonly #vectors: Int32Array;
  readonly #vectorsAddress: number;
  readonly #vectorsId: number;
  readonly #vectorMax: number;
  readonly #onReady: () => void;
  /** Polls by ring, and which of them are active. */
  readonly #polls = new Map<number, number>();
  readonly #active = new Set<number>();
  #room = 0;

  /** `onReady`: a ring that tasks of this thread wait for had completions; they may look. */
  constructor(thread: AioThread, rings: Rings, memories: RegisteredMemories, onReady: () => void) {
    this.#thread = thread;
    this.#native = memories.use();
    this.#onReady = onReady;
    this.#reaper = new Reaper(thread, rings, this.#native);
    this.#ring = this.#reaper.ring(thread.slot);
    this.#vectorMax = thread.table.region.vectorMax;
    this.#vectors = new Int32Array(VECTOR_SLOTS * this.#vectorMax * IOVEC_WORDS);
    this.#vectorsId = this.#native.addon.registerMemory(this.#vectors);
    this.#vectorsAddress = this.#native.addon.address(this.#vectors);
    this.#native.addon.ringAttach(this.#ring.number, 1);
  }

  needsSynchronousExecution(): boolean {
    return false;
  }

  /** Nothing of this backend is in flight any more, unless the instance crashed. */
  leave(): boolean {
    const { addon } = this.#native;
    for (const poll of this.#polls.values()) addon.pollClose(poll);
    this.#polls.clear();
    const quiet = this.#ring.inFlight === 0;
    if (quiet) addon.ringAttach(this.#ring.number, 0); // else the thread's end waits for it
    addon.forgetMemory(this.#vectorsId);
    return quiet;
  }

  // --- submitting --------------------------------------------------------------------------------

  submit(staged: readonly IoHandle[], count: number): void {
    const { slot, injection } = this.#thread;
    const ring = this.#ring;
    this.punting.begin();
    this.#room = ring.room;
    for (let index = 0; index < count; index++) {
      const io = staged[index] as IoHandle;
      injection?.hooks.beforeSubmit?.(io);
      const { generation } = io;
      if (!io.tryBecomeExecutor(slot, generation)) continue; // a waiter took it over
      if (this.#room === 0) this.#makeRoom();
      this.#room--;
      io.carry(ring.index, ring.nextPosition);
      io.move(HandleState.STAGED, HandleState.SUBMITTED);
      this.#push(io, generation);
      this.#submitted[this.#submittedCount++] = io;
    }
    this.#enter();
    this.#reaper.reap(ring.index);
  }

  #push(io: IoHandle, generation: number): void {
    const ring = this.#ring;
    const { operation } = io;
    const probe = this.#probe(io, operation);
    const tag = (generation << PROBE_BITS) | Math.max(0, probe);
    const punt = probe < 0;
    if (operation === Operation.FSYNC) {
      const flags = (io.flags & HandleFlag.DATA_ONLY) === 0 ? 0 : FSYNC_DATA_ONLY;
      ring.push(RingOperation.FSYNC, io.fd, 0, 0, 0, flags, io.index, tag, false);
      return;
    }
    const write = operation === Operation.WRITEV;
    const base = this.#native.addresses[io.memory] as number;
    const pieces = io.iovCount;
    if (pieces === 1 && !ring.vectorsOnly) {
      const one = write ? RingOperation.WRITE : RingOperation.READ;
      ring.push(one, io.fd, io.offset, base + io.iovOffset(0), io.iovLength(0), 0, io.index, tag, punt);
    } else {
      const several = write ? RingOperation.WRITEV : RingOperation.READV;
      ring.push(several, io.fd, io.offset, this.#vector(io, base, pieces), pieces, 0, io.index, tag, punt);
    }
  }

  /** Negative: let a kernel thread do it. Positive: the number by which it is seen whether that was needed. */
  #probe(io: IoHandle, operation: Operation): number {
    if (operation === Operation.FSYNC || (io.flags & HandleFlag.BUFFERED) === 0) return 0;
    return this.punting.shouldPunt(this.#ring.inFlight) ? -1 : this.punting.submission;
  }

  /** Address of the I/O's vector. The kernel reads it during the submission, so its place is soon free again. */
  #vector(io: IoHandle, base: number, pieces: number): number {
    const start = ((this.#ring.nextPosition >>> 0) % VECTOR_SLOTS) * this.#vectorMax * IOVEC_WORDS;
    for (let piece = 0, at = start; piece < pieces; piece++, at += IOVEC_WORDS) {
      const address = base + io.iovOffset(piece);
      this.#vectors[at] = address | 0;
      this.#vectors[at + 1] = (address / 0x1_0000_0000) | 0;
      this.#vectors[at + 2] = io.iovLength(piece);
      this.#vectors[at + 3] = 0;
    }
    return this.#vectorsAddress + start * 4;
  }

  /** The kernel takes everything that was pushed, or the instance ends: nothing is dropped. */
  #enter(): void {
    const ring = this.#ring;
    const tail = ring.completionTail;
    ring.publish();
    this.#thread.injection?.hooks.ownerBeforeEnter?.(ring.index);
    for (let left = this.#submittedCount; left > 0;) {
      const result = ring.submit(left);
      if (result > 0) left -= result;
      else if (result !== -EINTR && !this.#submitLater(result, left)) break;
    }
    const inline = this.punting.triedInline;
    if (inline > 0) this.punting.end(ring.countTagged(tail, this.punting.submission, PROBE_MASK));
    this.#wakeEarlyWaiters();
  }

  /**
   * Of what waits for a kernel thread, that was never tried inline: the kernel looks nowhere else. The mark comes first, so
   * that whoever finds it given back does not run it instead.
   */
  cancel(io: IoHandle, generation: number): void {
    if (io.ring !== this.#ring.index) return;
    io.markUnwanted();
    this.#ring.cancel(io.index, generation << PROBE_BITS);
  }

  /** The kernel took nothing: it is short of memory, or of room for completions; or the ring is closed. */
  #submitLater(result: number, left: number): boolean {
    const ring = this.#ring;
    this.#thread.header.checkCrashed();
    if (result === -EBADF && this.#thread.header.phase === Phase.CLOSING) {
      this.#cancelUntaken(left);
      return false;
    }
    if (result !== 0 && result !== -EAGAIN && result !== -EBUSY) this.#reaper.crash('a submission', result);
    if (ring.hasCompletions)
      this.#reaper.reapOnly(ring.index); // that may be what it was short of
    else ring.wait(RETRY_MILLIS);
    return true;
  }

  /** The instance was closed by its creator meanwhile: what the kernel did not take ends here. */
  #cancelUntaken(left: number): void {
    for (let at = this.#submittedCount - left; at < this.#submittedCount; at++) {
      const io = this.#submitted[at] as IoHandle;
      io.takeOffRing();
      this.#thread.finish(io, -ECANCELED);
    }
  }

  /** Who saw an I/O before it was on a ring sleeps on its latch, and must come to the ring. */
  #wakeEarlyWaiters(): void {
    const count = this.#submittedCount;
    for (let at = 0; at < count; at++) this.#thread.wakeWaiters(this.#submitted[at] as IoHandle);
    this.#thread.counters.count(Counter.submissions, count);
    this.#submittedCount = 0;
  }

  /** The queue is full, with I/O of this submission or with completions that nobody took. */
  #makeRoom(): void {
    const ring = this.#ring;
    for (;;) {
      this.#enter();
      this.punting.begin();
      this.#reaper.reapOnly(ring.index);
      this.#room = ring.room;
      if (this.#room > 0) return;
      this.#thread.header.checkCrashed();
      ring.wait(RETRY_MILLIS); // or another thread is taking completions just now
    }
  }

  // --- waiting -----------------------------------------------------------------------------------

  readonly waitOne = (io: IoHandle, generation: number): void => {
    const word = io.stateWord;
    if (generationOf(word) !== generation) return;
    const state = stateOf(word);
    const own = io.owner === this.#thread.slot;
    if (state === HandleState.STAGED && !own) this.#takeOver(io, generation);
    else if (state !== HandleState.SUBMITTED) return;
    else if (io.ring >= 0) this.#reaper.reap(io.ring);
    else if (own && runsInIssuerOnly(this.#thread, io)) runLeftToIssuer(this.#thread, io, generation);
  };

  /** Runs somebody else's staged I/O in its place: its issuer is busy, and this thread needs it. */
  #takeOver(io: IoHandle, generation: number): void {
    if (runsInIssuerOnly(this.#thread, io)) return;
    if (!io.tryBecomeExecutor(this.#thread.slot, generation)) return;
    this.#thread.counters.count(Counter.takenOver);
    io.move(HandleState.STAGED, HandleState.SUBMITTED);
    runReopened(this.#thread, io);
  }

  #sleep(index: number, generation: number, latch: OwnLatch, seen: number, millis: number): boolean {
    const io = this.#thread.table.handle(index);
    if (!stillRuns(io, generation) || io.ring < 0) return latch.sleep(seen, millis);
    return this.#reaper.sleep(io.ring, io, generation, latch, seen, millis);
  }

  #watch(index: number, generation: number): void {
    const io = this.#thread.table.handle(index);
    if (!stillRuns(io, generation)) return;
    const { ring } = io;
    if (ring < 0 || this.#active.has(ring)) return;
    let poll = this.#polls.get(ring);
    if (poll === undefined) {
      poll = this.#native.addon.pollOpen(this.#reaper.ring(ring).fd, 0, () => {
        this.#ready(ring);
      });
      if (poll < 0) return; // no descriptor is free just now: the time slice looks, and tries again
      this.#polls.set(ring, poll);
    }
    this.#native.addon.pollSet(poll, 1, 0);
    this.#active.add(ring);
  }

  /** The ring has completions. Nothing is thrown into the event loop: what goes wrong is the waiters' to know. */
  #ready(ring: number): void {
    try {
      this.#reaper.reap(ring);
      if (this.#reaper.isBeingReaped(ring)) this.#lookLater(ring);
    } catch (error) {
      this.#thread.crash(error instanceof Error ? error.message : String(error));
    }
    this.#onReady();
  }

  /** Another thread is at it, and may be stopped there: the loop must not spin until it has done. */
  #lookLater(ring: number): void {
    const poll = this.#polls.get(ring) as number;
    this.#native.addon.pollSet(poll, 0, 0);
    setTimeout(() => {
      if (this.#polls.get(ring) !== poll || this.#thread.header.isCrashed) return;
      this.#native.addon.pollSet(poll, 1, 0);
    }, LOOK_AGAIN_MILLIS).unref();
  }

  /** The own ring stays watched: it costs nothing while nothing completes, and starting again would. */
  #unwatch(): void {
    for (const ring of this.#active) {
      if (ring === this.#ring.index) continue;
      this.#native.addon.pollClose(this.#polls.get(ring) as number);
      this.#polls.delete(ring);
      this.#active.delete(ring);
    }
  }
}
