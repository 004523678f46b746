/** Records as PostgreSQL has them: a header of 24 bytes, and what belongs to its resource manager. */
import { crc32c } from '../base/crc32c.js';

export const RECORD_HEADER = 24;
const RM_LOGICALMSG = 21;
const BLOCK_ID_DATA_SHORT = 255;
const BLOCK_ID_DATA_LONG = 254;
/** xl_logical_message up to the prefix. */
const MESSAGE_HEADER = 24;

/** A logical message outside of any transaction, without the place and the checksum that it gets when it is inserted. */
export function logicalMessage(prefix: string, payload: Uint8Array): Uint8Array {
  const name = Buffer.from(`${prefix}\0`, 'utf8');
  const mainBytes = MESSAGE_HEADER + name.length + payload.length;
  const dataHeader = mainBytes < 256 ? 2 : 5;
  const record = new Uint8Array(RECORD_HEADER + dataHeader + mainBytes);
  const view = new DataView(record.buffer);
  view.setUint32(0, record.length, true); // xl_tot_len
  record[17] = RM_LOGICALMSG;
  if (dataHeader === 2) {
    record[RECORD_HEADER] = BLOCK_ID_DATA_SHORT;
    record[RECORD_HEADER + 1] = mainBytes;
  } else {
    record[RECORD_HEADER] = BLOCK_ID_DATA_LONG;
    view.setUint32(RECORD_HEADER + 1, mainBytes, true);
  }
  const message = RECORD_HEADER + dataHeader;
  view.setBigUint64(message + 8, BigInt(name.length), true);
  view.setBigUint64(message + 16, BigInt(payload.length), true);
  record.set(name, message + MESSAGE_HEADER);
  record.set(payload, message + MESSAGE_HEADER + name.length);
  return record;
}

/** Fills in what is known once the record has its place: the record before it, and the checksum over all. */
export function sealRecord(record: Uint8Array, previous: number): void {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  view.setUint32(8, previous >>> 0, true);
  view.setUint32(12, Math.floor(previous / 0x1_0000_0000), true);
  const body = crc32c(record.subarray(RECORD_HEADER));
  view.setUint32(20, crc32c(record.subarray(0, 20), body), true);
}
