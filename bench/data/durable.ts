/** Whether a file system does anything when it is told to sync: where it does not, there is nothing to measure. */
import { closeSync, fdatasyncSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { median } from '../measurement.js';

const ROUNDS = 32;
const PAGE = new Uint8Array(8192);
/** The fastest devices take longer, and a file system in memory takes less. */
const MICROS_MIN = 5;

/** Null where it does, as far as the time that it takes can tell. */
export function whyNotDurable(directory: string): string | null {
  mkdirSync(directory, { recursive: true });
  const scratch = mkdtempSync(join(directory, 'durable-'));
  try {
    const micros = fdatasyncMicros(join(scratch, 'file'));
    if (micros >= MICROS_MIN) return null;
    return `fdatasync takes ${micros.toFixed(1)} µs in ${directory}: nothing is made durable there; see --wal-directory`;
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function fdatasyncMicros(path: string): number {
  const fd = openSync(path, 'w');
  const micros: number[] = [];
  try {
    for (let round = 0; round < ROUNDS; round++) {
      writeSync(fd, PAGE, 0, PAGE.length, 0);
      const started = performance.now();
      fdatasyncSync(fd);
      micros.push((performance.now() - started) * 1000);
    }
  } finally {
    closeSync(fd);
  }
  return median(micros);
}
