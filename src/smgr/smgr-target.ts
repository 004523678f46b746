/**
 * The SMGR target: an I/O on blocks of a relation's fork. Its identity is the relation; the file table's
 * entry says where that is.
 */
import type { AioCallback, AioTarget } from '../aio/callback.js';
import { CallbackId } from '../aio/ids.js';
import { ResultStatus, type AioReturn } from '../aio/result.js';
import { ReadFailedError, ShortReadError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { FileTable } from '../vfd/file-table.js';
import { holdingEntry, reopenFile } from '../vfd/file-target.js';
import type { ReopenCache } from '../vfd/reopen.js';
import { PG_DEFAULT_TABLESPACE, PG_GLOBAL_TABLESPACE, relationPath, type Fork } from './relation.js';

/** Words of the target's data; the first two are the file table's, as in every target that is a file. */
export const SmgrWord = {
  ENTRY: 0,
  GENERATION: 1,
  DIRECTORY: 2,
  TABLESPACE: 3,
  DATABASE: 4,
  RELATION: 5,
  FORK: 6,
  BLOCK: 7,
  COUNT: 8,
  /** Number of the backend whose private relation it is, plus one; 0: everybody's. */
  BACKEND: 9,
  /** Of a sync: which entry of the table of requests it is for, and how many of them it answers. */
  SYNC_GENERATION: 10,
  SYNC_REQUESTED: 11,
} as const;

export function smgrTarget(reopens: ReopenCache, table: FileTable): AioTarget {
  return {
    name: 'smgr',
    callback: CallbackId.SMGR_READV,
    describe: (data) => relationOf(data, table),
    reopen: (io) => reopenFile(io, reopens),
  };
}

/** The relation's path as messages name it: relative to its data directory, without a segment number. */
function relationOf(data: Int32Array, table: FileTable): string {
  const word = (index: number): number => (data[index] as number) >>> 0;
  const tablespace = word(SmgrWord.TABLESPACE);
  const owner = word(SmgrWord.BACKEND);
  const locator = {
    tablespace,
    database: word(SmgrWord.DATABASE),
    relation: word(SmgrWord.RELATION),
    backend: owner === 0 ? undefined : owner - 1,
  };
  const ownVersion =
    tablespace === PG_DEFAULT_TABLESPACE || tablespace === PG_GLOBAL_TABLESPACE ? '' : versionIn(data, table);
  return relationPath(locator, word(SmgrWord.FORK) as Fork, ownVersion);
}

/** The version directory of a tablespace stands in the file's path only. */
function versionIn(data: Int32Array, table: FileTable): string {
  const entry = data[SmgrWord.ENTRY] as number;
  if (entry < 0 || table.generation(entry) !== data[SmgrWord.GENERATION]) return '';
  return table.identity(entry).path.split('/').at(-3) ?? '';
}

/** Slot 0 of SMGR reads: from bytes to whole blocks. Less than one block is an error, not a partial read. */
export function smgrReadv(table: FileTable): AioCallback {
  return {
    name: 'smgr_readv',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (result.value < 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.SMGR_READV;
        result.errorData = -result.value;
        return;
      }
      result.value = Math.floor(result.value / BLOCK_SIZE);
      if (result.value >= io.targetWord(SmgrWord.COUNT)) return;
      result.status = result.value === 0 ? ResultStatus.ERROR : ResultStatus.PARTIAL;
      result.reporter = CallbackId.SMGR_READV;
      result.errorData = 0;
    },
    report: (result) => smgrReadError(result),
  };
}

function smgrReadError(result: AioReturn): Error {
  const first = (result.targetData[SmgrWord.BLOCK] as number) >>> 0;
  const count = result.targetData[SmgrWord.COUNT] as number;
  const fields = { path: result.description, firstBlock: first, lastBlock: first + count - 1 };
  const what = `blocks ${first}..${fields.lastBlock} in file "${result.description}"`;
  if (result.errorData !== 0) return new ReadFailedError(what, { ...fields, errno: result.errorData });
  const got = result.status === ResultStatus.PARTIAL ? result.value * BLOCK_SIZE : 0;
  return new ShortReadError(what, got, count * BLOCK_SIZE, fields);
}
