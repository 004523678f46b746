/**
 * Reads `global/pg_control` (`ControlFileData`), which says how a cluster was made: version, block size,
 * segment size, checksums. Clusters of PostgreSQL 15 to 18 are understood; anything else is refused with a
 * {@link ControlFileError} whose message says what and why.
 *
 * Only the fields that `verify` needs are read. Between these versions they stay where they are; the CRC
 * at the end moves.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { crc32c } from '../base/crc32c.js';
import { PgaioError, type PgaioErrorOptions } from '../base/errors.js';
import { BLOCK_SIZES } from '../page/page-header.js';

/** `DBState`, in its order. */
export const CLUSTER_STATES = [
  'starting up',
  'shut down',
  'shut down in recovery',
  'shutting down',
  'in crash recovery',
  'in archive recovery',
  'in production',
] as const;
export type ClusterState = (typeof CLUSTER_STATES)[number];

export interface ControlFile {
  /** Of the control file, as given. */
  readonly path: string;
  /** 15 to 18. */
  readonly majorVersion: number;
  /** `PG_CONTROL_VERSION`. */
  readonly controlVersion: number;
  /** `CATALOG_VERSION_NO`. */
  readonly catalogVersion: number;
  readonly systemIdentifier: bigint;
  /** As of the last time the server wrote the file; a crashed cluster still says `in production`. */
  readonly state: ClusterState;
  /** `BLCKSZ`, in bytes. */
  readonly blockSize: number;
  /** `RELSEG_SIZE`. */
  readonly blocksPerSegment: number;
  readonly checksumsEnabled: boolean;
}

export type ControlFileProblem =
  'missing' | 'unreadable' | 'truncated' | 'byteOrder' | 'version' | 'crc' | 'contents';

/** The control file is not there, damaged, or of a cluster that is not understood. */
export class ControlFileError extends PgaioError {
  override readonly name = 'ControlFileError';
  readonly path: string;
  readonly problem: ControlFileProblem;

  constructor(path: string, problem: ControlFileProblem, why: string, options?: PgaioErrorOptions) {
    super('ERR_PGAIO_CONTROL_FILE', `control file "${path}" ${why}`, options);
    this.path = path;
    this.problem = problem;
  }
}

/** Bytes from the start of the file. */
const Offset = {
  systemIdentifier: 0,
  controlVersion: 8,
  catalogVersion: 12,
  state: 16,
  floatFormat: 208,
  blockSize: 216,
  blocksPerSegment: 220,
  checksumVersion: 252,
} as const;

/** Where the CRC lies, and thus how long the contents are, by `PG_CONTROL_VERSION`. */
const CRC_OFFSETS: ReadonlyMap<number, number> = new Map([
  [1300, 288],
  [1700, 288],
  [1800, 292],
]);

/** `CATALOG_VERSION_NO` of each release: versions 13 to 16 share one `PG_CONTROL_VERSION`. */
const MAJOR_VERSIONS: ReadonlyMap<number, number> = new Map([
  [202209061, 15],
  [202307071, 16],
  [202406281, 17],
  [202506291, 18],
]);

/** What the server stores in `floatFormat`. */
const FLOAT_FORMAT = 1234567;

/** `PG_DATA_CHECKSUM_VERSION`, where checksums are on. */
const CHECKSUM_VERSION = 1;

const CRC_ATTEMPTS_MAX = 10;
const CRC_PAUSE_MILLIS = 10;

/**
 * Reads the control file of the cluster in `dataDirectory`; throws {@link ControlFileError}.
 *
 * A running server may be writing it, so a wrong CRC is believed only once the file stops changing.
 * `betweenReads` is the pause for that, injected by tests.
 */
export async function readControlFile(
  dataDirectory: string,
  betweenReads: () => Promise<unknown> = () => pause(CRC_PAUSE_MILLIS),
): Promise<ControlFile> {
  const path = controlFilePath(dataDirectory);
  let bytes = await readBytes(path);
  for (let attempt = 1; ; attempt++) {
    try {
      return parseControlFile(bytes, path);
    } catch (error) {
      const isTorn = error instanceof ControlFileError && error.problem === 'crc';
      if (!isTorn || attempt === CRC_ATTEMPTS_MAX) throw error;
      await betweenReads();
      const again = await readBytes(path);
      if (bytes.equals(again)) throw error;
      bytes = again;
    }
  }
}

export function controlFilePath(dataDirectory: string): string {
  return join(dataDirectory, 'global', 'pg_control');
}

/** Interprets the contents of a control file; `path` is for messages. Throws {@link ControlFileError}. */
export function parseControlFile(bytes: Uint8Array, path: string): ControlFile {
  const refuse = (problem: ControlFileProblem, why: string): never => {
    throw new ControlFileError(path, problem, why);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const u32 = (offset: number): number => view.getUint32(offset, true);
  const tooShort = `is truncated: it has only ${bytes.length} bytes`;

  if (bytes.length < Offset.state) refuse('truncated', tooShort);
  const controlVersion = u32(Offset.controlVersion);
  const crcOffset = CRC_OFFSETS.get(controlVersion);
  if (crcOffset === undefined) {
    if (CRC_OFFSETS.has(view.getUint32(Offset.controlVersion, false))) {
      return refuse('byteOrder', 'was written on a machine of the other byte order, which is not supported');
    }
    const known = [...CRC_OFFSETS.keys()].join(', ');
    return refuse(
      'version',
      `has format version ${controlVersion}; understood are ${known} (PostgreSQL 15 to 18)`,
    );
  }
  if (bytes.length < crcOffset + 4) refuse('truncated', tooShort);
  if (crc32c(bytes.subarray(0, crcOffset)) !== u32(crcOffset)) {
    refuse('crc', 'is damaged: its CRC does not match its contents');
  }

  const catalogVersion = u32(Offset.catalogVersion);
  const majorVersion = MAJOR_VERSIONS.get(catalogVersion);
  if (majorVersion === undefined) {
    const known = [...MAJOR_VERSIONS]
      .map(([catalog, major]) => `${catalog} (PostgreSQL ${major})`)
      .join(', ');
    return refuse('version', `has catalog version ${catalogVersion}; understood are ${known}`);
  }
  if (view.getFloat64(Offset.floatFormat, true) !== FLOAT_FORMAT) {
    refuse('contents', 'was written on a machine with another floating-point format');
  }
  const blockSize = u32(Offset.blockSize);
  if (!BLOCK_SIZES.includes(blockSize)) {
    refuse('contents', `says that blocks have ${blockSize} bytes, which no PostgreSQL can be built with`);
  }
  const blocksPerSegment = u32(Offset.blocksPerSegment);
  if (blocksPerSegment === 0 || blocksPerSegment > 0x7fffffff) {
    refuse('contents', `says that segments have ${blocksPerSegment} blocks, which cannot be`);
  }
  const checksumVersion = u32(Offset.checksumVersion);
  if (checksumVersion > CHECKSUM_VERSION) {
    refuse('contents', `says that pages have checksums of version ${checksumVersion}; only 1 is understood`);
  }
  const state = u32(Offset.state);
  return {
    path,
    majorVersion,
    controlVersion,
    catalogVersion,
    systemIdentifier: view.getBigUint64(Offset.systemIdentifier, true),
    state: CLUSTER_STATES[state] ?? refuse('contents', `has state ${state}, which does not exist`),
    blockSize,
    blocksPerSegment,
    checksumsEnabled: checksumVersion === CHECKSUM_VERSION,
  };
}

/** Whether the server had been shut down cleanly when it last wrote the file. */
export function wasShutDown(control: { readonly state: ClusterState | undefined }): boolean {
  return control.state === 'shut down' || control.state === 'shut down in recovery';
}

/** Name of the directory that this cluster's files have in a tablespace (`TABLESPACE_VERSION_DIRECTORY`). */
export function tablespaceVersionDirectory(control: ControlFile): string {
  return `PG_${control.majorVersion}_${control.catalogVersion}`;
}

async function readBytes(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new ControlFileError(path, 'missing', 'does not exist', {
        cause,
        hint: 'The path of a PostgreSQL data directory is expected, the one that holds "base" and "global".',
      });
    }
    throw new ControlFileError(path, 'unreadable', `cannot be read: ${message}`, {
      cause,
      ...(code === 'EACCES' && { hint: 'Run as the user that owns the data directory.' }),
    });
  }
}
