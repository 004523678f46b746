/**
 * What a thread that has ended leaves behind among the handles, and how each I/O comes to its end all the
 * same. Runs in the supervisor, for I/O workers and for backends.
 *
 * As an executor, of its own I/O or of others':
 *   it had taken an I/O and was not its executor yet    SUBMITTED, executor free: handed to the method again
 *   it was the executor, the system call not finished   SUBMITTED: released and handed on, once; an I/O whose
 *                                                       second executor dies fails with EIO; so does an
 *                                                       fsync that was begun, whose outcome nobody knows
 *   it was running completion callbacks                 COMPLETED_IO: they are run again, here
 *   it owed wake-ups                                    everybody is woken: the owner may have used the handle
 *                                                       again meanwhile, so nothing tells whose they were
 * The system call itself cannot be running any more: a thread ends only after it has left the kernel.
 *
 * As an owner, whose free list and links were in its own memory and are gone:
 *   HANDED_OUT        nobody else knows of it: recycled
 *   DEFINED           stage callbacks ran in part. It is moved on as an I/O that failed, so that what they
 *                     tied to it is ended, and who waits for that goes on
 *   STAGED            handed to the method, as by a waiter; if the owner was the executor already, it is not
 *   SUBMITTED, COMPLETED_IO    another thread, or the kernel, brings it to its end: looked at again
 *   COMPLETED_SHARED  nobody will want the result: recycled, without the owner's local callbacks
 *
 * What nobody but its issuer can run (its memory is the issuer's own, or its file cannot be opened elsewhere) is
 * never handed on: while the issuer lives, it is left to it, with the executor word free; after that, what the
 * kernel never carried out ends as ECANCELED. The issuer's memory is touched in neither case.
 *
 * From its thread's end on, the supervisor is the owner of a dead backend's handles, and makes the moves that
 * only an owner makes. A thread that has ended makes no more moves, so what is seen here stays, but for what
 * live executors and waiters do to it: they are raced with by compare-and-swap only.
 */
import { constants } from 'node:os';
import { joinCondition } from '../shmem/condition.js';
import { setAllLatches } from '../shmem/latch.js';
import { SlotStatus } from '../shmem/slots.js';
import type { IoHandle } from './handle.js';
import { HandleFlag } from './operation.js';
import type { MethodRecovery } from './method/method.js';
import { runsInIssuerOnly } from './reopened.js';
import { HandleState, generationOf, stateOf } from './states.js';
import type { AioThread } from './thread.js';

/** An I/O may lose this many executors before it is declared the culprit. */
const MAX_DEATHS = 1;
const { EIO, ECANCELED } = constants.errno;

export class AioRecovery {
  readonly #thread: AioThread;
  readonly #method: MethodRecovery;

  constructor(thread: AioThread, method: MethodRecovery) {
    this.#thread = thread;
    this.#method = method;
  }

  /** Sees to all that a dead thread had in its hands, whoever's it is; to be called once. */
  recoverExecutor(dead: number): void {
    const { table } = this.#thread;
    for (let index = 0; index < table.region.count; index++) {
      const io = table.handle(index);
      const word = io.stateWord;
      const state = stateOf(word);
      if (state < HandleState.SUBMITTED || state > HandleState.COMPLETED_SHARED) continue;
      const generation = generationOf(word);
      const executor = io.executor;
      if (executor === dead) this.#takeOver(io, generation, dead);
      else if (executor === -1 && state === HandleState.SUBMITTED) this.#submitAgain(io, generation);
    }
    setAllLatches(this.#thread.slots);
  }

  #takeOver(io: IoHandle, generation: number, dead: number): void {
    if (this.#method.isCarriedElsewhere?.(io) === true) return;
    if (!io.tryTakeFromDead(dead, this.#thread.slot, generation)) return;
    switch (io.state) {
      case HandleState.SUBMITTED:
        this.#retry(io, generation);
        break;
      case HandleState.COMPLETED_IO:
        io.deaths++; // tells the callbacks that they may have run already
        this.#thread.completeShared(io);
        break;
      default: // completed, and all who waited are awake
    }
  }

  /** As the executor of a SUBMITTED I/O whose last one died. */
  #retry(io: IoHandle, generation: number): void {
    if (io.deaths >= MAX_DEATHS) {
      this.#fail(io, 'failing an I/O whose executor died twice');
      return;
    }
    // The kernel may have said to the dead thread that data was lost, and would not say so again.
    if ((io.flags & HandleFlag.BEGUN) !== 0) {
      this.#fail(io, 'failing an fsync whose executor died before it could say what came of it');
      return;
    }
    io.deaths++;
    this.#handOn(io, generation);
  }

  #fail(io: IoHandle, why: string): void {
    this.#thread.log({ level: 'warning', message: `${why}: ${io.describe()}` });
    this.#thread.finish(io, -EIO);
  }

  /** As the executor of a SUBMITTED I/O: lets another run it. */
  #handOn(io: IoHandle, generation: number): void {
    io.giveUpExecutor(generation);
    this.#submitAgain(io, generation);
  }

  /** Those who wait for it are woken, too: while nobody runs it, one of them may have to. */
  #submitAgain(io: IoHandle, generation: number): void {
    if (this.#method.isCarriedElsewhere?.(io) === true) return;
    if (!runsInIssuerOnly(this.#thread, io)) this.#method.submitAgain(io, generation);
    else if (this.#ownerHasEnded(io)) this.#cancel(io, generation);
    this.#thread.completion.wakeWaiters(io);
  }

  #ownerHasEnded(io: IoHandle): boolean {
    const { slots } = this.#thread;
    return slots.status(io.owner) === SlotStatus.ENDED;
  }

  /** Only its owner could have run it. */
  #cancel(io: IoHandle, generation: number): void {
    if (io.tryBecomeExecutor(this.#thread.slot, generation)) this.#thread.finish(io, -ECANCELED);
  }

  // --- a backend's own handles -------------------------------------------------------------------

  /** The method's part first: what it keeps for the backend besides handles. */
  beginBackend(dead: number): void {
    this.#method.recoverBackend?.(dead);
    this.recoverExecutor(dead);
  }

  /**
   * One look at the handles that a dead backend owned; true once all of them are idle. Otherwise this thread's
   * latch is set when that changes, except where the next executor dies, too: so look now and then anyway.
   */
  recoverOwned(dead: number): boolean {
    const { table } = this.#thread;
    const { perBackend } = table.region;
    let idle = true;
    for (let index = dead * perBackend; index < (dead + 1) * perBackend; index++) {
      if (!this.#isIdle(table.handle(index), dead)) idle = false;
    }
    return idle;
  }

  /** Moves a handle on as far as it goes. */
  #isIdle(io: IoHandle, dead: number): boolean {
    for (;;) {
      const word = io.stateWord;
      const generation = generationOf(word);
      const state = stateOf(word);
      switch (state) {
        case HandleState.IDLE:
          return true;
        case HandleState.HANDED_OUT:
        case HandleState.COMPLETED_LOCAL:
          io.recycle(state);
          return true;
        case HandleState.COMPLETED_SHARED:
          io.move(HandleState.COMPLETED_SHARED, HandleState.COMPLETED_LOCAL);
          break;
        case HandleState.DEFINED:
        case HandleState.STAGED:
          this.#submitFor(io, generation, dead, state);
          break;
        default:
          if (this.#isElsewhere(io, word, dead)) return false;
      }
    }
  }

  /** What the owner had not submitted. If a waiter of a staged I/O is faster, it is the waiter's business. */
  #submitFor(io: IoHandle, generation: number, dead: number, state: HandleState): void {
    const { slot } = this.#thread;
    const executor = io.tryBecomeExecutor(slot, generation) || io.tryTakeFromDead(dead, slot, generation);
    if (!executor) return;
    if (state === HandleState.DEFINED) io.move(HandleState.DEFINED, HandleState.STAGED);
    io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, generation); // a waiter may have made this move
    if (state === HandleState.DEFINED) this.#thread.finish(io, -ECANCELED);
    else this.#handOn(io, generation);
  }

  /** In flight. As any waiter, this thread helps it along where it must; false if that changed something. */
  #isElsewhere(io: IoHandle, word: number, dead: number): boolean {
    const generation = generationOf(word);
    const { executor } = io;
    if (executor === dead) this.#takeOver(io, generation, dead);
    else if (executor === -1 && runsInIssuerOnly(this.#thread, io)) this.#submitAgain(io, generation);
    this.#method.waitOne?.(io, generation);
    joinCondition(this.#thread.slots, io.waitersCondition, this.#thread.slot);
    return io.stateWord === word;
  }
}
