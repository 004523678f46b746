/**
 * Pages in the simulation of the WAL: few relations of few blocks, in a pool that is too small for them, changed, written,
 * made longer and cut off by several backends, and what must be found of them after a crash. See wal-simulation.ts.
 */
import type { Backend } from '../src/instance/backend.js';
import { Fork } from '../src/smgr/relation.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { PENDING, WaitEvent, type Pending, type Step } from '../src/shmem/wait.js';
import type { Lsn } from '../src/wal/lsn.js';
import type { ReserveOptions } from '../src/wal/wal-control.js';
import type { Wal } from '../src/wal/wal.js';
import { PageModel } from './page-model.js';
import type { Random } from './random.js';
import type { SimulatedDisk } from './simulated-disk.js';
import { PAGE_RECORD, type WalModel } from './wal-simulation-model.js';

const DATABASE = 1;
/** Their numbers, and how many blocks they may have: together more than the pool has buffers. */
export const RELATIONS: readonly { readonly number: number; readonly blocksMax: number }[] = [
  { number: 16384, blocksMax: 12 },
  { number: 16385, blocksMax: 8 },
];

/** What a record that is being inserted does to the model, once it has its place. */
export type PlacedChange = (end: Lsn) => void;

export interface PageSimulationParts {
  readonly random: Random;
  readonly disk: SimulatedDisk;
  readonly directory: string;
  readonly wal: WalModel;
  /** Others come in between, with this probability. */
  readonly preempt: (chance: number) => void;
  /** Thrown where a thread would look away while another copies a record. */
  readonly lookedAway: Error;
  /** Counted here. */
  readonly result: { changes: number; cuts: number; extensions: number };
}

export class PageSimulation {
  readonly model: PageModel = new PageModel();
  readonly random: Random;
  readonly counts: { changes: number; cuts: number; extensions: number };
  /** How often clients cut relations off, write what is dirty, and wait for what they change to be durable. */
  readonly chances: { readonly cut: number; readonly flush: number; readonly commit: number };
  readonly #disk: SimulatedDisk;
  readonly #directory: string;
  readonly #wal: WalModel;
  readonly #preempt: (chance: number) => void;
  /** Thrown where a thread would look away. */
  readonly #lookedAway: Error;
  /** By backend: of the record that its next insertion is for. */
  readonly #next = new Map<Backend, PlacedChange>();
  /** By relation: blocks that were there before anybody began to make it longer. */
  readonly sizes: Map<number, number> = new Map();
  /** By relation: clients that use its blocks; Infinity: one that cuts it off. */
  #users = new Map<number, number>();

  constructor({ random, disk, directory, wal, preempt, lookedAway, result }: PageSimulationParts) {
    this.counts = result;
    this.random = random;
    this.chances = {
      cut: random.pick([0, 0.05, 0.2]),
      flush: random.pick([0, 0.1, 0.3]),
      commit: random.pick([0.2, 0.6, 0.9]),
    };
    this.#disk = disk;
    this.#directory = directory;
    this.#wal = wal;
    this.#preempt = preempt;
    this.#lookedAway = lookedAway;
  }

  // --- a life ------------------------------------------------------------------------------------

  /** Every record of a change that the backend inserts is known here as soon as it has its place. */
  attach(backend: Backend): void {
    const { wal } = backend.wal.parts;
    const inserting: Wal['inserting'] = wal.inserting.bind(wal);
    const observed = (record: Uint8Array, options: ReserveOptions = {}): unknown => {
      const change = this.#next.get(backend);
      if (change === undefined) return inserting(record, options);
      const placed = (start: Lsn): void => {
        options.placed?.(start);
        const { end } = wal.control;
        this.#wal.placed({ start, end, payload: PAGE_RECORD });
        change(end);
        this.#preempt(0.3);
      };
      return this.#slowly(backend, inserting(record, { ...options, placed }));
    };
    wal.inserting = observed as Wal['inserting'];
    this.#lookAgainWhereCopied(backend);
  }

  /** Others go on before the record has its place, and while it is in the WAL, and the pages are not changed yet. */
  #slowly<T>({ aio }: Backend, step: Step<T>): Step<T> {
    let done: T | Pending = PENDING;
    let early = this.random.chance(0.2) ? this.random.below(60) : 0;
    let late = this.random.chance(0.2) ? this.random.below(60) : 0;
    return () => {
      if (done === PENDING && early-- <= 0) done = step();
      if (early < 0 && (done === PENDING || late-- <= 0)) return done;
      return aio.waits.waitForOwnThread(WaitEvent.Checkpoint);
    };
  }

  /** Flushes are in the middle of others' work, which must not end because a thread looks away. */
  #lookAgainWhereCopied({ aio, wal: { parts } }: Backend): void {
    const flushing = parts.wal.flushing.bind(parts.wal);
    parts.wal.flushing = (want, inline) => {
      const step = flushing(want, inline);
      return () => {
        try {
          return step();
        } catch (error) {
          if (error !== this.#lookedAway) throw error;
          return aio.waits.waitForOwnThread(WaitEvent.Checkpoint);
        }
      };
    };
  }

  /** Runs what makes the step of an insertion, whose record does this. */
  inserting<T>(backend: Backend, change: PlacedChange, body: () => T): T {
    this.#next.set(backend, change);
    try {
      return body();
    } finally {
      this.#next.delete(backend);
    }
  }

  /** By the first backend, once recovery is over. */
  begin(backend: Backend): void {
    this.#users = new Map();
    this.mayLosePower();
    for (const { number } of RELATIONS) {
      const relation = this.open(backend, number);
      if (!relation.exists(Fork.MAIN)) relation.create(Fork.MAIN);
      this.sizes.set(number, relation.blockCount(Fork.MAIN));
      backend.closeRelation(relation);
    }
  }

  open(backend: Backend, relation: number): SmgrRelation {
    return backend.openRelation(this.#directory, { database: DATABASE, relation });
  }

  /** Where something is about to be over, or has just been: soon, perhaps. */
  mayLosePower(): void {
    if (this.random.chance(0.04))
      this.#disk.callsLeft = Math.min(this.#disk.callsLeft, 1 + this.random.below(12));
  }

  /** False: somebody cuts off one of them, or, for who wants to do that, uses it. */
  tryUse(relations: readonly number[], isCut: boolean): boolean {
    const users = (relation: number): number => this.#users.get(relation) ?? 0;
    if (relations.some((relation) => users(relation) > (isCut ? 0 : 100))) return false;
    for (const relation of relations) this.#users.set(relation, isCut ? Infinity : users(relation) + 1);
    return true;
  }

  leave(relations: readonly number[]): void {
    for (const relation of relations) {
      const users = this.#users.get(relation) ?? 0;
      this.#users.set(relation, users === Infinity ? 0 : users - 1);
    }
  }

  // --- after a crash -----------------------------------------------------------------------------

  #file(relation: number): Uint8Array {
    return this.#disk.peek(`${this.#directory}/base/${DATABASE}/${relation}`) ?? new Uint8Array(0);
  }

  /** Before recovery. */
  checkLogged(end: Lsn): void {
    for (const { number } of RELATIONS) this.model.checkLogged(number, this.#file(number), end);
    this.model.lose(end);
  }

  checkRecovered(): void {
    for (const { number } of RELATIONS) this.model.checkRecovered(number, this.#file(number));
  }
}
