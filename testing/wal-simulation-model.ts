/** What a simulation of the WAL must find again: a model of what was appended, and what the disk has of it. */
import { join } from 'node:path';
import { ControlData } from '../src/recovery/control-data.js';
import { controlFilePath } from '../src/recovery/control-file.js';
import { PENDING } from '../src/shmem/wait.js';
import { readLogicalMessage } from '../src/wal/logical-message.js';
import { formatLsn, type Lsn } from '../src/wal/lsn.js';
import { ResourceManager } from '../src/wal/resource-managers.js';
import { parseSegmentFileName, segmentNumber } from '../src/wal/segments.js';
import { WalReader } from '../src/wal/wal-reader.js';
import { seededRandom } from './random.js';
import type { SimulatedDisk } from './simulated-disk.js';
import { MemorySource, WalImage } from './wal-image.js';

export interface ModelRecord {
  readonly start: Lsn;
  readonly end: Lsn;
  readonly payload: Uint8Array;
}

/** In place of the payload of a record about pages: what it does to them is known elsewhere. */
export const PAGE_RECORD: Uint8Array = new Uint8Array(0);
const ABOUT_PAGES: ReadonlySet<number> = new Set([ResourceManager.GENERIC, ResourceManager.STORAGE]);

export class WalModel {
  /** Ascending. Those that a crash has taken are gone, and must never come back. */
  records: ModelRecord[] = [];
  /** Up to here somebody was told that all is durable. */
  claimed: Lsn = 0;

  placed(record: ModelRecord): void {
    const last = this.records.at(-1);
    if (last !== undefined && last.end > record.start)
      throw new Error(
        `a record is placed at ${formatLsn(record.start)}, not behind ${formatLsn(last.start)}`,
      );
    this.records.push(record);
  }

  claim(lsn: Lsn): void {
    this.claimed = Math.max(this.claimed, lsn);
  }

  /**
   * After a crash: judges what the disk has. From the redo position on it must be what was appended, from the oldest on,
   * at least to where it was claimed to be durable, and nothing else. Returns where it ends.
   */
  check(disk: SimulatedDisk, directory: string): Lsn {
    const control = ControlData.read(controlFilePath(directory));
    const { redo } = control.checkpoint;
    const { found, end, why } = readMessages(disk, join(directory, 'pg_wal'), control);
    const expected = this.records.filter(({ start }) => start >= redo);
    found.forEach(({ start, payload }, at) => {
      const record = expected[at];
      if (record === undefined)
        throw new Error(`there is a record at ${formatLsn(start)}, which was lost or never appended`);
      if (record.start !== start || Buffer.compare(record.payload, payload) !== 0)
        throw new Error(
          `at ${formatLsn(start)} is another record than the one of ${formatLsn(record.start)}`,
        );
    });
    const next = expected[found.length];
    if (next !== undefined && next.end <= this.claimed)
      throw new Error(
        `WAL was durable up to ${formatLsn(this.claimed)}, and ends at ${formatLsn(end)}: ${why}`,
      );
    if (next !== undefined && next.start < end)
      throw new Error(`the record at ${formatLsn(next.start)} is missing`);
    this.records = this.records.filter(({ start }) => start < end);
    this.claimed = Math.min(this.claimed, end); // it may have been in the middle of a record that nobody waited for
    return end;
  }
}

function readMessages(
  disk: SimulatedDisk,
  directory: string,
  { checkpoint, walSegmentSize, systemIdentifier }: ControlData,
): { found: ModelRecord[]; end: Lsn; why: string } {
  const image = new WalImage(0, walSegmentSize);
  for (const name of disk.list(directory)) {
    const parsed = parseSegmentFileName(name);
    const segment = parsed === null ? null : segmentNumber(parsed, walSegmentSize);
    if (segment !== null) image.segments.set(segment, new Uint8Array(disk.readFile(join(directory, name))));
  }
  const start = checkpoint.redo;
  const source = new MemorySource(image, start, seededRandom(1));
  const reader = new WalReader(source, { start, exact: true, systemIdentifier });
  const found: ModelRecord[] = [];
  for (let more = reader.next(); more !== false; more = reader.next()) {
    if (more === PENDING) continue;
    const { lsn: start, end, resourceManager } = reader.record;
    const payload = ABOUT_PAGES.has(resourceManager)
      ? PAGE_RECORD
      : readLogicalMessage(reader.record)?.payload;
    if (payload !== undefined) found.push({ start, end, payload });
  }
  return { found, end: reader.end?.end ?? 0, why: reader.end?.message ?? '' };
}
