/** Settings as users write them: plain numbers, or PostgreSQL's strings with a unit. */
import { inspect } from 'node:util';
import { SettingError } from './errors.js';

const BYTE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
};
const TIME_UNITS: Readonly<Record<string, number>> = {
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Bytes from `'128kB'` or from a number of bytes. Units are PostgreSQL's, case-sensitive. */
export function parseBytes(name: string, value: number | string): number {
  return parseWithUnits(name, value, BYTE_UNITS, 'bytes');
}

/** Milliseconds from `'1min'` or from a number of milliseconds; -1 stays -1. */
export function parseMillis(name: string, value: number | string): number {
  return parseWithUnits(name, value, TIME_UNITS, 'milliseconds');
}

function parseWithUnits(
  name: string,
  value: number | string,
  units: Readonly<Record<string, number>>,
  plain: string,
): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  const match = typeof value === 'string' ? /^\s*(-?\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(value) : null;
  const unit = match?.[2] ?? '';
  const factor = unit === '' ? 1 : units[unit];
  if (match === null || factor === undefined) {
    throw new SettingError(`invalid value for ${name}: ${JSON.stringify(value)}`, {
      hint: `Give a number of ${plain}, or a string with one of the units ${Object.keys(units).join(', ')}.`,
    });
  }
  return Number(match[1]) * factor;
}

/** An integer within a range, or a SettingError that names the range. */
export function checkRange(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new SettingError(`${value} is outside the valid range for ${name} (${min} .. ${max})`);
  }
  return value;
}

/** Only the two booleans: a string that says `off` would be on. */
export function checkOnOrOff(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new SettingError(`${name} must be true or false, not ${JSON.stringify(value)}`);
}

export function checkBlockNumber(block: number): void {
  if (block >>> 0 !== block) throw new RangeError(`${String(block)} is not a block number`);
}

/** Refuses what a program in JavaScript gives where the type says otherwise. `what`: what is needed, with its article. */
export function checkKind(
  what: string,
  value: unknown,
  kind: 'string' | 'number' | 'object' | 'function' | (abstract new (...args: never[]) => unknown),
): void {
  if (typeof kind === 'string') {
    if (typeof value === kind && value !== '' && value !== null) return;
  } else if (value instanceof kind) return;
  const isObject = typeof value === 'object' && value !== null;
  throw new TypeError(`${what} is needed, not ${isObject ? 'another object' : inspect(value)}`);
}
