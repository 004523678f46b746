/**
 * The WAL target: an I/O on a segment of the WAL. It says of itself timeline and LSN; its file is an entry of the
 * file table, as of every target that is a file, so that a worker opens it again.
 */
import type { AioCallback, AioTarget } from '../aio/callback.js';
import type { IoHandle } from '../aio/handle.js';
import { CallbackId, TargetId } from '../aio/ids.js';
import { ResultStatus } from '../aio/result.js';
import { WalFileError } from '../base/wal-errors.js';
import type { FileTable } from '../vfd/file-table.js';
import { holdingEntry, identifyFile, reopenFile } from '../vfd/file-target.js';
import type { ReopenCache } from '../vfd/reopen.js';
import type { Vfd } from '../vfd/vfd.js';
import { formatLsn } from './lsn.js';
import type { WalControl } from './wal-control.js';

/** Words of the target's data, behind the file table's two. */
export const WalWord = { TIMELINE: 2, LSN_LOW: 3, LSN_HIGH: 4, FLIGHT: 5 } as const;

/** Makes the WAL target of a handle, for a write from `lsn` on, or for a sync up to there. */
export function setWalTarget(
  io: IoHandle,
  callback: number,
  vfd: Vfd,
  timeline: number,
  lsn: number,
  flight: number,
): void {
  io.setTarget(TargetId.WAL, callback);
  identifyFile(io, vfd);
  io.setTargetWord(WalWord.TIMELINE, timeline);
  io.setTargetWord(WalWord.LSN_LOW, lsn | 0);
  io.setTargetWord(WalWord.LSN_HIGH, Math.floor(lsn / 0x1_0000_0000));
  io.setTargetWord(WalWord.FLIGHT, flight);
}

export function walTarget(reopens: ReopenCache): AioTarget {
  return {
    name: 'wal',
    callback: CallbackId.WAL_WRITEV,
    describe: (data) => {
      const low = (data[WalWord.LSN_LOW] as number) >>> 0;
      const lsn = (data[WalWord.LSN_HIGH] as number) * 0x1_0000_0000 + low;
      return `timeline ${data[WalWord.TIMELINE] as number}, ${formatLsn(lsn)}`;
    },
    reopen: (io) => reopenFile(io, reopens),
  };
}

/** Slot 0 of WAL writes: moves the WAL's positions on, in whichever thread completes. */
export function walWritev(table: FileTable, wal: WalControl): AioCallback {
  return {
    name: 'wal_writev',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (result.value < 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.WAL_WRITEV;
        result.errorData = -result.value;
      }
      wal.flightOver(io.targetWord(WalWord.FLIGHT), io.index, io.generation, result.value);
    },
    report: ({ description, errorData }) => new WalFileError('write', description, errorData),
  };
}

/** Slot 0 of the WAL's fsync. */
export function walSync(table: FileTable, wal: WalControl): AioCallback {
  return {
    name: 'wal_sync',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      const errno = result.value < 0 ? -result.value : 0;
      if (errno > 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.WAL_SYNC;
        result.errorData = errno;
      }
      wal.syncOver(io.index, io.generation, errno);
    },
    report: ({ description, errorData }) => new WalFileError('sync', description, errorData),
  };
}
