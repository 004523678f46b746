/**
 * The control file as this library writes it: that of PostgreSQL 18 (`ControlFileData`), of which it changes what
 * checkpoints and states are, and keeps the rest. All that counts lies in one sector of 512 bytes, which a disk
 * writes whole or not at all: it is written in place.
 */
import { closeSync, constants, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { crc32c } from '../base/crc32c.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { WalFileError } from '../base/wal-errors.js';
import { errnoOf } from '../base/system-errors.js';
import { readLsn, writeLsn, type Lsn } from '../wal/lsn.js';
import { WAL_PAGE_SIZE } from '../wal/page-header.js';
import { Checkpoint, CHECKPOINT_SIZE, WAL_LEVEL } from './checkpoint-record.js';
import { CLUSTER_STATES, ControlFileError, parseControlFile, type ClusterState } from './control-file.js';

/** `PG_CONTROL_FILE_SIZE`, in bytes. */
const FILE_SIZE = 8192;
const CRC = 292;

const Offset = {
  systemIdentifier: 0,
  controlVersion: 8,
  catalogVersion: 12,
  state: 16,
  time: 24,
  checkpoint: 32,
  checkpointCopy: 40,
  unloggedLsn: 128,
  walLevel: 172,
  maxConnections: 180,
  maxWorkerProcesses: 184,
  maxWalSenders: 188,
  maxLocksPerTransaction: 196,
  maxAlign: 204,
  floatFormat: 208,
  blockSize: 216,
  blocksPerSegment: 220,
  walPageSize: 224,
  walSegmentSize: 228,
  nameLength: 232,
  indexKeys: 236,
  toastChunk: 240,
  largeObjectBlock: 244,
  float8ByValue: 248,
  checksumVersion: 252,
  charIsSigned: 256,
} as const;

/** Of PostgreSQL 18: what `initdb` writes where nothing else is asked for. */
const DEFAULTS: readonly (readonly [offset: number, value: number])[] = [
  [Offset.controlVersion, 1800],
  [Offset.catalogVersion, 202506291],
  [Offset.walLevel, WAL_LEVEL],
  [Offset.maxConnections, 100],
  [Offset.maxWorkerProcesses, 8],
  [Offset.maxWalSenders, 10],
  [Offset.maxLocksPerTransaction, 64],
  [Offset.maxAlign, 8],
  [Offset.blockSize, BLOCK_SIZE],
  [Offset.blocksPerSegment, 131072],
  [Offset.walPageSize, WAL_PAGE_SIZE],
  [Offset.nameLength, 64],
  [Offset.indexKeys, 32],
  [Offset.toastChunk, 1996],
  [Offset.largeObjectBlock, 2048],
  [Offset.checksumVersion, 1],
];
const FIRST_UNLOGGED_LSN = 1000;
const FLOAT_FORMAT = 1234567;

export interface NewCluster {
  readonly systemIdentifier: bigint;
  readonly walSegmentSize: number;
  readonly checkpointLsn: Lsn;
  readonly checkpoint: Checkpoint;
}

export class ControlData {
  readonly path: string;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  private constructor(path: string, bytes: Uint8Array<ArrayBuffer>) {
    this.path = path;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }

  /** Throws a ControlFileError, of anything but a sound control file of PostgreSQL 18. */
  static read(path: string): ControlData {
    const bytes = new Uint8Array(FILE_SIZE);
    try {
      bytes.set(readFileSync(path).subarray(0, FILE_SIZE));
    } catch (error) {
      throw new ControlFileError(path, 'unreadable', `cannot be read: ${(error as Error).message}`, {
        cause: error,
      });
    }
    const { majorVersion, blockSize } = parseControlFile(bytes, path);
    if (majorVersion !== 18)
      throw new ControlFileError(
        path,
        'version',
        `is of PostgreSQL ${majorVersion}; only WAL of PostgreSQL 18 can be written`,
      );
    if (blockSize !== BLOCK_SIZE)
      throw new ControlFileError(
        path,
        'contents',
        `says that blocks have ${blockSize} bytes, not ${BLOCK_SIZE}`,
      );
    return new ControlData(path, bytes);
  }

  /** Of a cluster that nobody has written to. */
  static create(path: string, cluster: NewCluster): ControlData {
    const control = new ControlData(path, new Uint8Array(FILE_SIZE));
    const view = control.#view;
    for (const [offset, value] of DEFAULTS) view.setUint32(offset, value, true);
    view.setBigUint64(Offset.systemIdentifier, cluster.systemIdentifier, true);
    view.setUint32(Offset.walSegmentSize, cluster.walSegmentSize, true);
    view.setFloat64(Offset.floatFormat, FLOAT_FORMAT, true);
    view.setUint8(Offset.float8ByValue, 1);
    view.setUint8(Offset.charIsSigned, 1);
    writeLsn(view, Offset.unloggedLsn, FIRST_UNLOGGED_LSN);
    control.setCheckpoint(cluster.checkpointLsn, cluster.checkpoint);
    control.setState('shut down', cluster.checkpoint.time);
    return control;
  }

  get systemIdentifier(): bigint {
    return this.#view.getBigUint64(Offset.systemIdentifier, true);
  }

  get walSegmentSize(): number {
    return this.#view.getUint32(Offset.walSegmentSize, true);
  }

  get state(): ClusterState | undefined {
    return CLUSTER_STATES[this.#view.getUint32(Offset.state, true)];
  }

  /** Where the record of the latest checkpoint begins. */
  get checkpointLsn(): Lsn {
    return readLsn(this.#view, Offset.checkpoint);
  }

  get checkpoint(): Checkpoint {
    return Checkpoint.read(this.#bytes, Offset.checkpointCopy);
  }

  setCheckpoint(lsn: Lsn, checkpoint: Checkpoint): void {
    writeLsn(this.#view, Offset.checkpoint, lsn);
    this.#bytes.set(checkpoint.bytes.subarray(0, CHECKPOINT_SIZE), Offset.checkpointCopy);
  }

  /** `time`: in seconds since 1970. */
  setState(state: ClusterState, time: number): void {
    this.#view.setUint32(Offset.state, CLUSTER_STATES.indexOf(state), true);
    this.#view.setBigInt64(Offset.time, BigInt(time), true);
  }

  /** Writes the file, and returns when it is durable. Throws a WalFileError. */
  write(): void {
    this.#view.setUint32(CRC, crc32c(this.#bytes.subarray(0, CRC)), true);
    try {
      const fd = openSync(this.path, constants.O_WRONLY | constants.O_CREAT, 0o600);
      try {
        const written = writeSync(fd, this.#bytes, 0, FILE_SIZE, 0);
        if (written < FILE_SIZE) throw new WalFileError('write', this.path, osConstants.errno.ENOSPC);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw WalFileError.of(errnoOf(error, 0) === osConstants.errno.EIO ? 'sync' : 'write', error, this.path);
    }
  }
}
