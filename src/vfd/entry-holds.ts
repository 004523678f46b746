/**
 * Keeps file table entries alive while this thread's I/O on them is in flight, though the file be closed
 * meanwhile. Staging and reclaiming both run in the issuer, so this is its own business: plain counts, no
 * atomic operation an I/O.
 */
import { NO_ENTRY, type FileTable } from './file-table.js';

export class EntryHolds {
  readonly #table: FileTable;
  /** I/Os in flight by entry. */
  readonly #inFlight: Int32Array;
  /** References to give back once the last I/O is reclaimed. */
  readonly #owed = new Map<number, number>();

  constructor(table: FileTable) {
    this.#table = table;
    this.#inFlight = new Int32Array(table.size);
  }

  /** An I/O on the entry begins; the caller's file has a reference. */
  hold(entry: number): void {
    if (entry !== NO_ENTRY) this.#inFlight[entry] = (this.#inFlight[entry] as number) + 1;
  }

  /** It is over. */
  drop(entry: number): void {
    if (entry === NO_ENTRY) return;
    const left = (this.#inFlight[entry] as number) - 1;
    this.#inFlight[entry] = left;
    if (left > 0 || this.#owed.size === 0) return;
    for (let owed = this.#owed.get(entry) ?? 0; owed > 0; owed--) this.#table.release(entry);
    this.#owed.delete(entry);
  }

  /** Gives back a file's reference, now or once nothing is in flight. */
  release(entry: number): void {
    if (entry === NO_ENTRY) return;
    if (this.#inFlight[entry] === 0) this.#table.release(entry);
    else this.#owed.set(entry, (this.#owed.get(entry) ?? 0) + 1);
  }
}
