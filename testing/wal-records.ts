/** A second opinion on the WAL's files: decodes records from PostgreSQL's description of them, and not with our code. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const PAGE = 8192;

export interface WalMessage {
  /** Where the record starts and ends, in bytes of the WAL. */
  readonly start: number;
  readonly end: number;
  readonly prefix: string;
  readonly payload: Buffer;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) !== 0 ? 0x82f6_3b78 : 0);
  return crc;
});

function crcOf(...pieces: Buffer[]): number {
  let crc = 0xffff_ffff;
  for (const piece of pieces)
    for (const byte of piece) crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 255] as number);
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** All messages from the first segment on, up to where the WAL ends. Throws where a page is not as it should be. */
export function walMessages(directory: string, segmentSize: number): WalMessage[] {
  const bytes = new Map<number, Buffer>();
  for (const name of readdirSync(directory)) {
    if (!/^[0-9A-F]{24}$/.test(name)) continue;
    const segment =
      parseInt(name.slice(8, 16), 16) * (0x1_0000_0000 / segmentSize) + parseInt(name.slice(16), 16);
    bytes.set(segment, readFileSync(join(directory, name)));
  }
  const page = (lsn: number): Buffer => {
    const file = bytes.get(Math.floor(lsn / segmentSize));
    const at = (lsn - (lsn % PAGE)) % segmentSize;
    return file === undefined ? Buffer.alloc(PAGE) : file.subarray(at, at + PAGE);
  };
  const headerOf = (lsn: number): number => ((lsn - (lsn % PAGE)) % segmentSize === 0 ? 40 : 24);

  /** `length` bytes of content from `lsn` on, and where they end. Null where a page was never written. */
  const content = (lsn: number, length: number): { bytes: Buffer; end: number } | null => {
    const pieces: Buffer[] = [];
    let at = lsn;
    for (let left = length; left > 0;) {
      const isContinued = at % PAGE === 0;
      const here = page(at);
      if (at % PAGE <= headerOf(at)) {
        if (here.readUInt16LE(0) === 0) return null;
        assert.equal(here.readUInt16LE(0), 0xd118, `magic at ${at}`);
        assert.equal(
          here.readUInt32LE(8) + here.readUInt32LE(12) * 2 ** 32,
          at - (at % PAGE),
          'page address',
        );
        assert.equal((here.readUInt16LE(2) & 2) !== 0, headerOf(at) === 40, `long header at ${at}`);
        if (isContinued) assert.equal(here.readUInt32LE(16), left, `rest of a record at ${at}`);
        at = at - (at % PAGE) + headerOf(at);
      }
      const take = Math.min(left, PAGE - (at % PAGE));
      pieces.push(here.subarray(at % PAGE, (at % PAGE) + take));
      at += take;
      left -= take;
    }
    return { bytes: Buffer.concat(pieces), end: at };
  };

  const found: WalMessage[] = [];
  let previous = 0;
  for (let at = segmentSize; ;) {
    const start = at % PAGE === 0 ? at + headerOf(at) : at;
    const length = page(start).readUInt32LE(start % PAGE);
    if (length === 0) return found;
    const record = content(start, length);
    if (record === null) return found;
    const { bytes: data, end } = record;
    if (crcOf(data.subarray(24), data.subarray(0, 20)) !== data.readUInt32LE(20)) return found;
    assert.equal(Number(data.readBigUInt64LE(8)), previous, `the record before ${start}`);
    assert.equal(data[17], 21);
    const main = data[24] === 255 ? 26 : 29;
    assert.equal(data[24] === 255 ? data[25] : data.readUInt32LE(25), length - main);
    const prefixBytes = Number(data.readBigUInt64LE(main + 8));
    const message = main + 24;
    found.push({
      start,
      end: Math.ceil(end / 8) * 8,
      prefix: data.toString('utf8', message, message + prefixBytes - 1),
      payload: data.subarray(message + prefixBytes),
    });
    previous = start;
    at = Math.ceil(end / 8) * 8;
  }
}
