/**
 * CRC-32C (Castagnoli), the checksum of PostgreSQL's control file and WAL records (`pg_crc32c`), one table
 * lookup a byte.
 */

/** The Castagnoli polynomial, bit-reversed. */
const POLYNOMIAL = 0x82f63b78;

const table = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  return crc;
});

/**
 * The CRC of `bytes` as an unsigned 32-bit number. To go on over several pieces, pass the CRC of what came
 * before as `previous`.
 */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
