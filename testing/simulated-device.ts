/**
 * What carries out I/O in a simulation of the disk: takes what was submitted to the workers' queue, has it in flight, and
 * completes it in any order. A sync begins, and what a write writes is taken from memory, some time before it is complete.
 */
import { runDequeued } from '../src/aio/reopened.js';
import type { IoHandle } from '../src/aio/handle.js';
import { Operation } from '../src/aio/operation.js';
import { WorkerControl } from '../src/aio/method/worker/control.js';
import { ThreadParts, type AttachedMemory, type LoadedModules } from '../src/instance/thread-parts.js';
import { UNKNOWN_THREAD } from '../src/shmem/thread-identity.js';
import type { Random } from './random.js';
import type { SimulatedDisk } from './simulated-disk.js';

/** More are taken one by one when others are complete. */
const IN_FLIGHT_MAX = 8;

interface InFlight {
  readonly io: IoHandle;
  readonly generation: number;
  /** Of a sync: when it began on the disk. */
  began: number | null;
  /** Of a write: what the disk has taken from memory, by where it lay there. */
  taken: Map<number, Uint8Array> | null;
}

export class SimulatedDevice {
  readonly #parts: ThreadParts;
  readonly #control: WorkerControl;
  readonly #disk: SimulatedDisk;
  readonly #random: Random;
  readonly #inFlight: InFlight[] = [];

  constructor(memory: AttachedMemory, loaded: LoadedModules, disk: SimulatedDisk, random: Random) {
    const { slots, plan } = memory;
    const slot = slots.workerSlot(0);
    slots.tryClaim(slot, UNKNOWN_THREAD);
    this.#parts = new ThreadParts(memory, slot, loaded, () => undefined);
    this.#control = new WorkerControl(slots, plan.workers);
    this.#control.markAlive(0);
    this.#disk = disk;
    this.#random = random;
  }

  get hasWork(): boolean {
    return this.#inFlight.length > 0 || this.#control.queue.depth > 0;
  }

  /** Takes one more I/O, begins a sync, or completes one I/O. */
  step(): void {
    const { queue } = this.#control;
    if (this.#inFlight.length < IN_FLIGHT_MAX && this.#random.chance(0.6) && queue.tryDequeue()) {
      const io = this.#parts.thread.table.handle(queue.first);
      this.#inFlight.push({ io, generation: queue.second, began: null, taken: null });
      return;
    }
    if (this.#inFlight.length === 0) return;
    const at = this.#random.below(this.#inFlight.length);
    const one = this.#inFlight[at] as InFlight;
    if (this.#begins(one)) return;
    this.#inFlight.splice(at, 1);
    this.#disk.syncBegan = one.began;
    this.#disk.taken = one.taken === null ? null : { from: this.#memoryOf(one.io), pieces: one.taken };
    runDequeued(this.#parts.thread, one.io, one.generation, 0);
    this.#disk.syncBegan = null;
    this.#disk.taken = null;
  }

  #begins(one: InFlight): boolean {
    const { operation } = one.io;
    if (operation === Operation.FSYNC && one.began === null) {
      one.began = this.#disk.time;
      return true;
    }
    if (operation !== Operation.WRITEV || one.taken !== null) return false;
    one.taken = new Map();
    for (let piece = 0; piece < one.io.iovCount; piece++) {
      const offset = one.io.iovOffset(piece);
      one.taken.set(offset, this.#memoryOf(one.io).slice(offset, offset + one.io.iovLength(piece)));
    }
    return true;
  }

  #memoryOf(io: IoHandle): Uint8Array {
    return this.#parts.memory.bytes[io.memory] as Uint8Array;
  }

  /** The power is gone: some of what was in flight has come to the disk. */
  abandon(): void {
    for (const { io } of this.#inFlight)
      if (io.operation === Operation.WRITEV && this.#random.chance(0.5)) this.#scribble(io);
  }

  #scribble(io: IoHandle): void {
    const { path } = this.#parts.files.identity(io.targetWord(0));
    const memory = this.#memoryOf(io);
    let position = io.offset;
    for (let piece = 0; piece < io.iovCount; piece++) {
      const offset = io.iovOffset(piece);
      this.#disk.scribble(path, position, memory.subarray(offset, offset + io.iovLength(piece)));
      position += io.iovLength(piece);
    }
  }
}
