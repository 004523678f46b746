/** Pieces of shared memory for tests of one structure: slots, a header, and whatever a test plans besides. */
import { InstanceHeader } from '../src/shmem/header.js';
import { SegmentPlan, createSharedMemory } from '../src/shmem/segment.js';
import { Slots, type SlotRegion } from '../src/shmem/slots.js';
import { Waits } from '../src/shmem/wait.js';
import { SharedWords } from '../src/shmem/words.js';

/** What another thread needs to see the same. */
export interface SharedHandle<Regions> {
  readonly memory: WebAssembly.Memory;
  readonly slots: SlotRegion;
  readonly header: number;
  readonly regions: Regions;
}

const BACKENDS = 8;

export function planShared<Regions>(planRegions: (plan: SegmentPlan) => Regions): SharedHandle<Regions> {
  const plan = new SegmentPlan();
  const header = InstanceHeader.plan(plan);
  const slots = Slots.plan(plan, BACKENDS);
  const regions = planRegions(plan);
  return { memory: createSharedMemory(plan.words * 4), slots, header, regions };
}

export class Shared<Regions> {
  readonly words: SharedWords;
  readonly slots: Slots;
  readonly header: InstanceHeader;
  readonly regions: Regions;

  constructor(handle: SharedHandle<Regions>) {
    this.words = new SharedWords(handle.memory);
    this.slots = new Slots(this.words, handle.slots);
    this.header = new InstanceHeader(this.words, handle.header);
    this.slots.checkAlive = () => this.header.checkCrashed();
    this.regions = handle.regions;
  }

  waits(slot: number): Waits {
    return new Waits(this.slots, this.header, slot);
  }
}

export function makeShared<Regions>(planRegions: (plan: SegmentPlan) => Regions): Shared<Regions> {
  return new Shared(planShared(planRegions));
}
