/**
 * Reads WAL through an instance of its own: a stream of chunks looks ahead over the segments, a reader walks over their
 * records, and whoever asked is told of each.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { createInstance, type Instance } from '../../instance/instance.js';
import { chooseMethod } from '../../instance/methods.js';
import { PENDING } from '../../shmem/wait.js';
import type { Lsn } from '../../wal/lsn.js';
import type { WalRecord } from '../../wal/record.js';
import type { WalEnd } from '../../wal/reader-end.js';
import { WalReader } from '../../wal/wal-reader.js';
import { CHUNK_BYTES, DEPTH, SegmentStream } from '../../recovery/segment-stream.js';
import type { WalFiles } from './wal-files.js';

export interface DumpOptions {
  readonly files: WalFiles;
  readonly start: Lsn;
  readonly end?: Lsn | undefined;
  /** Ends the walk early. */
  readonly signal?: AbortSignal | undefined;
  /** Told of each record, which is valid during the call; false ends the walk. */
  readonly onRecord: (record: WalRecord, majorVersion: number) => boolean;
  /** Runs now and then, between two records. */
  readonly breathe?: () => Promise<void>;
}

export interface DumpResult {
  /** Null: ended early, by `onRecord` or the signal. */
  readonly end: WalEnd | null;
  /** Behind the last record that was read; null: there was none. */
  readonly position: Lsn | null;
  readonly majorVersion: number;
  readonly systemIdentifier: bigint | null;
}

/** Records between two turns of the event loop, where signals are heard. */
const RECORDS_PER_TURN = 4096;

/** Throws an IoError; what is wrong with the WAL is in the result. */
export async function dumpWal(options: DumpOptions): Promise<DumpResult> {
  const instance = await createInstance({
    ioMethod: chooseMethod('auto').name,
    ioMaxConcurrency: DEPTH + 2,
    ioMemory: DEPTH * CHUNK_BYTES + 64 * 1024,
    maxBackends: 1,
    sharedBuffers: '128kB', // the pool is not used
  });
  try {
    return await walk(instance, options);
  } finally {
    await instance.close();
  }
}

async function walk({ backend }: Instance, options: DumpOptions): Promise<DumpResult> {
  const { files, start, end } = options;
  const { waits } = backend.aio;
  const source = new SegmentStream(backend.files, {
    segmentSize: files.segmentSize,
    timeline: files.timeline,
    start,
    pathOf: files.pathOf,
    lastSegment: files.lastSegment,
    open: (path) => backend.openRawFile(path),
  });
  const { systemIdentifier } = files;
  const reader = new WalReader(source, {
    start,
    ...(end !== undefined && { end }),
    ...(systemIdentifier !== undefined && { systemIdentifier }),
  });
  const step = reader.next.bind(reader);
  let position: Lsn | null = null;
  try {
    for (let count = 1; options.signal?.aborted !== true; count++) {
      const now = step();
      if (!(now === PENDING ? await waits.until(step) : now)) break;
      position = reader.record.end;
      if (!options.onRecord(reader.record, reader.majorVersion)) break;
      if (count % RECORDS_PER_TURN === 0) await (options.breathe ?? turn)();
    }
  } finally {
    await waits.until(() => source.close());
  }
  const { majorVersion } = reader;
  return { end: reader.end, position, majorVersion, systemIdentifier: reader.systemIdentifier };
}
