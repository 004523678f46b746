/**
 * CRC-32C (Castagnoli), the checksum of PostgreSQL's control file and WAL records (`pg_crc32c`), eight bytes at a
 * time ("slicing by 8"): table k says what a byte that k more bytes follow contributes.
 */

/** The Castagnoli polynomial, bit-reversed. */
const POLYNOMIAL = 0x82f63b78;

const t0 = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? POLYNOMIAL : 0);
  return crc;
});
const withZero = (table: Int32Array): Int32Array => table.map((crc) => t0[crc & 0xff]! ^ (crc >>> 8));
const t1 = withZero(t0);
const t2 = withZero(t1);
const t3 = withZero(t2);
const t4 = withZero(t3);
const t5 = withZero(t4);
const t6 = withZero(t5);
const t7 = withZero(t6);

/**
 * The CRC of `bytes` from `start` to before `end` as an unsigned 32-bit number. To go on over several pieces, pass
 * the CRC of what came before as `previous`.
 */
export function crc32c(bytes: Uint8Array, previous = 0, start = 0, end: number = bytes.length): number {
  let crc = ~previous;
  let at = start;
  for (const wholeEnd = end - 8; at <= wholeEnd; at += 8) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    crc =
      t7[crc & 0xff]! ^
      t6[(crc >>> 8) & 0xff]! ^
      t5[(crc >>> 16) & 0xff]! ^
      t4[crc >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < end; at++) crc = t0[(crc ^ bytes[at]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
