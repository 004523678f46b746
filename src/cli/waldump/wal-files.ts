/** From the path that the user gave to the segments that there are: a segment file, a directory of them, a data directory. */
import { open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PgaioError, SettingError } from '../../base/errors.js';
import { formatLsn, type Lsn } from '../../wal/lsn.js';
import {
  decodePageHeader,
  LONG_PAGE_HEADER_SIZE,
  PAGE_MAGICS,
  WalPageHeader,
} from '../../wal/page-header.js';
import {
  isSegmentSize,
  parseSegmentFileName,
  segmentFileName,
  segmentNumber,
  segmentOf,
  type SegmentName,
} from '../../wal/segments.js';
import { readControlFile } from '../../recovery/control-file.js';
import { problemFrom } from '../verify/cluster/scan-roots.js';

export interface WalFiles {
  readonly directory: string;
  readonly timeline: number;
  readonly segmentSize: number;
  /** The first segment that is there. */
  readonly firstSegment: number;
  /** Of a single file: its own number. */
  readonly lastSegment?: number;
  /** Of the control file, where there is one. */
  readonly systemIdentifier?: bigint;
  readonly pathOf: (segment: number) => string;
}

/** There is no WAL at the path, or none that can be read. */
export class NoWalError extends PgaioError {
  override readonly name = 'NoWalError';
  readonly path: string;
  constructor(path: string, message: string, hint?: string) {
    super('ERR_PGAIO_NO_WAL', message, hint === undefined ? {} : { hint });
    this.path = path;
  }
}

interface Segment extends SegmentName {
  readonly path: string;
}

/** `timeline`: of the segments of a directory; default: the latest. Throws a PgaioError that names the path. */
export async function findWalFiles(givenPath: string, timeline: number | undefined): Promise<WalFiles> {
  const path = resolve(givenPath);
  try {
    const stats = await stat(path);
    if (stats.isDirectory()) return await inDirectory(givenPath, path, timeline);
    return await singleFile(givenPath, path, timeline);
  } catch (error) {
    if (error instanceof PgaioError) throw error;
    const { message, hint } = problemFrom(givenPath, error);
    throw new NoWalError(givenPath, message, hint);
  }
}

/** Where reading begins if the user does not say: the first byte that there is. */
export function firstLsn({ firstSegment, segmentSize }: WalFiles): Lsn {
  return firstSegment * segmentSize;
}

/** Refuses a start of which the segment is not there. */
export async function checkStart(files: WalFiles, start: Lsn): Promise<void> {
  const segment = segmentOf(start, files.segmentSize);
  const path = files.pathOf(segment);
  const isOther = files.lastSegment !== undefined && segment !== files.lastSegment;
  if (!isOther && (await exists(path))) return;
  const name = segmentFileName(files.timeline, segment, files.segmentSize);
  const hint = `WAL begins at ${formatLsn(firstLsn(files))} here.`;
  throw new NoWalError(
    path,
    `position ${formatLsn(start)} lies in segment ${name}, which is not there`,
    hint,
  );
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function singleFile(given: string, path: string, timeline: number | undefined): Promise<WalFiles> {
  const name = parseSegmentFileName(basename(path));
  if (name === null) {
    const hint = 'A segment has a name such as 000000010000000000000003.';
    throw new NoWalError(given, `file "${given}" is not named like a segment of WAL`, hint);
  }
  if (timeline !== undefined && timeline !== name.timeline) {
    throw new SettingError(`file "${given}" is of timeline ${name.timeline}, not of ${timeline}`);
  }
  const segmentSize = await segmentSizeOf(path);
  const segment = numberOf(name, segmentSize, given);
  return {
    directory: dirname(path),
    timeline: name.timeline,
    segmentSize,
    firstSegment: segment,
    lastSegment: segment,
    pathOf: (wanted) =>
      wanted === segment ? path : join(dirname(path), segmentFileName(name.timeline, wanted, segmentSize)),
  };
}

async function inDirectory(given: string, path: string, timeline: number | undefined): Promise<WalFiles> {
  const isDataDirectory = await exists(join(path, 'pg_wal'));
  const directory = isDataDirectory ? join(path, 'pg_wal') : path;
  const all = (await readdir(directory)).flatMap((name): Segment[] => {
    const parsed = parseSegmentFileName(name);
    return parsed === null || parsed.partial ? [] : [{ ...parsed, path: join(directory, name) }];
  });
  const chosen = timeline ?? Math.max(0, ...all.map((segment) => segment.timeline));
  const [first] = all.filter((segment) => segment.timeline === chosen).sort(byNumber);
  if (first === undefined) {
    const which = timeline === undefined ? 'no segments of WAL' : `no segments of timeline ${timeline}`;
    const hint = 'A segment file, a directory of them (pg_wal), or a data directory is expected.';
    throw new NoWalError(given, `there are ${which} in "${given}"`, hint);
  }
  const segmentSize = await segmentSizeOf(first.path);
  const { systemIdentifier } = isDataDirectory ? await readControlFile(path) : {};
  return {
    directory,
    timeline: chosen,
    segmentSize,
    firstSegment: numberOf(first, segmentSize, given),
    pathOf: (segment) => join(directory, segmentFileName(chosen, segment, segmentSize)),
    ...(systemIdentifier !== undefined && { systemIdentifier }),
  };
}

function byNumber(left: SegmentName, right: SegmentName): number {
  return left.high - right.high || left.low - right.low;
}

function numberOf(name: SegmentName, segmentSize: number, given: string): number {
  const number = segmentNumber(name, segmentSize);
  if (number !== null) return number;
  throw new NoWalError(given, `"${given}": no segment of ${segmentSize} bytes can have that name`);
}

/** As its long header says; where that is damaged, as long as the file. */
async function segmentSizeOf(path: string): Promise<number> {
  const file = await open(path);
  try {
    const bytes = new Uint8Array(LONG_PAGE_HEADER_SIZE);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    const header = new WalPageHeader();
    const isWhole = decodePageHeader(header, new DataView(bytes.buffer), 0, bytesRead);
    if (isWhole && PAGE_MAGICS.has(header.magic) && isSegmentSize(header.segmentSize))
      return header.segmentSize;
    const { size } = await file.stat();
    if (isSegmentSize(size)) return size;
    const magics = [...PAGE_MAGICS].map(
      ([magic, major]) => `${magic.toString(16).toUpperCase()} (PostgreSQL ${major})`,
    );
    throw new NoWalError(
      path,
      `file "${path}" is not a segment of WAL: it has ${size} bytes, and does not begin with a page of WAL`,
      `Understood are the magic numbers ${magics.join(', ')}.`,
    );
  } finally {
    await file.close();
  }
}
