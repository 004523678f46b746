/**
 * Recovery: from the redo position of the last checkpoint to where the WAL ends (`StartupXLOG`).
 *
 *   control file ─▶ redo position ─▶ every record from there, redone ─▶ first that is not right: the end
 *                                                                         └▶ what lies behind it is wiped out
 *
 * What lies behind the end was never acknowledged: pages of flights whose predecessors did not reach the disk. It is
 * wiped out before anything new is written, for otherwise a new record of the same length as the torn one could make
 * the old records behind it follow on.
 *
 * By the creator, before anybody else attaches.
 */
import {
  closeSync,
  constants as fsConstants,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import type { LogSink } from '../base/log.js';
import { WalFileError } from '../base/wal-errors.js';
import { PENDING } from '../shmem/wait.js';
import type { File, FileContext } from '../vfd/file.js';
import { formatLsn, INVALID_LSN, type Lsn } from '../wal/lsn.js';
import { WAL_PAGE_SIZE } from '../wal/page-header.js';
import type { WalRecord } from '../wal/record.js';
import type { WalEnd } from '../wal/reader-end.js';
import { ResourceManager } from '../wal/resource-managers.js';
import { parseSegmentFileName, segmentFileName, segmentNumber, segmentOf } from '../wal/segments.js';
import { DRAFT_PREFIX, syncDirectory } from '../wal/wal-files.js';
import { WalReader } from '../wal/wal-reader.js';
import { Checkpoint, CHECKPOINT_SIZE, XlogOperation } from './checkpoint-record.js';
import type { ControlData } from './control-data.js';
import { syncRelationNames } from './data-directory.js';
import { wasShutDown } from './control-file.js';
import { RecoveryError } from './recovery-error.js';
import type { Redo } from './redo.js';
import { SegmentStream } from './segment-stream.js';

export interface RecoveryParts {
  readonly dataDirectory: string;
  readonly walDirectory: string;
  readonly control: ControlData;
  readonly files: FileContext;
  /** Opens a file for reading. Throws an IoError. */
  readonly open: (path: string) => File;
  readonly redo: Redo;
  readonly log: LogSink;
}

/** How an instance found its WAL. */
export interface RecoveryResult {
  /** Whether the last instance was not closed, so that there was something to recover. */
  readonly wasNeeded: boolean;
  readonly redo: Lsn;
  /** Where the WAL ended, and goes on. */
  readonly end: Lsn;
  /** Where its last record begins. */
  readonly last: Lsn;
  readonly records: number;
  /** Why it ended there: a clause without a full stop. */
  readonly reason: string;
  /** What the last page has before the end. */
  readonly tail: Uint8Array;
}

/** Records between two turns of the event loop. */
const RECORDS_PER_TURN = 4096;

/** Throws a RecoveryError, an IoError, or a WalFileError. */
export async function recover(parts: RecoveryParts): Promise<RecoveryResult> {
  const { control, log, dataDirectory, walDirectory } = parts;
  const segmentSize = control.walSegmentSize;
  const { redo, timeline } = control.checkpoint;
  const wasNeeded = !wasShutDown({ state: control.state });
  if (wasNeeded) {
    const since = new Date(control.checkpoint.time * 1000).toISOString();
    log({
      level: 'log',
      message: `the data directory was not closed properly; its WAL is recovered from ${formatLsn(redo)} on (${since})`,
    });
    // What is found there counts from now on, so it must outlive us.
    makeDurable(walDirectory, timeline, segmentOf(redo, segmentSize), segmentSize);
    syncNames(dataDirectory);
  }
  const walk = new Walk(parts);
  await walk.run();
  const { end, last, records } = walk;
  wipe(walDirectory, timeline, end.end, segmentSize);
  const tail = readTail(
    join(walDirectory, segmentFileName(timeline, segmentOf(end.end, segmentSize), segmentSize)),
    end.end % segmentSize,
  );
  if (wasNeeded)
    log({
      level: 'log',
      message: `recovered ${records} records of WAL, to ${formatLsn(end.end)}: ${end.message}`,
    });
  return { wasNeeded, redo, end: end.end, last, records, reason: end.message, tail };
}

class Walk {
  end: WalEnd = { end: INVALID_LSN, reason: 'zeros', message: '' };
  last: Lsn = INVALID_LSN;
  records = 0;
  readonly #parts: RecoveryParts;
  #foundCheckpoint = false;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  async run(): Promise<void> {
    const { control, files, open, walDirectory } = this.#parts;
    const { waits } = files.aio;
    const { redo, timeline } = control.checkpoint;
    const { walSegmentSize: segmentSize, systemIdentifier } = control;
    const source = new SegmentStream(files, {
      segmentSize,
      timeline,
      start: redo,
      pathOf: (segment) => join(walDirectory, segmentFileName(timeline, segment, segmentSize)),
      open,
    });
    const reader = new WalReader(source, { start: redo, exact: true, systemIdentifier });
    const step = reader.next.bind(reader);
    try {
      for (;;) {
        const now = step();
        if (!(now === PENDING ? await waits.until(step) : now)) break;
        await this.#onRecord(reader.record);
        if (this.records % RECORDS_PER_TURN === 0) await turn();
      }
    } finally {
      await waits.until(() => source.close());
    }
    if (reader.end !== null) this.end = reader.end;
    this.#checkEnd();
    this.#parts.redo.finish();
  }

  async #onRecord(record: WalRecord): Promise<void> {
    const { control, dataDirectory } = this.#parts;
    if (record.lsn === control.checkpointLsn) {
      if (!isCheckpoint(record, control.checkpoint.redo))
        throw new RecoveryError(
          dataDirectory,
          record.lsn,
          'the checkpoint that the control file names is not there',
          RESTORE,
        );
      this.#foundCheckpoint = true;
    }
    this.records++;
    this.last = record.lsn;
    const waiting = this.#parts.redo.apply(record);
    if (waiting !== undefined) await waiting;
  }

  #checkEnd(): void {
    const { control, dataDirectory } = this.#parts;
    const { end, reason, message } = this.end;
    if (!this.#foundCheckpoint)
      throw new RecoveryError(
        dataDirectory,
        end,
        `WAL ends before the last checkpoint, at ${formatLsn(control.checkpointLsn)}: ${message}`,
        RESTORE,
      );
    if (reason === 'other-system' || reason === 'other-sizes')
      throw new RecoveryError(
        dataDirectory,
        end,
        message,
        'Remove the segments that belong to another cluster.',
      );
  }
}

const RESTORE = 'The WAL is damaged or incomplete: bring back its files, or restore a backup.';

function isCheckpoint(record: WalRecord, redo: Lsn): boolean {
  if (record.resourceManager !== ResourceManager.XLOG || record.mainDataLength !== CHECKPOINT_SIZE)
    return false;
  const { operation } = record;
  if (operation !== XlogOperation.CHECKPOINT_SHUTDOWN && operation !== XlogOperation.CHECKPOINT_ONLINE)
    return false;
  return Checkpoint.read(record.bytes, record.mainDataOffset).redo === redo;
}

export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

// --- files -----------------------------------------------------------------------------------------

/** The segments of a timeline in a directory, ascending. */
export function segmentsIn(directory: string, timeline: number, segmentSize: number): number[] {
  return readdirSync(directory)
    .flatMap((name) => {
      const parsed = parseSegmentFileName(name);
      if (parsed === null || parsed.partial || parsed.timeline !== timeline) return [];
      const segment = segmentNumber(parsed, segmentSize);
      return segment === null ? [] : [segment];
    })
    .sort((one, other) => one - other);
}

/**
 * Makes durable what is read from segments. After an fsync that failed the kernel shows pages that the disk does not
 * have, takes them for clean, and the next fsync says that all is well: so what is there is written once more.
 */
function makeDurable(directory: string, timeline: number, from: number, segmentSize: number): void {
  for (const segment of segmentsIn(directory, timeline, segmentSize)) {
    if (segment < from) continue;
    const path = join(directory, segmentFileName(timeline, segment, segmentSize));
    withFile('write', path, fsConstants.O_RDWR, (fd) => {
      writeAgain(fd, segmentSize);
      fsyncSync(fd);
    });
  }
}

function syncNames(dataDirectory: string): void {
  try {
    syncRelationNames(dataDirectory);
  } catch (error) {
    throw WalFileError.of('sync', error, dataDirectory);
  }
}

/** But for zeroes, which say nothing: most of the last segment was never written to. */
function writeAgain(fd: number, segmentSize: number): void {
  const length = Math.min(CHUNK, segmentSize);
  const [found, zeroes] = [Buffer.alloc(length), Buffer.alloc(length)];
  for (let at = 0; at < segmentSize; at += length) {
    const bytes = readSync(fd, found, 0, length, at);
    if (found.compare(zeroes, 0, bytes, 0, bytes) !== 0) writeAll(fd, found.subarray(0, bytes), at);
  }
}

/** Zeroes behind the end in its segment, and no segments after that, nor any that are half made; durable. */
function wipe(directory: string, timeline: number, end: Lsn, segmentSize: number): void {
  const last = segmentOf(end, segmentSize);
  for (const segment of segmentsIn(directory, timeline, segmentSize))
    if (segment > last) unlinkSync(join(directory, segmentFileName(timeline, segment, segmentSize)));
  for (const name of readdirSync(directory))
    if (name.startsWith(DRAFT_PREFIX)) unlinkSync(join(directory, name));
  syncDirectory(directory);
  const path = join(directory, segmentFileName(timeline, last, segmentSize));
  if (end % segmentSize === 0 && !segmentsIn(directory, timeline, segmentSize).includes(last)) return;
  withFile('write', path, fsConstants.O_RDWR, (fd) => {
    if (wipeFile(fd, end % segmentSize, segmentSize)) fsyncSync(fd);
  });
}

const CHUNK = 1 << 20;

/** Writes only where there is something: most of a segment was never written to. */
function wipeFile(fd: number, from: number, segmentSize: number): boolean {
  const chunk = Math.min(CHUNK, segmentSize);
  const zeroes = Buffer.alloc(chunk);
  const found = Buffer.alloc(chunk);
  let isChanged = false;
  for (let at = from; at < segmentSize;) {
    const length = Math.min(chunk - (at % chunk), segmentSize - at);
    const bytes = readSync(fd, found, 0, length, at);
    if (bytes < length || found.compare(zeroes, 0, length, 0, length) !== 0) {
      writeAll(fd, zeroes.subarray(0, length), at);
      isChanged = true;
    }
    at += length;
  }
  return isChanged;
}

function writeAll(fd: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(fd, bytes, done, bytes.length - done, position + done);
}

function readTail(path: string, end: number): Uint8Array {
  const tail = new Uint8Array(end % WAL_PAGE_SIZE);
  if (tail.length === 0) return tail;
  withFile('open', path, fsConstants.O_RDONLY, (fd) => readSync(fd, tail, 0, tail.length, end - tail.length));
  return tail;
}

function withFile(
  operation: 'open' | 'write' | 'sync',
  path: string,
  flags: number,
  use: (fd: number) => unknown,
): void {
  try {
    const fd = openSync(path, flags);
    try {
      use(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw WalFileError.of(operation, error, path);
  }
}
