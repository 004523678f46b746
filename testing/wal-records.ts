/** The messages in a directory of segment files, as the reader finds them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PENDING } from '../src/shmem/wait.js';
import { readLogicalMessage, type LogicalMessage } from '../src/wal/logical-message.js';
import type { Lsn } from '../src/wal/lsn.js';
import { parseSegmentFileName, segmentNumber } from '../src/wal/segments.js';
import { WalReader } from '../src/wal/wal-reader.js';
import { seededRandom } from './random.js';
import { MemorySource, WalImage } from './wal-image.js';

export interface FoundMessage extends LogicalMessage {
  readonly end: Lsn;
}

/** From the first segment on to where the WAL ends. */
export function walMessages(directory: string, segmentSize: number): FoundMessage[] {
  const image = new WalImage(0, segmentSize);
  for (const name of readdirSync(directory)) {
    const parsed = parseSegmentFileName(name);
    const segment = parsed === null ? null : segmentNumber(parsed, segmentSize);
    if (segment !== null) image.segments.set(segment, new Uint8Array(readFileSync(join(directory, name))));
  }
  const start = Math.min(...image.segments.keys()) * segmentSize;
  const reader = new WalReader(new MemorySource(image, start, seededRandom(1)), { start });
  const found: FoundMessage[] = [];
  for (let more = reader.next(); more !== false; more = reader.next()) {
    if (more === PENDING) continue;
    const message = readLogicalMessage(reader.record);
    if (message !== null) found.push({ end: reader.record.end, ...message });
  }
  return found;
}
