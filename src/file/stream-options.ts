/** The options of `fs.createReadStream` and `fs.createWriteStream`, checked. Throws what Node throws: RangeError, TypeError. */
import { checkKind } from '../base/units.js';

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
  checkPosition('start', start);
  if (end === Infinity) return;
  checkPosition('end', end);
  if (start !== undefined && end !== undefined && start > end)
    throw new RangeError(
      `The value of "start" is out of range. It must be <= "end" (here: ${end}). Received ${start}`,
    );
}

function checkPosition(name: string, value: number | undefined): void {
  if (value === undefined) return;
  checkKind(`"${name}" of a stream`, value, 'number');
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(
      `The value of "${name}" is out of range. It must be >= 0 && <= ${Number.MAX_SAFE_INTEGER}. Received ${value}`,
    );
}

/** `'utf8'` in the place of the options is an encoding. */
export function optionsOf<O extends FileStreamOptions>(options: O | BufferEncoding | undefined): O {
  return typeof options === 'string' ? ({ encoding: options } as O) : (options ?? ({} as O));
}
