/** Which blocks to read, in random order: made beforehand, so that choosing costs no more than a look-up. */
import { RELATION_SEGMENT_BYTES } from '../data/table.js';
import { drop } from '../data/page-cache.js';
import type { Measurement } from '../measurement.js';
import { seededRandom } from '../../testing/random.js';
import { measureOnce, measureWork, type WorkUntil } from './measure.js';
import { shuffled } from './scan.js';

const ORDER_LENGTH = 65_536;
/** Share of the blocks that a cold measurement warms up the code with. */
const WARM_UP_SHARE = 1 / 8;

export interface RandomReadsSpec {
  /** Segments of a relation. */
  readonly files: readonly string[];
  /** Reads are of random blocks among the first `blocks`. */
  readonly blocks: number;
  readonly blockSize: number;
  /** Each block at most once, and the files leave the page cache before the measured part. */
  readonly cold?: boolean;
  readonly seconds: number;
}

export class RandomReads {
  readonly #order: Int32Array;
  readonly #fileBlocks: number;
  readonly #blockSize: number;
  readonly #once: boolean;
  #start = 0;
  #end: number;
  #next = 0;
  #exhausted = false;

  constructor({ blocks, blockSize, cold }: RandomReadsSpec) {
    const random = seededRandom(1);
    this.#once = cold === true;
    this.#order = this.#once
      ? shuffled(blocks)
      : Int32Array.from({ length: ORDER_LENGTH }, () => random.below(blocks));
    this.#end = this.#once ? Math.ceil(blocks * WARM_UP_SHARE) : ORDER_LENGTH;
    this.#fileBlocks = RELATION_SEGMENT_BYTES / blockSize;
    this.#blockSize = blockSize;
  }

  /** A block. Where each is to be read once only, stop soon after `isOver` says so. */
  next(): number {
    const block = this.#order[this.#next++]!;
    if (this.#next === this.#end) {
      this.#next = this.#start;
      this.#exhausted = this.#once;
    }
    return block;
  }

  /** Index of the file that the block is in. */
  fileOf(block: number): number {
    return (block / this.#fileBlocks) | 0;
  }

  positionOf(block: number): number {
    return (block % this.#fileBlocks) * this.#blockSize;
  }

  isOver(until: number): boolean {
    return this.#exhausted || performance.now() >= until;
  }

  /** From here on, blocks that were not given out before. */
  turnToUnread(): void {
    this.#start = this.#next = this.#end;
    this.#end = this.#order.length;
    this.#exhausted = false;
  }
}

export async function measureReads(
  spec: RandomReadsSpec,
  reads: RandomReads,
  checked: number,
  work: WorkUntil,
): Promise<Measurement> {
  if (spec.cold !== true) return measureWork(spec.seconds, checked, work);
  await work(performance.now() + spec.seconds * 1000);
  drop(spec.files);
  reads.turnToUnread();
  return measureOnce(checked, () => work(performance.now() + spec.seconds * 1000));
}
