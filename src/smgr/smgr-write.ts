/** Slot 0 of SMGR writes and syncs. */
import type { AioCallback } from '../aio/callback.js';
import { CallbackId } from '../aio/ids.js';
import { ResultStatus, type AioReturn } from '../aio/result.js';
import { RelationFileError } from '../base/relation-file-error.js';
import { BLOCK_SIZE } from '../base/settings.js';
import type { FileTable } from '../vfd/file-table.js';
import { holdingEntry } from '../vfd/file-target.js';
import { SEGMENT_BLOCKS, segmentPath } from './relation.js';
import { SmgrWord } from './smgr-target.js';
import type { SyncRequests } from './sync-requests.js';

/** From bytes to whole blocks. Fewer than asked for is PARTIAL, also none: whoever goes on with the rest is told why. */
export function smgrWritev(table: FileTable): AioCallback {
  return {
    name: 'smgr_writev',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (result.value < 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.SMGR_WRITEV;
        result.errorData = -result.value;
        return;
      }
      result.value = Math.floor(result.value / BLOCK_SIZE);
      if (result.value >= io.targetWord(SmgrWord.COUNT)) return;
      result.status = ResultStatus.PARTIAL;
      result.reporter = CallbackId.SMGR_WRITEV;
    },
    report: (result) => writeErrorOf(result, result.errorData),
  };
}

/** Of a write that failed, or that does not come further. */
export function writeErrorOf({ targetData, description }: AioReturn, errno: number): RelationFileError {
  const firstBlock = (targetData[SmgrWord.BLOCK] as number) >>> 0;
  const lastBlock = firstBlock + (targetData[SmgrWord.COUNT] as number) - 1;
  return new RelationFileError('write', {
    path: fileOf(description, firstBlock),
    firstBlock,
    lastBlock,
    errno,
  });
}

function fileOf(fork: string, block: number): string {
  return segmentPath(fork, Math.floor(block / SEGMENT_BLOCKS));
}

/** What became of the file is in the table of requests, for all to see, before anybody is told that the sync is over. */
export function smgrSync(table: FileTable, requests: SyncRequests): AioCallback {
  return {
    name: 'smgr_sync',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      requests.syncEnded(io, result.value < 0 ? -result.value : 0);
      if (result.value >= 0) return;
      result.status = ResultStatus.ERROR;
      result.reporter = CallbackId.SMGR_SYNC;
      result.errorData = -result.value;
    },
    report: ({ targetData, description, errorData }) =>
      new RelationFileError('sync', {
        path: fileOf(description, (targetData[SmgrWord.BLOCK] as number) >>> 0),
        errno: errorData,
      }),
  };
}
