/**
 * The FILE target: an I/O on any file, of any length. Its identity is an entry of the file table; the
 * position is kept too, for messages.
 */
import { constants } from 'node:os';
import type { AioCallback, AioTarget } from '../aio/callback.js';
import type { IoHandle } from '../aio/handle.js';
import { HandleFlag } from '../aio/operation.js';
import { CallbackId, TargetId } from '../aio/ids.js';
import { ResultStatus, type AioResult, type AioReturn } from '../aio/result.js';
import { ReadFailedError, ShortReadError } from '../base/errors.js';
import { FileError } from '../base/file-error.js';
import { NO_ENTRY, type FileTable } from './file-table.js';
import type { ReopenCache } from './reopen.js';
import type { Vfd } from './vfd.js';

const { EIO, ENOSPC, EDQUOT } = constants.errno;
/** What fsync(2) says of writes that it did not make itself. */
const WRITEBACK_ERRORS: ReadonlySet<number> = new Set([EIO, ENOSPC, EDQUOT]);

/** Words of the target's data. The first two are the same for every target that is a file. */
export const FileWord = {
  ENTRY: 0,
  GENERATION: 1,
  POSITION_LOW: 2,
  POSITION_HIGH: 3,
  BYTES: 4,
  FIRST_BLOCK: 5,
} as const;

/** Puts a file's identity into a handle; a file that other threads cannot find is read by its issuer. */
export function identifyFile(io: IoHandle, vfd: Vfd): void {
  io.setTargetWord(FileWord.ENTRY, vfd.entry);
  io.setTargetWord(FileWord.GENERATION, vfd.entryGeneration);
  if (vfd.entry === NO_ENTRY) io.setFlag(HandleFlag.SYNCHRONOUS);
  if (!vfd.direct) io.setFlag(HandleFlag.BUFFERED);
}

/** Makes the FILE target of a handle. `firstBlock` is for callbacks that know blocks. */
export function setFileTarget(
  io: IoHandle,
  vfd: Vfd,
  position: number,
  bytes: number,
  firstBlock: number,
  callback: number = CallbackId.FILE_READV,
): void {
  io.setTarget(TargetId.FILE, callback);
  identifyFile(io, vfd);
  io.setTargetWord(FileWord.POSITION_LOW, position | 0);
  io.setTargetWord(FileWord.POSITION_HIGH, Math.floor(position / 0x1_0000_0000));
  io.setTargetWord(FileWord.BYTES, bytes);
  io.setTargetWord(FileWord.FIRST_BLOCK, firstBlock | 0);
}

export function fileTarget(table: FileTable, reopens: ReopenCache): AioTarget {
  return {
    name: 'file',
    callback: CallbackId.FILE_READV,
    describe: (data) => {
      const entry = data[FileWord.ENTRY] as number;
      const known = entry !== NO_ENTRY && table.generation(entry) === data[FileWord.GENERATION];
      return known ? table.identity(entry).path : 'a file that is closed';
    },
    reopen: (io) => reopenFile(io, reopens),
  };
}

export function reopenFile(io: IoHandle, reopens: ReopenCache): number {
  return reopens.reopen(io, io.targetWord(FileWord.ENTRY), io.targetWord(FileWord.GENERATION));
}

/** The parts of slot 0 that every target has which is a file: the entry is held while the I/O is in flight. */
export function holdingEntry(table: FileTable): Pick<Required<AioCallback>, 'stage' | 'completeLocal'> {
  return {
    stage: (io) => {
      table.hold(io.targetWord(FileWord.ENTRY));
    },
    completeLocal: (io) => {
      table.release(io.targetWord(FileWord.ENTRY));
    },
  };
}

/** Slot 0 of FILE reads. Fewer bytes than asked for is PARTIAL: where a file ends is its reader's business. */
export function fileReadv(table: FileTable): AioCallback {
  return {
    name: 'file_readv',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (result.value < 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.FILE_READV;
        result.errorData = -result.value;
      } else if (result.value < io.bytes) {
        result.status = ResultStatus.PARTIAL;
        result.reporter = CallbackId.FILE_READV;
      }
    },
    report: (result) => fileReadError(result),
  };
}

/** Slot 0 of FILE writes. Fewer bytes than given is for the writer to go on with. */
export function fileWritev(table: FileTable): AioCallback {
  return {
    name: 'file_writev',
    ...holdingEntry(table),
    completeShared: (_io, result) => {
      failed(CallbackId.FILE_WRITEV, result);
    },
    report: ({ description: path, errorData: errno, targetData }) =>
      new FileError('write', {
        path,
        errno,
        position: filePosition(targetData),
        length: targetData[FileWord.BYTES] as number,
      }),
  };
}

/** Slot 0 of fsync and fdatasync of a FILE. The kernel tells a descriptor once, and an I/O worker has one for all. */
export function fileSync(table: FileTable): AioCallback {
  return {
    name: 'file_sync',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (WRITEBACK_ERRORS.has(-result.value)) table.raiseSyncFailures(io.targetWord(FileWord.ENTRY));
      failed(CallbackId.FILE_SYNC, result);
    },
    report: ({ description: path, errorData: errno }) => new FileError('fsync', { path, errno }),
  };
}

function failed(reporter: number, result: AioResult): void {
  if (result.value >= 0) return;
  result.status = ResultStatus.ERROR;
  result.reporter = reporter;
  result.errorData = -result.value;
}

function fileReadError(result: AioReturn): Error {
  const position = filePosition(result.targetData);
  const bytes = result.targetData[FileWord.BYTES] as number;
  const what = `${bytes} bytes at position ${position} of "${result.description}"`;
  const fields = { path: result.description };
  return result.status === ResultStatus.PARTIAL
    ? new ShortReadError(what, result.value, bytes, fields)
    : new ReadFailedError(what, { ...fields, errno: result.errorData });
}

export function filePosition(data: Int32Array): number {
  return (
    ((data[FileWord.POSITION_LOW] as number) >>> 0) + (data[FileWord.POSITION_HIGH] as number) * 0x1_0000_0000
  );
}
