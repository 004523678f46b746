/**
 * The right to read a page in or to write it out: claiming it, tying it to an I/O, ending it. PostgreSQL's
 * StartBufferIO and TerminateBufferIO, the latter also for I/O that another thread completes. What is said of reads
 * is so of writes; what only writes do is at the end.
 *
 * Whose a claim is, while no I/O is tied to it, stands in the claimer's holdings, written directly behind the
 * swap that makes the claim. From the swap that ties it to an I/O on it is the I/O's, and so is the pin that
 * the same swap adds: whoever completes the I/O ends both. Who claims a write need not have the buffer pinned: the
 * swap that claims then pins it as well, and that pin passes to the I/O.
 */
import { broadcast, CONDITION_WORDS_MAX } from '../shmem/condition.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../shmem/wait.js';
import type { SharedWords } from '../shmem/words.js';
import {
  BufferIoLayout,
  DESCRIPTOR_SHIFT,
  DIRTY,
  DescriptorLayout,
  IO_ERROR,
  IO_IN_PROGRESS,
  IO_REFERENCE,
  JUST_DIRTIED,
  PIN_ONE,
  TAG_VALID,
  VALID,
  WAITERS,
} from './descriptor.js';
import { Holding, holdingsOf } from './holdings.js';
import type { BufferRegion } from './region.js';

const { state: STATE } = DescriptorLayout.at;
/** Buffers share conditions; a waiter looks again anyway. */
const CONDITIONS = 128;
/** Such a page is to be written. */
const FLUSHABLE = DIRTY | VALID | TAG_VALID;

/** What an I/O has come to. */
const FAILED = 0;
const READ = 1;
const WRITTEN = 2;
type Outcome = typeof FAILED | typeof READ | typeof WRITTEN;

/** A page that was changed since its write was claimed stays dirty; a write that failed changes nothing. */
function endOf(state: number, outcome: Outcome): number {
  const ended = state & ~(IO_IN_PROGRESS | IO_REFERENCE | WAITERS | IO_ERROR);
  if (outcome === FAILED) return ended | IO_ERROR;
  if (outcome === READ) return ended | VALID;
  return (state & JUST_DIRTIED) !== 0 ? ended : ended & ~DIRTY;
}

/** Outcome of a claim. */
export const Claim = {
  /** The caller has the right, and must start an I/O or end it. */
  READY: 1,
  /** The page is there. */
  ALREADY_DONE: 2,
  /** Somebody else has the right. */
  IN_PROGRESS: 3,
} as const;
export type Claim = (typeof Claim)[keyof typeof Claim];

export function planBufferConditions(plan: SegmentPlan): number {
  return plan.reserve('buffer conditions', CONDITIONS * CONDITION_WORDS_MAX);
}

export class BufferIo {
  readonly #slots: Slots;
  readonly #words: SharedWords;
  readonly #region: BufferRegion;
  readonly #conditions: number;
  /** What this slot has of each buffer. */
  readonly #holdings: Uint8Array;
  /** The reference that the last IN_PROGRESS claim met, if `hasReference`. */
  ioHandle = 0;
  ioGeneration = 0;
  hasReference = false;

  constructor(slots: Slots, slot: number, region: BufferRegion, conditions: number) {
    this.#slots = slots;
    this.#words = slots.words;
    this.#region = region;
    this.#conditions = conditions;
    this.#holdings = holdingsOf(slots.words, region.holdings, slots.region.maxBackends, slot);
  }

  #stateWord(buffer: number): number {
    return this.#region.descriptors + (buffer << DESCRIPTOR_SHIFT) + STATE;
  }

  #condition(buffer: number): number {
    return this.#conditions + (buffer % CONDITIONS) * CONDITION_WORDS_MAX;
  }

  isValid(buffer: number): boolean {
    return (this.#words.load(this.#stateWord(buffer)) & VALID) !== 0;
  }

  /**
   * Whether somebody has the right to read the buffer's page in; the I/O, if there is one already, is noted as by
   * a claim. For who has not pinned the buffer: it may be another block's by the time that the I/O is looked at,
   * so that what is waited for may be another's I/O, or none any more. Look again after the wait.
   */
  isInProgress(buffer: number): boolean {
    const state = this.#words.load(this.#stateWord(buffer));
    if ((state & IO_IN_PROGRESS) === 0) return false;
    this.#readReference(buffer, state);
    return true;
  }

  /** Claims the right to read the page of a buffer that the caller has pinned. Never waits. */
  claim(buffer: number): Claim {
    const holdings = this.#holdings;
    const word = this.#stateWord(buffer);
    let state = this.#words.get(word); // validated by the swap, or by whoever waits for it
    for (;;) {
      if ((state & VALID) !== 0) return Claim.ALREADY_DONE;
      if ((state & IO_IN_PROGRESS) !== 0) {
        this.#readReference(buffer, state);
        return Claim.IN_PROGRESS;
      }
      const seen = this.#words.compareExchange(word, state, state | IO_IN_PROGRESS);
      if (seen === state) {
        holdings[buffer] = Holding.CLAIMED;
        return Claim.READY;
      }
      state = seen;
    }
  }

  /** The reference is stable as long as the state says that it belongs to a running I/O. */
  #readReference(buffer: number, state: number): void {
    const io = this.#region.io + buffer * BufferIoLayout.words;
    this.ioHandle = this.#words.get(io + BufferIoLayout.at.ioHandle);
    this.ioGeneration = this.#words.get(io + BufferIoLayout.at.ioGeneration);
    const now = this.#words.load(this.#stateWord(buffer));
    this.hasReference =
      (state & IO_REFERENCE) !== 0 &&
      (now & (IO_REFERENCE | IO_IN_PROGRESS)) === (IO_REFERENCE | IO_IN_PROGRESS);
  }

  /** Ties the claim to an I/O, which gets a pin of its own: the issuer may let go of the buffer. */
  attach(buffer: number, ioHandle: number, ioGeneration: number): void {
    this.#attach(buffer, ioHandle, ioGeneration, PIN_ONE, Holding.PINNED);
  }

  /** `pin`: what the I/O adds; `held`: what this backend has of the buffer behind that. */
  #attach(buffer: number, ioHandle: number, ioGeneration: number, pin: number, held: number): void {
    const holdings = this.#holdings;
    const io = this.#region.io + buffer * BufferIoLayout.words;
    this.#words.set(io + BufferIoLayout.at.ioHandle, ioHandle);
    this.#words.set(io + BufferIoLayout.at.ioGeneration, ioGeneration);
    const word = this.#stateWord(buffer);
    let state = this.#words.get(word);
    for (;;) {
      const seen = this.#words.compareExchange(word, state, (state | IO_REFERENCE) + pin);
      if (seen === state) {
        holdings[buffer] = held;
        break;
      }
      state = seen;
    }
    // Who waited for the claim can wait for the I/O now, and help it along if its issuer does not.
    if ((state & WAITERS) !== 0) this.wake(buffer);
  }

  /**
   * Ends the I/O of a buffer, if it still is this one's: after a death, the completion of an I/O may run
   * again over buffers that were done. One swap ends the claim, sets the outcome, and drops the I/O's pin.
   */
  terminate(buffer: number, ioHandle: number, ioGeneration: number, valid: boolean): void {
    this.#terminate(buffer, ioHandle, ioGeneration, valid ? READ : FAILED);
  }

  #terminate(buffer: number, ioHandle: number, ioGeneration: number, outcome: Outcome): void {
    const io = this.#region.io + buffer * BufferIoLayout.words;
    const word = this.#stateWord(buffer);
    let state = this.#words.get(word);
    for (;;) {
      const running = (state & (IO_IN_PROGRESS | IO_REFERENCE)) === (IO_IN_PROGRESS | IO_REFERENCE);
      const ours =
        this.#words.get(io + BufferIoLayout.at.ioHandle) === ioHandle &&
        this.#words.get(io + BufferIoLayout.at.ioGeneration) === ioGeneration;
      if (!running || !ours) return;
      const seen = this.#words.compareExchange(word, state, endOf(state, outcome) - PIN_ONE);
      if (seen === state) break;
      state = seen;
    }
    if ((state & WAITERS) !== 0) this.wake(buffer);
  }

  /** Whether the I/O of this handle and generation is what the buffer waits for. */
  isRunning(buffer: number, ioHandle: number, ioGeneration: number): boolean {
    const io = this.#region.io + buffer * BufferIoLayout.words;
    const running = IO_IN_PROGRESS | IO_REFERENCE;
    return (
      (this.#words.load(this.#stateWord(buffer)) & running) === running &&
      this.#words.get(io + BufferIoLayout.at.ioHandle) === ioHandle &&
      this.#words.get(io + BufferIoLayout.at.ioGeneration) === ioGeneration
    );
  }

  /** Ends a claim of this backend that no I/O was tied to. */
  giveUp(buffer: number): void {
    this.giveUpFrom(this.#holdings, buffer);
  }

  /** Ends a claim of this backend without an I/O: it has put the page there itself. */
  endAsValid(buffer: number): void {
    this.giveUpFrom(this.#holdings, buffer, READ);
  }

  /** The same, by whose holdings say that there is such a claim; for the supervisor, those of a dead backend. */
  giveUpFrom(holdings: Uint8Array, buffer: number, outcome: Outcome = FAILED): void {
    const word = this.#stateWord(buffer);
    let state = this.#words.get(word);
    for (;;) {
      const seen = this.#words.compareExchange(word, state, endOf(state, outcome));
      if (seen === state) {
        holdings[buffer] = Holding.PINNED;
        break;
      }
      state = seen;
    }
    if ((state & WAITERS) !== 0) this.wake(buffer);
  }

  /** Step: until nobody has the right to read this buffer's page any more. */
  waitForClaim(waits: Waits, buffer: number): true | Pending {
    const word = this.#stateWord(buffer);
    let state = this.#words.load(word);
    while ((state & IO_IN_PROGRESS) !== 0) {
      if ((state & WAITERS) !== 0) return this.sleep(waits, buffer, word, state);
      const seen = this.#words.compareExchange(word, state, state | WAITERS);
      state = seen === state ? state | WAITERS : seen;
    }
    return true;
  }

  // --- writing -----------------------------------------------------------------------------------

  /** Whether the page is there and not in its file yet. */
  isDirty(buffer: number): boolean {
    return (this.#words.load(this.#stateWord(buffer)) & FLUSHABLE) === FLUSHABLE;
  }

  /** The page was changed: by who has it pinned, and its content lock exclusively. */
  markDirty(buffer: number): void {
    this.#words.or(this.#stateWord(buffer), DIRTY | JUST_DIRTIED);
  }

  /** Claims the right to write a dirty page. `pinned`: this backend has the buffer pinned already. */
  claimWrite(buffer: number, pinned: boolean): Claim {
    const holdings = this.#holdings;
    const word = this.#stateWord(buffer);
    const pin = pinned ? 0 : PIN_ONE;
    let state = this.#words.get(word); // validated by the swap, or by whoever waits for it
    for (;;) {
      if ((state & FLUSHABLE) !== FLUSHABLE) return Claim.ALREADY_DONE;
      if ((state & IO_IN_PROGRESS) !== 0) {
        this.#readReference(buffer, state);
        return Claim.IN_PROGRESS;
      }
      const claimed = ((state | IO_IN_PROGRESS) & ~JUST_DIRTIED) + pin;
      const seen = this.#words.compareExchange(word, state, claimed);
      if (seen === state) {
        holdings[buffer] = Holding.CLAIMED;
        return Claim.READY;
      }
      state = seen;
    }
  }

  /** Gives a write's claim back, and the pin that was made with it. */
  giveUpWrite(buffer: number, pinned: boolean): void {
    const holdings = this.#holdings;
    this.giveUp(buffer);
    if (pinned) return;
    this.#words.sub(this.#stateWord(buffer), PIN_ONE);
    holdings[buffer] = Holding.NONE;
  }

  /** Ties a write's claim to an I/O, which takes over the pin that was made with it, or gets one. */
  attachWrite(buffer: number, ioHandle: number, ioGeneration: number, pinned: boolean): void {
    if (pinned) this.attach(buffer, ioHandle, ioGeneration);
    else this.#attach(buffer, ioHandle, ioGeneration, 0, Holding.NONE);
  }

  /** As `terminate`, of a write. */
  terminateWrite(buffer: number, ioHandle: number, ioGeneration: number, written: boolean): void {
    this.#terminate(buffer, ioHandle, ioGeneration, written ? WRITTEN : FAILED);
  }

  /** Until the state word no longer holds `state`, in which the waiters are marked. */
  protected sleep(waits: Waits, buffer: number, word: number, state: number): Pending {
    return waits.waitFor(WaitEvent.BufferIo, this.#condition(buffer), word, state, buffer, 0);
  }

  /** Those who wait look again: the claim is over, or can be helped along. */
  protected wake(buffer: number): void {
    broadcast(this.#slots, this.#condition(buffer));
  }
}
