/**
 * Data directories that relations of an instance live in, numbered in shared memory: a buffer's tag holds
 * the number, so that two clusters with the same relation numbers share a pool without harm.
 *
 * Who writes: the holder of `lock`, an entry once; its length word publishes it.
 */
import { ResourceExhaustedError } from '../base/errors.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { Slots } from '../shmem/slots.js';
import { lockSpin, unlockSpin } from '../shmem/spin-lock.js';

/** Their numbers are below. */
export const DATA_DIRECTORIES_MAX = 64;
const ENTRIES = DATA_DIRECTORIES_MAX;
const ENTRY_WORDS = 513;
const PATH_BYTES_MAX = (ENTRY_WORDS - 1) * 4;

export interface DataDirectoryRegion {
  readonly lock: number;
  readonly entries: number;
}

export class DataDirectories {
  readonly #slots: Slots;
  readonly #slot: number;
  readonly #region: DataDirectoryRegion;

  static plan(plan: SegmentPlan): DataDirectoryRegion {
    const lock = plan.reserve('data directory lock', 1);
    return { lock, entries: plan.reserve('data directories', ENTRIES * ENTRY_WORDS) };
  }

  constructor(slots: Slots, slot: number, region: DataDirectoryRegion) {
    this.#slots = slots;
    this.#slot = slot;
    this.#region = region;
  }

  /** The number of an absolute path, giving it one if it has none. */
  numberOf(path: string): number {
    if (Buffer.byteLength(path) > PATH_BYTES_MAX) {
      throw new ResourceExhaustedError(`the path of a data directory is longer than ${PATH_BYTES_MAX} bytes`);
    }
    lockSpin(this.#slots, this.#region.lock, this.#slot);
    try {
      for (let number = 0; number < ENTRIES; number++) {
        const start = this.#region.entries + number * ENTRY_WORDS;
        const known = this.#slots.words.getText(start);
        if (known === path) return number;
        if (known !== '') continue;
        this.#slots.words.setText(start, ENTRY_WORDS, path);
        return number;
      }
    } finally {
      unlockSpin(this.#slots, this.#region.lock, this.#slot);
    }
    throw new ResourceExhaustedError(`an instance can read from ${ENTRIES} data directories at most`);
  }

  pathOf(number: number): string {
    return this.#slots.words.getText(this.#region.entries + number * ENTRY_WORDS);
  }
}
