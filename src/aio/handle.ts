/**
 * The handle: one I/O in shared memory, PostgreSQL's PgAioHandle. `HandleTable` holds all handles of an
 * instance; backend N owns a fixed run of them. An `IoHandle` object is one thread's window on a handle;
 * each thread has its own, made once.
 *
 * Who writes which word, and what orders it:
 *   state           owner and executor, only through `move` and `tryMove` (compare-and-swap); the owner alone
 *                   goes back to IDLE (`recycle`)
 *   executor        whoever runs the I/O, or the owner, who thereby cancels what is only queued: taken by
 *                   compare-and-swap, tagged with the generation, so that nobody runs an I/O that another runs
 *                   or that is over; reset by the owner at acquire;
 *                   taken from another executor by the supervisor only, after that thread has ended;
 *                   given up by an executor that must leave the I/O to its issuer (see reopened.ts)
 *   generation      owner, at reclaim, before the state word goes back to IDLE
 *   startedAt       owner, before STAGED: a double of microseconds, of the clock that threads share; 0: nobody looked
 *   deaths          supervisor, while it is the executor
 *   ring, position  executor, before SUBMITTED: the ring that carries the I/O, and where in its submission
 *                   queue; an I/O that is carried is completed by whoever holds that ring's completion lock,
 *                   who becomes the executor then
 *   unwanted        owner, while it is SUBMITTED, before it asks the kernel to drop it: what the kernel then gives back
 *                   is not carried out by others
 *   raw, result*    executor, between SUBMITTED and COMPLETED_SHARED (published by that move); then owner
 *   waiters         a condition: see shmem/condition.ts
 *   all others      owner, before STAGED; published by the move to STAGED
 *   data            as the others; completion callbacks may mark entries while they are the executor
 * Once the owner's thread has ended, the supervisor is the owner: see recovery.ts.
 */
import { fail } from '../base/assert.js';
import { CONDITION_WORDS_MAX } from '../shmem/condition.js';
import { CACHE_LINE_WORDS, declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import type { SharedWords } from '../shmem/words.js';
import { HandleFlag, operationNames, type Operation } from './operation.js';
import { TARGET_DATA_WORDS } from './result.js';
import {
  GENERATION_MASK,
  HandleState,
  generationOf,
  isLegalMove,
  packState,
  stateName,
  stateOf,
} from './states.js';

/** Slot 0 is the target's own; registrations fill the others. PostgreSQL allows 4 in all. */
export const MAX_CALLBACKS = 5;

const HandleLayout = declareLayout(
  'AioHandle',
  {
    state: 1,
    executor: 1,
    generation: 2,
    startedAt: 2, // a double: at an even place
    deaths: 1,
    ring: 1,
    position: 1,
    unwanted: 1,
    operation: 1,
    flags: 1,
    target: 1,
    context: 1,
    fd: 1,
    memory: 1,
    offset: 2,
    bytes: 1,
    iovCount: 1,
    dataCount: 1,
    callbackCount: 1,
    callbacks: MAX_CALLBACKS,
    raw: 1,
    resultStatus: 1,
    resultReporter: 1,
    resultErrorData: 1,
    resultValue: 1,
    targetData: TARGET_DATA_WORDS,
    waiters: CONDITION_WORDS_MAX,
  },
  CACHE_LINE_WORDS,
);
const AT = HandleLayout.at;
const IOV_WORDS = 2;

/** (index, generation): a plain pair, valid in every thread, that may outlive the I/O it names. */
export interface WaitReference {
  readonly index: number;
  /** Low 28 bits of the generation. */
  readonly generation: number;
}

export interface HandleRegion {
  readonly start: number;
  readonly iovStart: number;
  readonly dataStart: number;
  readonly perBackend: number;
  readonly count: number;
  /** Entries of each handle's I/O vector, and of its data: PostgreSQL's io_max_combine_limit. */
  readonly vectorMax: number;
}

export class HandleTable {
  readonly words: SharedWords;
  readonly slots: Slots;
  readonly region: HandleRegion;
  readonly #handles: (IoHandle | undefined)[] = [];

  static plan(plan: SegmentPlan, backends: number, perBackend: number, vectorMax: number): HandleRegion {
    const count = backends * perBackend;
    return {
      start: plan.reserve('aio handles', count * HandleLayout.words),
      iovStart: plan.reserve('aio io vectors', count * vectorMax * IOV_WORDS),
      dataStart: plan.reserve('aio handle data', count * vectorMax),
      perBackend,
      count,
      vectorMax,
    };
  }

  constructor(slots: Slots, region: HandleRegion) {
    this.slots = slots;
    this.words = slots.words;
    this.region = region;
  }

  handle(index: number): IoHandle {
    return (this.#handles[index] ??= new IoHandle(this, index));
  }

  stateWordIndex(index: number): number {
    return this.region.start + index * HandleLayout.words + AT.state;
  }

  /** True when the I/O that the reference names no longer runs: completed, or long over. */
  isDone(index: number, generation: number): boolean {
    const word = this.words.load(this.stateWordIndex(index));
    return generationOf(word) !== generation || stateOf(word) >= HandleState.COMPLETED_SHARED;
  }
}

export class IoHandle {
  readonly index: number;
  readonly #table: HandleTable;
  readonly #words: SharedWords;
  readonly #base: number;
  readonly #iov: number;
  readonly #data: number;

  constructor(table: HandleTable, index: number) {
    const { region } = table;
    this.index = index;
    this.#table = table;
    this.#words = table.words;
    this.#base = region.start + index * HandleLayout.words;
    this.#iov = region.iovStart + index * region.vectorMax * IOV_WORDS;
    this.#data = region.dataStart + index * region.vectorMax;
  }

  // --- state -------------------------------------------------------------------------------------

  /** Word that changes whenever the state does, for waiting. */
  get stateWordIndex(): number {
    return this.#base + AT.state;
  }

  get stateWord(): number {
    return this.#words.load(this.#base + AT.state);
  }

  get state(): HandleState {
    return stateOf(this.stateWord);
  }

  /** Low 28 bits. */
  get generation(): number {
    return generationOf(this.stateWord);
  }

  /** The whole generation, for the in-flight view. */
  get wideGeneration(): number {
    return this.#words.getWide(this.#base + AT.generation);
  }

  get waitReference(): WaitReference {
    const word = this.stateWord;
    const state = stateOf(word);
    if (state < HandleState.HANDED_OUT || state > HandleState.STAGED) {
      fail(`a wait reference can be taken until an I/O is submitted; ${this.describe()}`);
    }
    return { index: this.index, generation: generationOf(word) };
  }

  /** The only writer of the state word. An illegal or lost move stops the program. */
  move(from: HandleState, to: HandleState): void {
    const generation = generationOf(this.#words.get(this.#base + AT.state)); // validated by the swap
    if (!this.tryMove(from, to, generation)) this.#illegalMove(from, to);
  }

  /** Moves if the I/O of this generation is in `from`; somebody else may have been faster. */
  tryMove(from: HandleState, to: HandleState, generation: number): boolean {
    if (!isLegalMove(from, to)) this.#illegalMove(from, to);
    const expected = packState(from, generation);
    return (
      this.#words.compareExchange(this.#base + AT.state, expected, packState(to, generation)) === expected
    );
  }

  #illegalMove(from: HandleState, to: HandleState): never {
    fail(`illegal move ${stateName(from)} → ${stateName(to)}: ${this.describe()}`);
  }

  /** For messages: id, state, operation, target. */
  describe(): string {
    return `I/O handle ${this.index} is ${stateName(this.state)} (${operationNames[this.operation]}, target ${this.target}, generation ${this.generation})`;
  }

  // --- executor ----------------------------------------------------------------------------------

  #executorWord(generation: number, slotPlusOne: number): number {
    return (generation << 8) | slotPlusOne;
  }

  /** Wins the right to run this I/O. False when another has it, or the I/O is over. */
  tryBecomeExecutor(slot: number, generation: number): boolean {
    const free = this.#executorWord(generation, 0);
    return (
      this.#words.compareExchange(
        this.#base + AT.executor,
        free,
        this.#executorWord(generation, slot + 1),
      ) === free
    );
  }

  /** The executor's slot, or -1. */
  get executor(): number {
    const word = this.#words.load(this.#base + AT.executor);
    if (word >>> 8 !== (this.generation & 0xff_ffff)) return -1;
    return (word & 0xff) - 1;
  }

  /** As the executor: the kernel will carry it out, from this position of a ring's submission queue. */
  carry(ring: number, position: number): void {
    this.#words.set(this.#base + AT.position, position);
    this.#words.set(this.#base + AT.ring, ring + 1);
  }

  /** The ring that carries this I/O, or -1. */
  get ring(): number {
    return this.#words.get(this.#base + AT.ring) - 1;
  }

  get ringPosition(): number {
    return this.#words.get(this.#base + AT.position);
  }

  /**
   * For the holder of the carrying ring's completion lock: the kernel is done. Whoever does this becomes the
   * executor; until the move it can be done again by another, because the ring still has the completion.
   */
  completeCarried(slot: number, generation: number, raw: number): void {
    this.#words.set(this.#base + AT.raw, raw);
    this.#words.store(this.#base + AT.executor, this.#executorWord(generation, slot + 1));
    this.move(HandleState.SUBMITTED, HandleState.COMPLETED_IO);
  }

  /** As `completeCarried`, when the kernel did not carry it out: the caller will, and no ring carries it any more. */
  takeFromRing(slot: number, generation: number): void {
    this.#words.store(this.#base + AT.executor, this.#executorWord(generation, slot + 1));
    this.takeOffRing();
  }

  /** The kernel never took it, and its submitter will not submit it any more. */
  takeOffRing(): void {
    this.#words.store(this.#base + AT.ring, 0);
  }

  /** By the owner: nobody need carry it out any more. */
  markUnwanted(): void {
    this.#words.store(this.#base + AT.unwanted, 1);
  }

  get isUnwanted(): boolean {
    return this.#words.load(this.#base + AT.unwanted) !== 0;
  }

  /** For the supervisor: takes the I/O of a thread that has ended. */
  tryTakeFromDead(dead: number, slot: number, generation: number): boolean {
    const held = this.#executorWord(generation, dead + 1);
    return (
      this.#words.compareExchange(
        this.#base + AT.executor,
        held,
        this.#executorWord(generation, slot + 1),
      ) === held
    );
  }

  /** For the supervisor, as executor: lets anybody run it. */
  giveUpExecutor(generation: number): void {
    this.#words.store(this.#base + AT.executor, this.#executorWord(generation, 0));
  }

  get deaths(): number {
    return this.#words.get(this.#base + AT.deaths);
  }

  set deaths(count: number) {
    this.#words.set(this.#base + AT.deaths, count);
  }

  // --- what the owner fills in -------------------------------------------------------------------

  get owner(): number {
    return Math.floor(this.index / this.#table.region.perBackend);
  }

  get operation(): Operation {
    return this.#words.get(this.#base + AT.operation) as Operation;
  }

  get operationName(): (typeof operationNames)[number] {
    return operationNames[this.operation];
  }

  get flags(): number {
    return this.#words.get(this.#base + AT.flags);
  }

  /** For the statistics: an index of `IO_CONTEXTS`. */
  get context(): number {
    return this.#words.get(this.#base + AT.context);
  }

  set context(context: number) {
    this.#words.set(this.#base + AT.context, context);
  }

  /** When it was started, in microseconds of the clock that all threads share; 0: nobody looked. */
  get startedAt(): number {
    return this.#words.doubles[(this.#base + AT.startedAt) >>> 1] as number;
  }

  set startedAt(micros: number) {
    this.#words.doubles[(this.#base + AT.startedAt) >>> 1] = micros;
  }

  /** Flags accumulate; only while the handle is handed out. */
  setFlag(flag: number): void {
    this.#assertHandedOut('set a flag');
    this.#words.set(this.#base + AT.flags, this.flags | flag);
  }

  /** By the executor: from here on nobody but this thread could tell what the kernel says, and it says it once. */
  markBegun(): void {
    this.#words.set(this.#base + AT.flags, this.flags | HandleFlag.BEGUN);
  }

  get target(): number {
    return this.#words.get(this.#base + AT.target);
  }

  /** Names what the I/O is on, and puts the target's own callback into slot 0. */
  setTarget(target: number, callback: number): void {
    this.#assertHandedOut('set the target');
    if (this.target !== 0) fail(`the target was set already: ${this.describe()}`);
    this.#words.set(this.#base + AT.target, target);
    this.#words.set(this.#base + AT.callbacks, callback);
  }

  setTargetWord(word: number, value: number): void {
    this.#words.set(this.#base + AT.targetData + word, value);
  }

  targetWord(word: number): number {
    return this.#words.get(this.#base + AT.targetData + word);
  }

  /** Adds a callback behind those registered so far, with up to 16 bits of data. */
  registerCallback(id: number, data = 0): void {
    this.#assertHandedOut('register a callback');
    const count = this.callbackCount;
    if (count >= MAX_CALLBACKS) fail(`more than ${MAX_CALLBACKS - 1} callbacks: ${this.describe()}`);
    if (data < 0 || data > 0xffff) fail(`callback data ${data} does not fit into 16 bits`);
    this.#words.set(this.#base + AT.callbacks + count, id | (data << 8));
    this.#words.set(this.#base + AT.callbackCount, count + 1);
  }

  /** Slots in use, the target's own included. */
  get callbackCount(): number {
    return this.#words.get(this.#base + AT.callbackCount);
  }

  callbackId(slot: number): number {
    return this.#words.get(this.#base + AT.callbacks + slot) & 0xff;
  }

  callbackData(slot: number): number {
    return this.#words.get(this.#base + AT.callbacks + slot) >>> 8;
  }

  /** Attaches one word a block (buffer numbers), once. */
  setHandleData(values: ArrayLike<number>, start: number, count: number): void {
    this.#assertHandedOut('attach data');
    if (this.dataCount !== 0) fail(`data was attached already: ${this.describe()}`);
    const { vectorMax } = this.#table.region;
    if (count <= 0 || count > vectorMax) fail(`${count} words of data, at most ${vectorMax}`);
    for (let index = 0; index < count; index++)
      this.#words.set(this.#data + index, values[start + index] as number);
    this.#words.set(this.#base + AT.dataCount, count);
  }

  get dataCount(): number {
    return this.#words.get(this.#base + AT.dataCount);
  }

  dataWord(index: number): number {
    return this.#words.get(this.#data + index);
  }

  /** For completion callbacks: what must survive the death of the thread that completes. */
  markDataWord(index: number, value: number): void {
    this.#words.store(this.#data + index, value);
  }

  /** Which shared memory the vector's offsets count in. */
  get memory(): number {
    return this.#words.get(this.#base + AT.memory);
  }

  setMemory(memory: number): void {
    this.#words.set(this.#base + AT.memory, memory);
  }

  get iovCount(): number {
    return this.#words.get(this.#base + AT.iovCount);
  }

  /** Appends a piece of memory; one that continues the last piece extends it. */
  appendIov(offset: number, length: number): void {
    const count = this.iovCount;
    const last = this.#iov + (count - 1) * IOV_WORDS;
    this.#words.set(this.#base + AT.bytes, this.bytes + length);
    if (count > 0 && (this.#words.get(last) >>> 0) + this.#words.get(last + 1) === offset) {
      this.#words.set(last + 1, this.#words.get(last + 1) + length);
      return;
    }
    if (count >= this.#table.region.vectorMax) fail(`too many pieces of memory: ${this.describe()}`);
    this.#words.set(last + IOV_WORDS, offset | 0);
    this.#words.set(last + IOV_WORDS + 1, length);
    this.#words.set(this.#base + AT.iovCount, count + 1);
  }

  iovOffset(piece: number): number {
    return this.#words.get(this.#iov + piece * IOV_WORDS) >>> 0;
  }

  iovLength(piece: number): number {
    return this.#words.get(this.#iov + piece * IOV_WORDS + 1);
  }

  /** First word of the vector: pairs of offset and length. */
  get iovIndex(): number {
    return this.#iov;
  }

  /** Sum of the vector's lengths. */
  get bytes(): number {
    return this.#words.get(this.#base + AT.bytes);
  }

  /** The issuer's descriptor, and the position in the file. */
  get fd(): number {
    return this.#words.get(this.#base + AT.fd);
  }

  get offset(): number {
    return this.#words.getWide(this.#base + AT.offset);
  }

  define(operation: Operation, fd: number, offset: number): void {
    this.#words.set(this.#base + AT.operation, operation);
    this.#words.set(this.#base + AT.fd, fd);
    this.#words.setWide(this.#base + AT.offset, offset);
    this.move(HandleState.HANDED_OUT, HandleState.DEFINED);
  }

  /** Makes a fresh I/O of it. The executor word must be ready before the handle can be staged. */
  handOut(): void {
    const words = this.#words;
    const base = this.#base;
    const generation = this.generation;
    for (const field of CLEARED) words.set(base + field, 0);
    words.set(base + AT.callbackCount, 1); // slot 0 belongs to the target
    words.store(base + AT.executor, this.#executorWord(generation, 0));
    this.move(HandleState.IDLE, HandleState.HANDED_OUT);
  }

  /** Ends this generation: the number first, then the state. */
  recycle(from: HandleState): void {
    if (!isLegalMove(from, HandleState.IDLE)) this.#illegalMove(from, HandleState.IDLE);
    const words = this.#words;
    const low = (words.get(this.#base + AT.generation) + 1) | 0;
    words.set(this.#base + AT.generation, low);
    if (low === 0) words.set(this.#base + AT.generation + 1, words.get(this.#base + AT.generation + 1) + 1);
    words.store(this.#base + AT.state, packState(HandleState.IDLE, low & GENERATION_MASK));
  }

  #assertHandedOut(what: string): void {
    if (this.state !== HandleState.HANDED_OUT) fail(`cannot ${what}: ${this.describe()}`);
  }

  // --- what the executor fills in ----------------------------------------------------------------

  get raw(): number {
    return this.#words.get(this.#base + AT.raw);
  }

  set raw(value: number) {
    this.#words.set(this.#base + AT.raw, value);
  }

  /** First word of the stored AioResult: status, reporter, errorData, value. */
  get resultIndex(): number {
    return this.#base + AT.resultStatus;
  }

  get storedStatus(): number {
    return this.#words.get(this.#base + AT.resultStatus);
  }

  get waitersCondition(): number {
    return this.#base + AT.waiters;
  }
}

const CLEARED: readonly number[] = [
  AT.startedAt,
  AT.startedAt + 1,
  AT.deaths,
  AT.ring,
  AT.unwanted,
  AT.operation,
  AT.flags,
  AT.target,
  AT.context,
  AT.memory,
  AT.bytes,
  AT.iovCount,
  AT.dataCount,
  AT.callbacks,
  AT.raw,
  AT.resultStatus,
];
