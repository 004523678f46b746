/** The options of `fs.createReadStream` and `fs.createWriteStream`, checked. Throws what Node throws: RangeError, TypeError. */
import { checkInteger, checkOptions, checkSignal, outOfRange } from './checks.js';

/** Of the streams in both directions, as `node:fs` has them. */
export interface FileStreamOptions {
  encoding?: BufferEncoding | null | undefined;
  /** First byte. Default: the current position of a FileHandle, 0 of a path. */
  start?: number | undefined;
  /** Close the file behind the last byte, and on errors. Default: true. */
  autoClose?: boolean | undefined;
  emitClose?: boolean | undefined;
  highWaterMark?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface FileReadStreamOptions extends FileStreamOptions {
  /** Last byte, which is read, too. Default: the file's last. */
  end?: number | undefined;
}

export interface FileWriteStreamOptions extends FileStreamOptions {
  /** `finish` means that the file is durable. Default: false. */
  flush?: boolean | undefined;
}

/** Throws for what is no range of bytes. */
export function checkRange(start: number | undefined, end: number | undefined): void {
  if (start !== undefined) checkInteger('start', start);
  if (end === undefined || end === Infinity) return;
  checkInteger('end', end);
  if (start !== undefined && start > end) throw outOfRange('start', `<= "end" (here: ${end})`, start);
}

/** `'utf8'` in the place of the options is an encoding. */
export function optionsOf<O extends FileStreamOptions>(
  options: O | BufferEncoding | null | undefined,
): Partial<O> {
  if (typeof options === 'string') return checkOptions({ encoding: options } as O);
  const given = checkOptions(options);
  checkSignal(given.signal);
  return given;
}
