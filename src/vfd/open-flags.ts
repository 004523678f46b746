/** How files are opened: Node's words, and what stays of them when the file is opened again. */
import { constants } from 'node:fs';
import { SettingError } from '../base/errors.js';

const { O_RDONLY, O_RDWR, O_WRONLY, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC } = constants;

/** Each may have an `s` and an `x`, before or behind the plus. */
const WORDS: Readonly<Record<string, number>> = {
  r: O_RDONLY,
  'r+': O_RDWR,
  w: O_WRONLY | O_CREAT | O_TRUNC,
  'w+': O_RDWR | O_CREAT | O_TRUNC,
  a: O_WRONLY | O_CREAT | O_APPEND,
  'a+': O_RDWR | O_CREAT | O_APPEND,
};

/** The flags of open(2) that `fs.open` takes a word for. Throws a SettingError for what is none. */
export function openFlagsOf(flags: string | number): number {
  if (typeof flags === 'number') return flags;
  const plain = WORDS[flags.replace(/[sx]/g, '')];
  const sync = flags.includes('s') ? O_SYNC : 0;
  const exclusive = flags.includes('x') ? O_EXCL : 0;
  const isKnown = /^(r|w|a)(s|x)?\+?$|^(sr|xw|wx|xa|ax|as|sa)\+?$|^rs\+$/.test(flags);
  if (plain === undefined || !isKnown || (exclusive !== 0 && (plain & O_CREAT) === 0))
    throw new SettingError(
      `"${flags}" is not a way to open a file (r, r+, rs+, w, w+, wx, a, a+, ax, as, …)`,
    );
  return plain | sync | exclusive;
}

/** Without what makes or empties a file, which is done once. */
export function reopenFlagsOf(flags: number): number {
  return flags & ~(O_CREAT | O_EXCL | O_TRUNC);
}
