/**
 * Writes dirty pages shortly before their buffers are wanted for others, so that who wants one finds it clean:
 * PostgreSQL's BgBufferSync. Looks where the clock hand will be: ahead of it, twice as far as it has gone between two rounds
 * of late. As there, that average follows a rise at once, and a fall slowly.
 *
 * Where the hand stands still it does nothing at all, which costs a look at one word; what is dirty then is for checkpoints.
 */
import type { Step } from '../shmem/wait.js';
import type { BufferManager } from './buffer-manager.js';

/** PostgreSQL's bgwriter_lru_multiplier, and the samples over which it smooths. */
const MULTIPLIER = 2;
const SAMPLES = 16;

export class BackgroundWriter {
  readonly #buffers: BufferManager;
  readonly #maxPages: number;
  #lastHand: number;
  #smoothed = 0;

  /** `maxPages`: of one round. */
  constructor(buffers: BufferManager, maxPages: number) {
    this.#buffers = buffers;
    this.#maxPages = maxPages;
    this.#lastHand = this.#hand();
  }

  /** How far the hand has come, modulo 2^32. */
  #hand(): number {
    const { words, region } = this.#buffers.pool;
    return words.load(region.hand) >>> 0;
  }

  /** Buffers that should be clean soon, and are not; to be called once a round. */
  due(): number[] {
    const { pool } = this.#buffers;
    const { count } = pool.region;
    const hand = this.#hand();
    const moved = (hand - this.#lastHand) >>> 0;
    this.#lastHand = hand;
    this.#smoothed = moved > this.#smoothed ? moved : this.#smoothed + (moved - this.#smoothed) / SAMPLES;
    const ahead = Math.min(count, Math.ceil(this.#smoothed) * MULTIPLIER);
    const due: number[] = [];
    for (let step = 0; step < ahead && due.length < this.#maxPages; step++) {
      const buffer = (hand + step) % count;
      if (pool.isDirtyVictim(buffer, 0)) due.push(buffer);
    }
    return due;
  }

  /** Step: until they are clean, but for those that are being changed. Throws if none could be written. */
  cleaning(due: readonly number[]): Step<true> {
    return this.#buffers.writeBack.cleaning(due, 'background');
  }
}
