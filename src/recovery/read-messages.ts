/** The messages of the WAL, read from its files while it is being written: an event log's other half. */
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { WalReadError } from '../base/wal-errors.js';
import { PENDING } from '../shmem/wait.js';
import type { File, FileContext } from '../vfd/file.js';
import { readLogicalMessage, type LogicalMessage } from '../wal/logical-message.js';
import { formatLsn, type Lsn } from '../wal/lsn.js';
import { segmentFileName } from '../wal/segments.js';
import { WalReader } from '../wal/wal-reader.js';
import { segmentsIn } from './recover.js';
import { SegmentStream } from './segment-stream.js';

export interface WalMessage extends LogicalMessage {
  /** Where its record begins, and ends. */
  readonly lsn: Lsn;
  readonly end: Lsn;
}

export interface MessageOptions {
  /** The first record that is read begins here, or is the next one. Default: the first that is still there. */
  readonly start?: Lsn;
  /** Records that end later are not read. Default: what is durable when reading begins. */
  readonly end?: Lsn;
  /** Only messages with this prefix. */
  readonly prefix?: string;
}

export interface MessageSource {
  readonly files: FileContext;
  readonly open: (path: string) => File;
  readonly directory: string;
  readonly timeline: number;
  readonly segmentSize: number;
  readonly systemIdentifier: bigint;
  readonly flushedUpTo: Lsn;
}

const RECORDS_PER_TURN = 1024;

/** Throws a WalReadError where the WAL ends before it should, and an IoError. */
export async function* readMessages(
  source: MessageSource,
  { start = firstLsn(source), end = source.flushedUpTo, prefix }: MessageOptions,
): AsyncGenerator<WalMessage, void, undefined> {
  if (start >= end) return;
  const { files, directory, timeline, segmentSize, systemIdentifier } = source;
  const { waits } = files.aio;
  const pathOf = (segment: number): string =>
    join(directory, segmentFileName(timeline, segment, segmentSize));
  const stream = new SegmentStream(files, { segmentSize, timeline, start, pathOf, open: source.open });
  const reader = new WalReader(stream, { start, end, systemIdentifier });
  const step = reader.next.bind(reader);
  const { record } = reader;
  try {
    for (let count = 1; ; count++) {
      const now = step();
      if (!(now === PENDING ? await waits.until(step) : now)) break;
      const message = readLogicalMessage(record);
      if (message !== null && (prefix === undefined || message.prefix === prefix))
        yield { lsn: record.lsn, end: record.end, ...message };
      if (count % RECORDS_PER_TURN === 0) await turn();
    }
  } finally {
    await waits.until(() => stream.close());
  }
  if (reader.end !== null && reader.end.reason !== 'end-of-range')
    throw new WalReadError(directory, formatLsn(reader.end.end), reader.end.message);
}

function firstLsn({ directory, timeline, segmentSize }: MessageSource): Lsn {
  const [first = 0] = segmentsIn(directory, timeline, segmentSize);
  return first * segmentSize;
}
