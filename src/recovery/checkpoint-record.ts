/**
 * A checkpoint as it stands in its record and in the control file (`CheckPoint` of PostgreSQL 18, 88 bytes). What a
 * PostgreSQL server keeps there and this library has no use for (transaction numbers and the like) is carried from
 * one checkpoint to the next, so that a server can go on where we stopped.
 */
import { encodeRecord } from '../wal/encode-record.js';
import { readLsn, writeLsn, type Lsn } from '../wal/lsn.js';
import { ResourceManager } from '../wal/resource-managers.js';

export const CHECKPOINT_SIZE = 88;

const Offset = {
  redo: 0,
  timeline: 8,
  previousTimeline: 12,
  fullPageWrites: 16,
  walLevel: 20,
  nextXid: 24,
  nextOid: 32,
  nextMulti: 36,
  oldestXid: 44,
  oldestXidDatabase: 48,
  oldestMulti: 52,
  oldestMultiDatabase: 56,
  time: 64,
  oldestActiveXid: 80,
} as const;

/** `WAL_LEVEL_REPLICA`. */
export const WAL_LEVEL = 1;

/** Operations of the resource manager XLOG. */
export const XlogOperation = {
  CHECKPOINT_SHUTDOWN: 0x00,
  CHECKPOINT_ONLINE: 0x10,
  NOOP: 0x20,
  SWITCH: 0x40,
  PARAMETER_CHANGE: 0x60,
  RESTORE_POINT: 0x70,
  FPW_CHANGE: 0x80,
  FPI_FOR_HINT: 0xa0,
  FPI: 0xb0,
  CHECKPOINT_REDO: 0xe0,
} as const;

/** Of a cluster that was just made, as initdb's: numbers below these are reserved. */
const FIRST_NORMAL_XID = 3;
const FIRST_NORMAL_OID = 16384;
const FIRST_MULTI = 1;
const TEMPLATE_DATABASE = 1;

export interface CheckpointFields {
  /** Where redo begins. */
  readonly redo: Lsn;
  /** Seconds since 1970. */
  readonly time: number;
  /** Nobody was writing: the record is where redo begins, and there is nothing to redo before it. */
  readonly isShutdown: boolean;
}

export class Checkpoint {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;

  private constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Of `bytes` from `offset` on; a copy. */
  static read(bytes: Uint8Array, offset: number): Checkpoint {
    return new Checkpoint(Uint8Array.prototype.slice.call(bytes, offset, offset + CHECKPOINT_SIZE));
  }

  /** The first one of a cluster. */
  static first(timeline: number, redo: Lsn, time: number): Checkpoint {
    const checkpoint = new Checkpoint(new Uint8Array(CHECKPOINT_SIZE));
    const view = checkpoint.#view;
    view.setUint32(Offset.timeline, timeline, true);
    view.setUint32(Offset.previousTimeline, timeline, true);
    view.setUint32(Offset.nextXid, FIRST_NORMAL_XID, true);
    view.setUint32(Offset.nextOid, FIRST_NORMAL_OID, true);
    view.setUint32(Offset.nextMulti, FIRST_MULTI, true);
    view.setUint32(Offset.oldestXid, FIRST_NORMAL_XID, true);
    view.setUint32(Offset.oldestXidDatabase, TEMPLATE_DATABASE, true);
    view.setUint32(Offset.oldestMulti, FIRST_MULTI, true);
    view.setUint32(Offset.oldestMultiDatabase, TEMPLATE_DATABASE, true);
    return checkpoint.next({ redo, time, isShutdown: true });
  }

  get redo(): Lsn {
    return readLsn(this.#view, Offset.redo);
  }

  get timeline(): number {
    return this.#view.getUint32(Offset.timeline, true);
  }

  /** In seconds since 1970. */
  get time(): number {
    return Number(this.#view.getBigInt64(Offset.time, true));
  }

  /** The one after this. */
  next({ redo, time, isShutdown }: CheckpointFields): Checkpoint {
    const next = new Checkpoint(this.bytes.slice());
    const view = next.#view;
    writeLsn(view, Offset.redo, redo);
    view.setUint32(Offset.previousTimeline, this.timeline, true);
    view.setUint8(Offset.fullPageWrites, 1);
    view.setInt32(Offset.walLevel, WAL_LEVEL, true);
    view.setBigInt64(Offset.time, BigInt(time), true);
    // Of transactions that run; without any, the next number, and none in a shutdown.
    view.setUint32(Offset.oldestActiveXid, isShutdown ? 0 : view.getUint32(Offset.nextXid, true), true);
    return next;
  }

  /** The record that says so. */
  record(isShutdown: boolean): Uint8Array<ArrayBuffer> {
    const info = isShutdown ? XlogOperation.CHECKPOINT_SHUTDOWN : XlogOperation.CHECKPOINT_ONLINE;
    return encodeRecord({ resourceManager: ResourceManager.XLOG, info, mainData: this.bytes });
  }
}

/** Stands where redo begins, for a checkpoint that is taken while others write. */
export function checkpointRedoRecord(): Uint8Array<ArrayBuffer> {
  const mainData = new Uint8Array(4);
  new DataView(mainData.buffer).setInt32(0, WAL_LEVEL, true);
  return encodeRecord({
    resourceManager: ResourceManager.XLOG,
    info: XlogOperation.CHECKPOINT_REDO,
    mainData,
  });
}
