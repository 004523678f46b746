/** Logical messages: a user's payload under a prefix, as `pg_logical_emit_message` writes it. */
import { newRecord } from './encode-record.js';
import type { WalRecord } from './record.js';
import { ResourceManager } from './resource-managers.js';

/** `xl_logical_message` up to the prefix: database u32, whether transactional u8, padding, two lengths of 64 bits. */
const HEADER_SIZE = 24;
const PREFIX_LENGTH = 8;
const PAYLOAD_LENGTH = 16;

/**
 * A record outside of any transaction; its link and its CRC are filled in by `sealRecord` when it is inserted. Every
 * commit makes one, so it is put together in place.
 */
export function logicalMessage(prefix: string, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const name = nameOf(prefix);
  const { record, view, start } = newRecord(
    ResourceManager.LOGICAL_MESSAGE,
    HEADER_SIZE + name.length + payload.length,
  );
  view.setUint32(start + PREFIX_LENGTH, name.length, true);
  view.setUint32(start + PAYLOAD_LENGTH, payload.length, true);
  record.set(name, start + HEADER_SIZE);
  record.set(payload, start + HEADER_SIZE + name.length);
  return record;
}

let lastPrefix = '';
let lastName = new Uint8Array(1);

/** With the zero behind it. Most programs use one prefix again and again. */
function nameOf(prefix: string): Uint8Array {
  if (prefix !== lastPrefix) {
    lastName = Uint8Array.from(Buffer.from(`${prefix}\0`, 'utf8'));
    lastPrefix = prefix;
  }
  return lastName;
}

export interface LogicalMessage {
  readonly prefix: string;
  /** A copy. */
  readonly payload: Uint8Array;
}

/** Null: the record is none, or makes no sense as one. */
export function readLogicalMessage(record: WalRecord): LogicalMessage | null {
  if (record.resourceManager !== ResourceManager.LOGICAL_MESSAGE || record.mainDataLength < HEADER_SIZE)
    return null;
  const data = Buffer.from(record.mainData());
  const prefixLength = Number(data.readBigUInt64LE(PREFIX_LENGTH));
  const payloadLength = Number(data.readBigUInt64LE(PAYLOAD_LENGTH));
  if (prefixLength < 1 || HEADER_SIZE + prefixLength + payloadLength !== data.length) return null;
  const at = HEADER_SIZE + prefixLength;
  return { prefix: data.toString('utf8', HEADER_SIZE, at - 1), payload: data.subarray(at) };
}
