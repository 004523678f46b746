/** Refuses arguments as Node's own functions do: the same classes, codes and texts. */
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

export function outOfRange(name: string, range: string, value: unknown): RangeError {
  const text = `The value of "${name}" is out of range. It must be ${range}. Received ${String(value)}`;
  return Object.assign(new RangeError(text), { code: 'ERR_OUT_OF_RANGE' });
}

/** `expected`: behind "must be". */
export function invalidType(name: string, expected: string, value: unknown): TypeError {
  const text = `The "${name}" argument must be ${expected}. Received ${inspect(value, { depth: -1 })}`;
  return Object.assign(new TypeError(text), { code: 'ERR_INVALID_ARG_TYPE' });
}

/** Returns it: a number without a fraction, in the range. */
export function checkInteger(
  name: string,
  value: unknown,
  min = 0,
  max: number = Number.MAX_SAFE_INTEGER,
): number {
  if (typeof value !== 'number') throw invalidType(name, 'of type number', value);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < min || value > max) throw outOfRange(name, `>= ${min} && <= ${max}`, value);
  return value;
}

export function checkBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'boolean') throw invalidType(name, 'of type boolean', value);
}

/** The options, if any were given; otherwise none. */
export function checkOptions<O extends object>(options: O | null | undefined): Partial<O> {
  if (options === null || options === undefined) return {};
  if (typeof options !== 'object') throw invalidType('options', 'of type object', options);
  return options;
}

export function checkSignal(signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw invalidType('signal', 'an instance of AbortSignal', signal);
}

export function checkView(name: string, view: unknown): void {
  if (!ArrayBuffer.isView(view))
    throw invalidType(name, 'an instance of Buffer, TypedArray, or DataView', view);
}

/** The path of a file, or a `file:` URL, as a path. */
export function pathOf(path: string | URL): string {
  if (path instanceof URL) return fileURLToPath(path);
  if (typeof path !== 'string') throw invalidType('path', 'of type string or an instance of URL', path);
  if (path !== '' && !path.includes('\0')) return path;
  const text = `The argument 'path' must be a string, not empty, without null bytes. Received ${inspect(path)}`;
  throw Object.assign(new TypeError(text), { code: 'ERR_INVALID_ARG_VALUE' });
}
