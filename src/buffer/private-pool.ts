/**
 * A backend's private pool: buffers for relations that nobody else can read. PostgreSQL's localbuf.c.
 *
 * It is the shared pool's code over memory of the thread's own: words for descriptors and mapping table with
 * one slot, its backend's, and a memory for the pages. So nothing of it needs recovery: it goes with the
 * thread, or, where the kernel is still writing into it, when the kernel is done (see decision 0011).
 *
 * I/O on it is marked REFERENCES_LOCAL. Only its issuer may run it, and only its issuer ends its buffers, when it
 * reclaims the handle (local-readv.ts): whoever else takes the kernel's answer moves the handle's states
 * on, and finds nothing of this here.
 */
import { createPageKernel, type PageKernel } from '../page/page-kernel.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { SegmentPlan, createSharedMemory } from '../shmem/segment.js';
import { Slots } from '../shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../shmem/wait.js';
import { SharedWords } from '../shmem/words.js';
import { BufferIo, planBufferConditions } from './buffer-io.js';
import { ContentLocks } from './content-lock.js';
import { BufferPool } from './pool.js';
import { planBuffers, type BufferRegion } from './region.js';

/** The one slot of the private words. */
const SLOT = 0;

export class PrivatePool {
  readonly pool: BufferPool;
  readonly bufferIo: BufferIo;
  /** The pages. */
  readonly memory: WebAssembly.Memory;
  readonly kernel: PageKernel;
  readonly locks: ContentLocks;

  /** `waits`: of the thread, whose tasks alone can wait for each other. */
  constructor(blocks: number, waits: Waits) {
    const onClaimEnded = (): void => waits.lookAgainSoon();
    const plan = new SegmentPlan();
    const slotRegion = Slots.plan(plan, 1);
    const region = planBuffers(plan, 1, blocks);
    const conditions = planBufferConditions(plan);
    const slots = new Slots(new SharedWords(createSharedMemory(plan.words * 4)), slotRegion);
    this.pool = new BufferPool(slots, SLOT, region);
    this.bufferIo = new PrivateBufferIo(slots, region, conditions, onClaimEnded);
    this.locks = new ContentLocks(slots, SLOT, region, waits, true);
    this.memory = createSharedMemory(blocks * BLOCK_SIZE);
    this.kernel = createPageKernel(this.memory);
  }
}

/** Claims that only tasks of one thread can have, so that only they can wait for each other. */
class PrivateBufferIo extends BufferIo {
  readonly #onClaimEnded: () => void;

  constructor(slots: Slots, region: BufferRegion, conditions: number, onClaimEnded: () => void) {
    super(slots, SLOT, region, conditions);
    this.#onClaimEnded = onClaimEnded;
  }

  protected override sleep(waits: Waits): Pending {
    return waits.waitForOwnThread(WaitEvent.BufferIo);
  }

  protected override wake(): void {
    this.#onClaimEnded();
  }
}
