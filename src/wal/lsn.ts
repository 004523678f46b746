/**
 * Log sequence numbers (`XLogRecPtr`): bytes of WAL since its beginning, as plain numbers.
 *
 * PostgreSQL's are of 64 bits. A number counts exactly to 2^53, which is 9 PB of WAL, and costs no allocation, which
 * a BigInt does. What users write is refused above that. What stands in a damaged file may be larger: `readLsn` then
 * rounds, but never to a number below 2^53, so it still differs from every LSN that is expected.
 */
import { SettingError } from '../base/errors.js';

/** Bytes since the beginning of the WAL; 0 is no position (`InvalidXLogRecPtr`). */
export type Lsn = number;

export const INVALID_LSN: Lsn = 0;

/** The last position that a number holds exactly. */
export const LSN_MAX: Lsn = Number.MAX_SAFE_INTEGER;

const WORD = 2 ** 32;

/** The LSN at `offset` of `view`, little endian as all fields of the WAL. */
export function readLsn(view: DataView, offset: number): Lsn {
  return view.getUint32(offset + 4, true) * WORD + view.getUint32(offset, true);
}

export function writeLsn(view: DataView, offset: number, lsn: Lsn): void {
  view.setUint32(offset, lsn % WORD, true);
  view.setUint32(offset + 4, Math.floor(lsn / WORD), true);
}

/** As PostgreSQL 18 prints a `pg_lsn`: `0/3000028`. */
export function formatLsn(lsn: Lsn): string {
  return `${hex(Math.floor(lsn / WORD))}/${hex(lsn % WORD)}`;
}

/** As `pg_waldump` prints it, the low half with eight digits: `0/03000028`. */
export function formatPaddedLsn(lsn: Lsn): string {
  return `${hex(Math.floor(lsn / WORD))}/${hex(lsn % WORD).padStart(8, '0')}`;
}

/** Reads either form. Throws a SettingError for anything else, and for positions above `LSN_MAX`. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(text);
  if (match === null) {
    throw new SettingError(`"${text}" is not a WAL position`, {
      hint: 'It is two hexadecimal numbers, such as 0/3000028.',
    });
  }
  const lsn = Number.parseInt(match[1]!, 16) * WORD + Number.parseInt(match[2]!, 16);
  if (lsn > LSN_MAX) {
    throw new SettingError(`WAL position ${text} is above ${formatLsn(LSN_MAX)}, the last that is supported`);
  }
  return lsn;
}

function hex(word: number): string {
  return word.toString(16).toUpperCase();
}
