/**
 * An instance whose first backend, in this thread, has I/O on its ring, and three more that block for it. Every
 * waiter sleeps without a time limit, so a wake-up that is lost hangs.
 */
import assert from 'node:assert/strict';
import { Rings } from '../src/aio/method/io-uring/rings.js';
import type { RingMemory } from '../src/base/settings.js';
import { BlockedReader } from './blocked-reader.js';
import { Injection } from './injection.js';
import { openRig, type Rig } from './instances.js';
import { PipeReads, type PipeRead } from './pipe-reads.js';
import { untilTrue } from './turns.js';

export const READERS = 3;
/**
 * For a waiter that is to be terminated in the kernel, where nothing ends it before its slice is over. It must not
 * be over before it is terminated: the lock would go to another.
 */
export const KERNEL_SLICE_MILLIS = 500;

export class RingRig {
  readonly rig: Rig;
  readonly injection: Injection;
  readonly rings: Rings;
  readonly pipes: PipeReads;
  readonly #readers: readonly BlockedReader[];

  static async open(ioUringMemory: RingMemory): Promise<RingRig> {
    const injection = new Injection();
    const rig = await openRig({
      ioMethod: 'io_uring',
      ioUringMemory,
      ioMaxConcurrency: 64,
      injection: injection.url,
    });
    const readers: BlockedReader[] = [];
    for (let count = 0; count < READERS; count++)
      readers.push(await BlockedReader.start(rig.instance.handle));
    return new RingRig(rig, injection, readers);
  }

  private constructor(rig: Rig, injection: Injection, readers: readonly BlockedReader[]) {
    const { slots, plan } = rig.backend.parts.memory;
    this.rig = rig;
    this.injection = injection;
    this.rings = new Rings(slots, plan.rings);
    this.pipes = new PipeReads(rig.backend, rig.data.path);
    this.#readers = readers;
  }

  reader(at: number): BlockedReader {
    return this.#readers[at] as BlockedReader;
  }

  /** One to be terminated, where it is held at a point unless it has slices. */
  startCasualty(sliceMillis?: number): Promise<BlockedReader> {
    return BlockedReader.start(this.rig.instance.handle, sliceMillis);
  }

  /** The owner takes its result, without waiting for anything: somebody else completed it. */
  assertOver(...reads: PipeRead[]): void {
    const { aio } = this.rig.backend;
    for (const { reference, result } of reads) {
      assert.ok(aio.thread.table.isDone(reference.index, reference.generation));
      aio.waitForBlocking(reference.index, reference.generation);
      assert.equal(result.value, 8);
    }
  }

  /** The waiter sleeps in the kernel, with the completion lock of the ring. */
  untilHolder({ slot }: BlockedReader, waiting: Promise<void>, ring = 0): Promise<void> {
    return untilTrue(() => this.rings.holder(ring) === slot, waiting);
  }

  /** The waiter found the lock held by another, and goes to sleep. */
  async untilAsleep(waiter: BlockedReader, { reference }: PipeRead): Promise<{ waiting: Promise<void> }> {
    const missed = this.injection.hold('ringLockMissed', { owner: waiter.slot, times: 1 });
    const waiting = waiter.waitFor(reference);
    await missed.arrived();
    missed.release();
    return { waiting };
  }

  async close(): Promise<void> {
    for (const reader of this.#readers) await reader.close();
    this.pipes.close();
    await this.rig.close();
  }
}
