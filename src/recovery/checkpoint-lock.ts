/**
 * One checkpoint at a time, or one truncation: a lock that may be held for long, so that who wants it sleeps.
 *
 * Who writes: `owner` (slot plus one) by compare-and-swap whoever takes it, and by its owner, or by the supervisor once that
 * thread has ended, who gives it back; `version` is raised after it came back, and is what waiters watch.
 */
import { broadcast, CONDITION_WORDS_MAX } from '../shmem/condition.js';
import { declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { WaitEvent, type Pending, type Waits } from '../shmem/wait.js';

const Layout = declareLayout('CheckpointLock', { owner: 1, version: 1, waiters: CONDITION_WORDS_MAX });
const AT = Layout.at;

export class CheckpointLock {
  readonly #slots: Slots;
  readonly #region: number;

  static plan(plan: SegmentPlan, name: string): number {
    return plan.reserve(name, Layout.words);
  }

  constructor(slots: Slots, region: number) {
    this.#slots = slots;
    this.#region = region;
  }

  /** Step: takes the lock for a backend. */
  take(waits: Waits, slot: number): true | Pending {
    const { words } = this.#slots;
    const seen = words.load(this.#region + AT.version);
    if (words.compareExchange(this.#region + AT.owner, 0, slot + 1) === 0) return true;
    const [waiters, version] = [this.#region + AT.waiters, this.#region + AT.version];
    return waits.waitFor(WaitEvent.Checkpoint, waiters, version, seen, 0, 0);
  }

  /** Does nothing if the backend does not have it: the supervisor asks for each that has ended. */
  release(slot: number): void {
    const { words } = this.#slots;
    if (words.load(this.#region + AT.owner) !== slot + 1) return;
    words.store(this.#region + AT.owner, 0);
    words.add(this.#region + AT.version, 1);
    broadcast(this.#slots, this.#region + AT.waiters);
  }
}
