/**
 * The issuer's side of asynchronous I/O, one object a backend: acquires handles, starts and submits I/O,
 * waits for it, and reclaims what is done. PostgreSQL's aio.c.
 *
 * From acquire to start is one synchronous region: at most one handle is handed out, and no other task of
 * the thread runs meanwhile. What may wait is a step (see shmem/wait.ts).
 */
import { assert, fail } from '../base/assert.js';
import { ClosedError } from '../base/errors.js';
import { PENDING, WaitEvent, type Pending, type Waits } from '../shmem/wait.js';
import type { IoHandle, WaitReference } from './handle.js';
import { HandleFlag, Operation } from './operation.js';
import type { IoMethodOps } from './method/method.js';
import { AioReturn, ResultStatus, TARGET_DATA_WORDS } from './result.js';
import type { Scope, ScopeKeeper, ScopedResources } from './scope.js';
import { HandleState, generationOf, stateOf } from './states.js';
import type { AioThread } from './thread.js';
import { Counter } from '../stats/counters.js';
import { errorOf } from './report.js';
import { IoTracer } from './tracing.js';

/** As many staged I/Os are submitted at once at most: PostgreSQL's PGAIO_SUBMIT_BATCH_SIZE. */
export const SUBMIT_BATCH_SIZE = 32;
const NONE = -1;

export class Aio implements ScopeKeeper {
  readonly thread: AioThread;
  readonly waits: Waits;
  readonly ops: IoMethodOps;
  readonly #first: number;
  readonly #free: number[] = [];
  /** Started and not yet reclaimed handles in the order of their start, linked by local number. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #oldest = NONE;
  #newest = NONE;
  /** By local number: where the result goes, and to which scope the I/O belongs. */
  readonly #returns: (AioReturn | null)[];
  readonly #scopes: (Scope | null)[];
  readonly #reclaiming: Uint8Array;
  /** Where results go that nobody wants any more. */
  readonly #discarded = new AioReturn();
  #handedOut: IoHandle | null = null;
  /** The first `#stagedCount` are staged, in order. */
  #staged: IoHandle[] = [];
  #stagedCount = 0;
  #submitting: IoHandle[] = [];
  /** Tasks that want a handle, in the order in which they asked. */
  readonly #turns: object[] = [];
  #batchScope: Scope | null = null;
  #inBatch = false;
  #closed = false;
  readonly #resources: ScopedResources[] = [];
  readonly #tracer = new IoTracer();
  readonly #targetData = new Int32Array(TARGET_DATA_WORDS);

  constructor(thread: AioThread, waits: Waits, ops: IoMethodOps) {
    this.thread = thread;
    this.waits = waits;
    this.ops = ops;
    const { perBackend } = thread.table.region;
    this.#first = thread.slot * perBackend;
    this.#next = new Int32Array(perBackend).fill(NONE);
    this.#previous = new Int32Array(perBackend).fill(NONE);
    this.#returns = new Array<AioReturn | null>(perBackend).fill(null);
    this.#scopes = new Array<Scope | null>(perBackend).fill(null);
    this.#reclaiming = new Uint8Array(perBackend);
    for (let local = perBackend - 1; local >= 0; local--) this.#free.push(local);
    waits.hooks.beforeSleep = () => this.submitStaged();
  }

  /** A layer whose things end with a scope. */
  addScopedResources(resources: ScopedResources): void {
    this.#resources.push(resources);
  }

  // --- acquiring ---------------------------------------------------------------------------------

  /**
   * Step: a handle for one I/O. Never fails for want of handles: it reclaims what is done, submits what is
   * staged, and waits for the oldest I/O in flight.
   */
  acquire(scope: Scope, result: AioReturn | null): IoHandle | Pending {
    this.assertOpen();
    this.thread.header.checkOpen();
    scope.assertOpen();
    if (this.#tracer.isPublishing) fail('API violation: a subscriber to pgaio:io cannot start I/O itself');
    if (this.#handedOut !== null) fail('API violation: only one I/O handle can be handed out at a time');
    if (this.#stagedCount >= SUBMIT_BATCH_SIZE) this.submitStaged();
    while (this.#free.length === 0 && this.reclaimCompleted() === 0) {
      if (this.#stagedCount > 0) this.submitStaged();
      else if (this.#waitForOldest(WaitEvent.AioHandle) === PENDING) return PENDING;
    }
    return this.#handOut(this.#free.pop() as number, scope, result);
  }

  /** A handle now, or null. */
  tryAcquire(scope: Scope, result: AioReturn | null): IoHandle | null {
    if (this.#free.length === 0) this.reclaimCompleted();
    if (this.#free.length === 0) return null;
    return this.acquire(scope, result) as IoHandle;
  }

  /** As `acquire`, blocking the thread. */
  acquireBlocking(scope: Scope, result: AioReturn | null): IoHandle {
    const io = this.acquire(scope, result);
    return io === PENDING ? this.waits.block(() => this.acquire(scope, result)) : io;
  }

  /**
   * Waits for a handle, in the order of the calls, and calls `fill`, which must start the I/O before it
   * returns and cannot await. Resolves with what `fill` returned once the I/O is started.
   */
  withHandle<T>(scope: Scope, result: AioReturn | null, fill: (io: IoHandle) => T): Promise<Awaited<T>> {
    const turn = {};
    this.#turns.push(turn);
    return this.waits.until(() => {
      if (this.#turns[0] !== turn) return this.waits.waitForOwnThread(WaitEvent.AioHandleTurn);
      const io = this.#acquireInTurn(scope, result);
      if (io === PENDING) return PENDING;
      try {
        const returned = fill(io);
        assert(
          !(returned instanceof Promise),
          'fill must start the I/O synchronously; it returned a promise',
        );
        if (this.#handedOut === io) fail(`fill returned without starting the I/O: ${io.describe()}`);
        return returned as Awaited<T>;
      } finally {
        if (this.#handedOut === io) this.release(io);
      }
    });
  }

  /** Whoever is behind has its turn in the same round: those who wait for it are asked in every one. */
  #acquireInTurn(scope: Scope, result: AioReturn | null): IoHandle | Pending {
    let waiting = false;
    try {
      const io = this.acquire(scope, result);
      waiting = io === PENDING;
      return io;
    } finally {
      if (!waiting) this.#turns.shift();
    }
  }

  #handOut(local: number, scope: Scope, result: AioReturn | null): IoHandle {
    const io = this.thread.table.handle(this.#first + local);
    io.handOut();
    result?.reset();
    this.#returns[local] = result;
    this.#scopes[local] = scope;
    this.#handedOut = io;
    return io;
  }

  /** Whether the handle was acquired and not yet started or released. */
  isHandedOut(io: IoHandle): boolean {
    return io === this.#handedOut;
  }

  /** Gives back a handle that was not used. */
  release(io: IoHandle): void {
    if (io !== this.#handedOut) fail(`release in an unexpected state: ${io.describe()}`);
    this.#handedOut = null;
    const local = io.index - this.#first;
    this.#forget(local);
    io.recycle(HandleState.HANDED_OUT);
    this.#free.push(local);
  }

  #forget(local: number): void {
    this.#returns[local] = null;
    this.#scopes[local] = null;
  }

  // --- starting ----------------------------------------------------------------------------------

  /** Starts reading into the handle's vector from `offset` (bytes). The handle must not be touched afterwards. */
  startReadv(io: IoHandle, fd: number, offset: number): void {
    this.#start(io, Operation.READV, fd, offset);
  }

  /** Starts writing the handle's vector at `offset` (bytes). */
  startWritev(io: IoHandle, fd: number, offset: number): void {
    this.#start(io, Operation.WRITEV, fd, offset);
  }

  /** Starts fsync(2), or with the flag DATA_ONLY fdatasync(2): of what was written and completed before. */
  startFsync(io: IoHandle, fd: number): void {
    this.#start(io, Operation.FSYNC, fd, 0);
  }

  #start(io: IoHandle, operation: Operation, fd: number, offset: number): void {
    if (io !== this.#handedOut) fail(`only the handed-out handle can be started: ${io.describe()}`);
    if (io.target === 0) fail(`an I/O needs a target: ${io.describe()}`);
    io.define(operation, fd, offset);
    this.#handedOut = null;
    this.#link(io.index - this.#first);
    this.thread.stage(io);
    if ((io.flags & HandleFlag.SYNCHRONOUS) !== 0 || this.ops.needsSynchronousExecution(io)) {
      this.#runInline(io, fd);
    } else {
      io.move(HandleState.DEFINED, HandleState.STAGED);
      this.#staged[this.#stagedCount++] = io;
      if (!this.#inBatch || this.#stagedCount >= SUBMIT_BATCH_SIZE) this.submitStaged();
    }
    if (this.#tracer.isWanted) this.#traceStart(io);
  }

  /** Its target's words are as they were: only this thread can reclaim the handle. */
  #traceStart(io: IoHandle): void {
    for (let word = 0; word < TARGET_DATA_WORDS; word++) this.#targetData[word] = io.targetWord(word);
    const target = this.thread.registry.target(io.target);
    this.#tracer.started(io, target.name, target.describe(this.#targetData));
  }

  /** This thread becomes the executor before others can see the I/O, so nobody can take it over. */
  #runInline(io: IoHandle, fd: number): void {
    const { generation } = io;
    if (!io.tryBecomeExecutor(this.thread.slot, generation)) {
      fail(`somebody runs an I/O that was not staged: ${io.describe()}`);
    }
    io.move(HandleState.DEFINED, HandleState.STAGED);
    io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, generation); // a waiter may have made this move
    this.thread.counters.count(Counter.inlineExecutions);
    this.thread.run(io, fd);
  }

  /** Hands everything staged to the method, in one call. */
  submitStaged(): void {
    const count = this.#stagedCount;
    if (count === 0) return;
    const staged = this.#staged;
    this.#staged = this.#submitting; // what is started meanwhile must not be mixed up with this
    this.#submitting = staged;
    this.#stagedCount = 0;
    try {
      this.ops.submit(staged, count);
    } catch (error) {
      this.thread.crash(
        `I/O could not be submitted: ${error instanceof Error ? error.message : String(error)}`,
      );
      throw error; // nobody knows what was submitted, so nobody may wait for it
    }
  }

  get haveStaged(): boolean {
    return this.#stagedCount > 0;
  }

  // --- batches -----------------------------------------------------------------------------------

  /** From here on started I/O is staged only, and submitted together: at `exitBatch`, or when 32 are. */
  enterBatch(scope: Scope): void {
    assert(!this.#inBatch, 'API violation: a batch is open already');
    this.#inBatch = true;
    this.#batchScope = scope;
  }

  exitBatch(): void {
    assert(this.#inBatch, 'API violation: no batch is open');
    this.#inBatch = false;
    this.#batchScope = null;
    this.submitStaged();
  }

  /** Runs `fill`, which cannot await, in a batch. */
  batch<T>(scope: Scope, fill: () => T): T {
    this.enterBatch(scope);
    try {
      const result = fill();
      assert(!(result instanceof Promise), 'a batch cannot span an await: fill returned a promise');
      return result;
    } finally {
      this.exitBatch();
    }
  }

  // --- waiting -----------------------------------------------------------------------------------

  /** Step: until the I/O is completed; an own one is reclaimed, so its result slot is filled. */
  waitFor(index: number, generation: number): true | Pending {
    const io = this.thread.table.handle(index);
    const own = io.owner === this.thread.slot;
    for (;;) {
      const word = io.stateWord;
      if (generationOf(word) !== generation) return true;
      const state = stateOf(word);
      if (state >= HandleState.COMPLETED_SHARED) {
        if (own) this.#reclaim(io);
        return true;
      }
      if (own) {
        if (state === HandleState.HANDED_OUT)
          fail(`waiting for an I/O that was not started: ${io.describe()}`);
        if (state === HandleState.STAGED) this.submitStaged();
      }
      this.ops.waitOne?.(io, generation);
      if (io.stateWord === word) return this.#waitForChange(WaitEvent.AioIoCompletion, io, word);
    }
  }

  #waitForChange(event: WaitEvent, io: IoHandle, word: number): Pending {
    return this.waits.waitFor(
      event,
      io.waitersCondition,
      io.stateWordIndex,
      word,
      io.index,
      generationOf(word),
    );
  }

  waitForReference(reference: WaitReference): true | Pending {
    return this.waitFor(reference.index, reference.generation);
  }

  waitForBlocking(index: number, generation: number): void {
    if (this.waitFor(index, generation) === PENDING) this.waits.block(() => this.waitFor(index, generation));
  }

  /** True: it is completed by now, to be reclaimed. Its state would then not change until it is. */
  #waitForOldest(event: WaitEvent): true | Pending {
    assert(this.#oldest !== NONE, 'no handle is free and none is in flight');
    const io = this.thread.table.handle(this.#first + this.#oldest);
    const word = io.stateWord;
    if (stateOf(word) === HandleState.COMPLETED_SHARED) return true;
    this.ops.waitOne?.(io, generationOf(word));
    return this.#waitForChange(event, io, word);
  }

  /** Nobody wants the result of an own I/O any more: its slot will not be written. */
  abandon(index: number, generation: number): void {
    const io = this.thread.table.handle(index);
    if (io.owner === this.thread.slot && io.generation === generation)
      this.#returns[index - this.#first] = null;
  }

  /**
   * Ends an own I/O that waits in a queue, ours or the kernel's, with ECANCELED; what is being carried out goes on. In ours,
   * to become its executor decides: a worker that comes to it later lets it be.
   */
  cancel(index: number, generation: number): void {
    const io = this.thread.table.handle(index);
    const word = io.stateWord;
    if (io.owner !== this.thread.slot || generationOf(word) !== generation) return;
    if (stateOf(word) !== HandleState.SUBMITTED) return;
    if (io.tryBecomeExecutor(this.thread.slot, generation)) this.thread.cancel(io);
    else this.ops.cancel?.(io, generation);
  }

  // --- reclaiming --------------------------------------------------------------------------------

  /** Reclaims every own I/O that is completed; returns how many were. */
  reclaimCompleted(): number {
    let reclaimed = 0;
    for (let local = this.#oldest; local !== NONE;) {
      const following = this.#next[local] as number;
      const io = this.thread.table.handle(this.#first + local);
      if (io.state === HandleState.COMPLETED_SHARED && this.#reclaim(io)) reclaimed++;
      local = following;
    }
    return reclaimed;
  }

  /** As `reclaimCompleted`, but takes from the method first what is over, without waiting. */
  reclaimWhatIsOver(): number {
    if (this.#oldest === NONE) return 0;
    const io = this.thread.table.handle(this.#first + this.#oldest);
    this.ops.waitOne?.(io, io.generation);
    return this.reclaimCompleted();
  }

  /** Step: until own I/O was reclaimed, for who needs what that gives back; false when there is none. */
  reclaimSome(): boolean | Pending {
    this.submitStaged();
    while (this.#oldest !== NONE) {
      if (this.reclaimCompleted() > 0) return true;
      if (this.#waitForOldest(WaitEvent.AioIoCompletion) === PENDING) return PENDING;
    }
    return false;
  }

  /** False: this thread is at it already, and a local callback came back here, by way of an abort for example. */
  #reclaim(io: IoHandle): boolean {
    const local = io.index - this.#first;
    if (this.#reclaiming[local] === 1) return false;
    this.#reclaiming[local] = 1;
    const result = this.#returns[local] ?? this.#discarded;
    const failsLocally = (io.flags & HandleFlag.REFERENCES_LOCAL) !== 0; // perhaps: its callbacks have yet to judge
    if (failsLocally || io.storedStatus > ResultStatus.OK) this.#describe(io, result);
    this.thread.completeLocal(io, result);
    this.#unlink(local);
    this.#forget(local);
    const { raw } = io;
    io.recycle(HandleState.COMPLETED_LOCAL);
    this.#reclaiming[local] = 0;
    this.#free.push(local);
    if (this.#tracer.isTracing) {
      const error = result.status === ResultStatus.ERROR ? errorOf(this, result) : null;
      this.#tracer.ended(io.index, Math.max(0, raw), error);
    }
    return true;
  }

  /** What a report needs. The target may let go of its file in its local callback, so this comes before. */
  #describe(io: IoHandle, result: AioReturn): void {
    const { targetData } = result;
    for (let word = 0; word < targetData.length; word++) targetData[word] = io.targetWord(word);
    result.description = this.thread.registry.target(io.target).describe(targetData);
  }

  #link(local: number): void {
    this.#previous[local] = this.#newest;
    this.#next[local] = NONE;
    if (this.#newest === NONE) this.#oldest = local;
    else this.#next[this.#newest] = local;
    this.#newest = local;
  }

  #unlink(local: number): void {
    const next = this.#next[local] as number;
    const previous = this.#previous[local] as number;
    if (previous === NONE) this.#oldest = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#newest = previous;
    else this.#previous[next] = previous;
  }

  get inFlightCount(): number {
    return this.#returns.length - this.#free.length - (this.#handedOut === null ? 0 : 1);
  }

  // --- ending ------------------------------------------------------------------------------------

  /** See scope.ts for what is warned about. */
  endScope(scope: Scope, failed: boolean): void {
    if (this.#inBatch && this.#batchScope === scope) {
      if (!failed) this.#warn('an I/O batch was still open at the end of its scope');
      this.exitBatch();
    }
    if (this.#handedOut !== null && this.#scopes[this.#handedOut.index - this.#first] === scope) {
      if (!failed) this.#warn(`an I/O handle was leaked: ${this.#handedOut.describe()}`);
      this.release(this.#handedOut);
    }
    for (let local = this.#oldest; local !== NONE; local = this.#next[local] as number) {
      if (this.#scopes[local] !== scope) continue;
      const io = this.thread.table.handle(this.#first + local);
      if (!failed && io.state === HandleState.STAGED)
        this.#warn(`an I/O was not submitted: ${io.describe()}`);
      this.#forget(local);
    }
    this.submitStaged();
    for (const resources of this.#resources) resources.releaseScope(scope, failed);
  }

  #warn(message: string): void {
    this.thread.log({ level: 'warning', message });
  }

  /** Whether an own I/O on the descriptor is not over. */
  isInFlightOn(fd: number): boolean {
    for (let local = this.#oldest; local !== NONE; local = this.#next[local] as number) {
      const io = this.thread.table.handle(this.#first + local);
      if (io.fd === fd && io.state < HandleState.COMPLETED_SHARED) return true;
    }
    return false;
  }

  /** Before a descriptor is closed: what is staged on it is submitted; where the method says so, awaited. */
  beforeClose(fd: number): void {
    this.submitStaged();
    if (!this.ops.waitOnFdBeforeClose) return;
    for (let local = this.#oldest; local !== NONE;) {
      const following = this.#next[local] as number;
      const io = this.thread.table.handle(this.#first + local);
      if (io.fd === fd) this.waitForBlocking(io.index, io.generation);
      local = following;
    }
  }

  assertOpen(): void {
    if (this.#closed) throw new ClosedError('this backend');
  }

  /** From here on no handle is given out: who waits for one is told so. */
  close(): void {
    this.#closed = true;
  }

  /** Step: until nothing of this backend is in flight. */
  drain(): true | Pending {
    this.submitStaged();
    for (;;) {
      this.reclaimCompleted();
      if (this.#oldest === NONE) return true;
      if (this.#waitForOldest(WaitEvent.AioIoCompletion) === PENDING) return PENDING;
    }
  }
}
