/**
 * Blocks in doubt: their checksum was wrong, or the file ended inside them, when they were first read. They are
 * read again until that is certain.
 *
 * A server writes a block in pieces, so a read beside it may see half of an old page and half of a new one. Such
 * a page heals by itself: it is right the next time, or at least another. Only what stays the same over several
 * reads and more than a second is a failure. In a stopped cluster one confirming read is enough.
 *
 * Doubts wait in line by how often they were found unchanged, while the job goes on with its files: all of a
 * line wait equally long, so each line is in the order of its due times.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { IoError } from '../../../base/errors.js';
import type { BlockReader } from './block-reader.js';
import type { ScanRange } from './protocol.js';
import type { RunControl } from './run-control.js';

/** Milliseconds before the first re-read and after each that found the block unchanged. */
const PAUSES: readonly number[] = [10, 90, 200, 400, 800];
const OFFLINE_REREADS = 1;
/** A block that is another one, and wrong, so many times: something is not as it should be. */
const CHANGES_MAX = 50;
/** In memory at once; beyond that the job waits for some to be settled. */
const DOUBTS_MAX = 16_384;

interface Doubt {
  readonly range: ScanRange;
  readonly block: number;
  /** Of its bytes when it was last read, and how many there were. */
  fingerprint: number;
  present: number;
  /** Re-reads in a row that found it as it was. */
  unchanged: number;
  changes: number;
  due: number;
}

/** What becomes of a doubt. */
export interface Verdicts {
  /** Judges the block that was just read again; true when its checksum is right after all. */
  isRight(range: ScanRange, block: number, offset: number): boolean;
  /** Its bytes are those that were judged last. */
  bad(range: ScanRange, block: number, offset: number): void;
  healed(): void;
  /** The block could not be read, in words. */
  unreadable(range: ScanRange, message: string): void;
}

export class Doubts {
  readonly #reader: BlockReader;
  readonly #bytes: Uint8Array;
  readonly #control: RunControl;
  readonly #verdicts: Verdicts;
  readonly #lines: Doubt[][] = PAUSES.map(() => []);
  #count = 0;

  constructor(reader: BlockReader, bytes: Uint8Array, control: RunControl, verdicts: Verdicts) {
    this.#reader = reader;
    this.#bytes = bytes;
    this.#control = control;
    this.#verdicts = verdicts;
  }

  get count(): number {
    return this.#count;
  }

  /** The block's bytes, `present` of them, lie at `offset`. */
  add(range: ScanRange, block: number, offset: number, present: number): void {
    const fingerprint = this.#fingerprint(offset, present);
    const doubt = { range, block, fingerprint, present, unchanged: 0, changes: 0, due: 0 };
    while (this.#count >= DOUBTS_MAX && !this.#control.stopped) this.#waitAndSettle();
    this.#count++;
    this.#line(doubt);
  }

  /** Reads again what is due. */
  settleDue(): void {
    if (this.#count === 0) return;
    const now = this.#now();
    for (const line of this.#lines) {
      let settled = 0;
      for (const doubt of line) {
        if (doubt.due > now || this.#control.stopped) break;
        settled++;
        if (!this.#settle(doubt)) this.#line(doubt);
      }
      line.splice(0, settled);
    }
  }

  /** Blocks the thread until nothing is in doubt, or it is to stop. */
  settleAll(): void {
    while (this.#count > 0 && !this.#control.stopped) this.#waitAndSettle();
  }

  #waitAndSettle(): void {
    const due = Math.min(...this.#lines.map((line) => line[0]?.due ?? Number.POSITIVE_INFINITY));
    const wait = due - this.#now();
    if (wait > 0) this.#control.sleep(wait);
    this.settleDue();
  }

  #line(doubt: Doubt): void {
    const pause = isOnline(doubt.range) ? (PAUSES[doubt.unchanged] as number) : 0;
    doubt.due = this.#now() + pause;
    (this.#lines[doubt.unchanged] as Doubt[]).push(doubt);
  }

  /** True when it is certain what is with the block. */
  #settle(doubt: Doubt): boolean {
    const isCertain = this.#lookAgain(doubt);
    if (isCertain) this.#count--;
    return isCertain;
  }

  #lookAgain(doubt: Doubt): boolean {
    const { range, block } = doubt;
    let present: number;
    try {
      present = this.#reader.read(range, block);
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#verdicts.unreadable(range, `block ${block} of "${range.displayPath}": ${error.message}`);
      return true;
    }
    const { offset } = this.#reader;
    const isWhole = present === range.blockSize;
    if (present <= 0 || (isWhole && this.#verdicts.isRight(range, block, offset))) {
      this.#verdicts.healed();
      return true;
    }
    const fingerprint = this.#fingerprint(offset, present);
    if (fingerprint === doubt.fingerprint && present === doubt.present) {
      doubt.unchanged++;
    } else {
      doubt.changes++;
      doubt.unchanged = 0;
    }
    doubt.fingerprint = fingerprint;
    doubt.present = present;
    return this.#isCertain(doubt, offset);
  }

  #isCertain({ range, block, present, unchanged, changes }: Doubt, offset: number): boolean {
    if (changes >= CHANGES_MAX) {
      this.#verdicts.unreadable(
        range,
        `block ${block} of "${range.displayPath}" was another one, with a wrong checksum, each of ${changes} times that it was read`,
      );
      return true;
    }
    if (unchanged < (isOnline(range) ? PAUSES.length : OFFLINE_REREADS)) return false;
    if (present === range.blockSize) this.#verdicts.bad(range, block, offset);
    else
      this.#verdicts.unreadable(
        range,
        `"${range.displayPath}" ends inside block ${block}: ${present} of its ${range.blockSize} bytes are there`,
      );
    return true;
  }

  /** In milliseconds. */
  #now(): number {
    return Number(this.#control.now()) / 1e6;
  }

  #fingerprint(offset: number, length: number): number {
    return crc32(this.#bytes.subarray(offset, offset + length));
  }
}

/** Somebody may have started the server since the control file was read. */
function isOnline({ online, dataDirectory }: ScanRange): boolean {
  return online || (dataDirectory !== null && existsSync(join(dataDirectory, 'postmaster.pid')));
}
