/**
 * Bad pages, one record for each, from whichever thread completed their read to the log of the instance's creator. A
 * thread that completes somebody else's I/O may neither throw nor allocate, and its own log is not where this belongs.
 *
 * A ring for each slot, so that each has one writer and one reader and needs no lock:
 *
 *   head      the slot's thread, by a store behind the record, which publishes it
 *   lost      the slot's thread, where the ring is full
 *   tail      the reader, by a store behind its last look at the record: the place may be written again
 *   doorbell  anybody adds, the reader sleeps on it
 *
 * A thread that ends before it has published has written nothing; what it had found is found again by the thread
 * that brings the I/O to its end. If it ends just behind, the page is reported twice.
 */
import type { IoHandle } from '../aio/handle.js';
import { TARGET_DATA_WORDS } from '../aio/result.js';
import type { LogSink } from '../base/log.js';
import { CACHE_LINE_WORDS, declareLayout } from '../shmem/layout.js';
import type { SegmentPlan } from '../shmem/segment.js';
import type { SharedWords } from '../shmem/words.js';
import { logEventOf } from './page-damage.js';

const RECORDS = 64;
const Record = declareLayout('DamageRecord', { fate: 1, block: 1, target: 1, data: TARGET_DATA_WORDS });
const Ring = declareLayout(
  'DamageRing',
  {
    head: 1,
    lost: CACHE_LINE_WORDS - 1,
    tail: CACHE_LINE_WORDS,
    records: RECORDS * Record.words,
  },
  CACHE_LINE_WORDS,
);

export interface DamageLogRegion {
  readonly doorbell: number;
  readonly rings: number;
  readonly count: number;
}

export function planDamageLog(plan: SegmentPlan, slots: number): DamageLogRegion {
  return {
    doorbell: plan.reserve('damage log doorbell', CACHE_LINE_WORDS),
    rings: plan.reserve('damage log', slots * Ring.words),
    count: slots,
  };
}

/** The writing end of one slot. */
export class DamageLog {
  readonly #words: SharedWords;
  readonly #doorbell: number;
  readonly #ring: number;

  constructor(words: SharedWords, region: DamageLogRegion, slot: number) {
    this.#words = words;
    this.#doorbell = region.doorbell;
    this.#ring = region.rings + slot * Ring.words;
  }

  append(io: Pick<IoHandle, 'target' | 'targetWord'>, block: number, fate: number): void {
    const words = this.#words;
    const { head, lost, tail, records } = Ring.at;
    const next = words.get(this.#ring + head);
    if (((next - words.load(this.#ring + tail)) | 0) >= RECORDS) {
      words.store(this.#ring + lost, words.get(this.#ring + lost) + 1);
    } else {
      const record = this.#ring + records + (next & (RECORDS - 1)) * Record.words;
      words.set(record + Record.at.fate, fate);
      words.set(record + Record.at.block, block);
      words.set(record + Record.at.target, io.target);
      for (let word = 0; word < TARGET_DATA_WORDS; word++)
        words.set(record + Record.at.data + word, io.targetWord(word));
      words.store(this.#ring + head, next + 1);
    }
    words.add(this.#doorbell, 1);
    Atomics.notify(words.array, this.#doorbell);
  }
}

/** The reading end, of the instance's creator. */
export class DamageLogReader {
  readonly #words: SharedWords;
  readonly #region: DamageLogRegion;
  readonly #describe: (target: number, data: Int32Array) => string;
  readonly #log: LogSink;
  readonly #lost: Int32Array;
  #stopped = false;

  /** `describe`: what the identity of an I/O's target is called. */
  constructor(
    words: SharedWords,
    region: DamageLogRegion,
    describe: (target: number, data: Int32Array) => string,
    log: LogSink,
  ) {
    this.#words = words;
    this.#region = region;
    this.#describe = describe;
    this.#log = log;
    this.#lost = new Int32Array(region.count);
  }

  /** Reads until it is stopped, whenever this thread's event loop turns; does not keep that alive. */
  async run(): Promise<void> {
    const { array } = this.#words;
    while (!this.#stopped) {
      const seen = this.#words.load(this.#region.doorbell);
      try {
        this.drain();
      } catch (error) {
        queueMicrotask(() => {
          throw error; // uncaught, as what a listener throws; the next event is read all the same
        });
        continue;
      }
      const rung = Atomics.waitAsync(array, this.#region.doorbell, seen);
      if (rung.async) await rung.value;
    }
  }

  /** Reads what is left, and no more. Throws what the sink throws. */
  stop(): void {
    this.#stopped = true;
    this.#words.add(this.#region.doorbell, 1);
    Atomics.notify(this.#words.array, this.#region.doorbell);
    this.drain();
  }

  drain(): void {
    for (let slot = 0; slot < this.#region.count; slot++) {
      const ring = this.#region.rings + slot * Ring.words;
      this.#drainRecords(ring);
      this.#sayLost(slot, ring);
    }
  }

  #drainRecords(ring: number): void {
    const words = this.#words;
    const head = words.load(ring + Ring.at.head);
    for (let next = words.get(ring + Ring.at.tail); next !== head; next = (next + 1) | 0) {
      const record = ring + Ring.at.records + (next & (RECORDS - 1)) * Record.words;
      const data = words.array.slice(record + Record.at.data, record + Record.at.data + TARGET_DATA_WORDS);
      const path = this.#describe(words.get(record + Record.at.target), data);
      const block = words.get(record + Record.at.block) >>> 0;
      const event = logEventOf(path, block, words.get(record + Record.at.fate));
      words.store(ring + Ring.at.tail, next + 1); // first, in case the sink throws
      this.#log(event);
    }
  }

  #sayLost(slot: number, ring: number): void {
    const lost = this.#words.load(ring + Ring.at.lost);
    const more = (lost - (this.#lost[slot] as number)) | 0;
    if (more === 0) return;
    this.#lost[slot] = lost;
    const message = `${more} more bad page(s) were found than the log had room for`;
    this.#log({ level: 'log', code: 'PGAIO_LOG_OVERFLOW', message });
  }
}
