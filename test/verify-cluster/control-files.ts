/**
 * Real control files for tests: made by initdb of PostgreSQL 15 to 18, cut off where only zeros follow.
 */
import { readFileSync } from 'node:fs';
import { crc32c } from '../../src/base/crc32c.js';

export type ControlFixture = '15' | '16' | '17' | '18' | '18-no-checksums';

/** Tests run from `dist`, the fixtures stay in the source tree. */
const fixtures = new URL('../../../test/fixtures/', import.meta.url);

export function controlFixture(name: ControlFixture): Buffer {
  return readFileSync(new URL(`pg_control-${name}.bin`, fixtures));
}

/** Bytes from the start of the file to fields that tests change, and to the CRC of version 18. */
export const FIELD = {
  controlVersion: 8,
  catalogVersion: 12,
  state: 16,
  floatFormat: 208,
  blockSize: 216,
  blocksPerSegment: 220,
  checksumVersion: 252,
  crc: 292,
} as const;

/** The control file of version 18 with one 32-bit field changed and the CRC put right. */
export function patchedControlFile(offset: number, value: number): Buffer {
  const bytes = controlFixture('18');
  bytes.writeUInt32LE(value, offset);
  bytes.writeUInt32LE(crc32c(bytes.subarray(0, FIELD.crc)), FIELD.crc);
  return bytes;
}
