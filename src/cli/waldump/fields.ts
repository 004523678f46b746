/** Reads the fields of main data one after the other. What lies beyond the data is zero or empty: it never throws. */
import { readLsn, type Lsn } from '../../wal/lsn.js';

/** 2000-01-01, where PostgreSQL's clock begins. */
const EPOCH_MILLIS = Date.UTC(2000, 0, 1);
/** Within it a JavaScript Date can say the year; PostgreSQL's infinities are beyond. */
const TIME_MILLIS_MAX = 8.64e15;

export class Fields {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  skip(bytes: number): this {
    this.#at += bytes;
    return this;
  }

  u8(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  u32(): number {
    const at = this.#advance(4);
    return at < 0 ? 0 : this.#view.getUint32(at, true);
  }

  lsn(): Lsn {
    const at = this.#advance(8);
    return at < 0 ? 0 : readLsn(this.#view, at);
  }

  /** A `Size`; larger than what there is only where the data are damaged. */
  size(): number {
    return this.lsn();
  }

  /** `timestamptz_to_str`, for UTC: `2026-11-23 02:38:59.123456 UTC`. */
  time(): string {
    const at = this.#advance(8);
    const micros = at < 0 ? 0n : this.#view.getBigInt64(at, true);
    const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
    const millis = Number((micros - fraction) / 1000n) + EPOCH_MILLIS;
    if (Math.abs(millis) > TIME_MILLIS_MAX) return micros > 0n ? 'infinity' : '-infinity';
    const [date, time] = new Date(millis).toISOString().split(/[T.]/);
    return `${date ?? ''} ${time ?? ''}.${String(fraction).padStart(6, '0')} UTC`;
  }

  /** At most `bytes` bytes, up to the first zero byte; goes on behind them, or behind the zero byte if that comes sooner. */
  text(bytes: number): string {
    const piece = this.#bytes.subarray(this.#at, this.#at + bytes);
    const zero = piece.indexOf(0);
    this.#at += zero < 0 ? piece.length : zero + 1;
    return Buffer.from(zero < 0 ? piece : piece.subarray(0, zero)).toString('utf8');
  }

  bytes(count: number): Uint8Array {
    const piece = this.#bytes.subarray(this.#at, this.#at + count);
    this.#at += piece.length;
    return piece;
  }

  /** A count, and that many of `one`, joined by spaces. */
  list(one: () => string): string {
    const count = this.u32();
    const items: string[] = [];
    while (items.length < count && this.#at < this.#bytes.length) items.push(one());
    return items.join(' ');
  }

  #advance(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    return this.#at <= this.#bytes.length ? at : -1;
  }
}
