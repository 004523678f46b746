/**
 * A plain file as blocks of the shared pool. A file may have any length: behind its last byte, the last block is zeroes.
 *
 * Which file it is that a block belongs to, all threads must say alike without asking each other, under whatever path they have
 * opened it; and a file that was replaced or changed is another one. So a tag has the digest of what the kernel says of the
 * file when it is opened: device, inode, size, and when its contents and its inode were changed. It stands where relations
 * have their locator, under a number that no data directory has. Of 96 bits, two files that are in a pool together share one
 * by no accident that could be waited for.
 */
import { createHash } from 'node:crypto';
import { fstatSync, type BigIntStats } from 'node:fs';
import { constants } from 'node:os';
import type { AioCallback, AioTarget } from '../aio/callback.js';
import type { IoHandle } from '../aio/handle.js';
import { CallbackId, TargetId } from '../aio/ids.js';
import { ResultStatus, type AioReturn } from '../aio/result.js';
import { IoError, ReadFailedError, ShortReadError } from '../base/errors.js';
import { FileError } from '../base/file-error.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { FileAdvice, loadAddon } from '../native/addon.js';
import { DATA_DIRECTORIES_MAX } from '../smgr/data-directories.js';
import type { ReadableRelation } from '../smgr/readable-relation.js';
import type { Fork, RelationLocator } from '../smgr/relation.js';
import { SmgrWord } from '../smgr/smgr-target.js';
import type { FileTable } from '../vfd/file-table.js';
import { fileTarget, holdingEntry, identifyFile } from '../vfd/file-target.js';
import type { FileContext } from '../vfd/file.js';
import type { ReopenCache } from '../vfd/reopen.js';
import type { Vfd } from '../vfd/vfd.js';

/** A tag has 32 bits for a block's number, of which the last is none. */
const MAX_BYTES = 0xffff_fffe * BLOCK_SIZE;
/** In the place of a data directory's number. */
const FILES_DIRECTORY = DATA_DIRECTORIES_MAX;

/** Words of the target's data; BLOCK and COUNT are where the callbacks of buffers look for them. */
const FileBlocksWord = {
  ENTRY: SmgrWord.ENTRY,
  GENERATION: SmgrWord.GENERATION,
  /** Bytes that the file has for this read: fewer than its blocks have at the end of the file. */
  BYTES: SmgrWord.DIRECTORY,
  BLOCK: SmgrWord.BLOCK,
  COUNT: SmgrWord.COUNT,
} as const;

export class FileBlocks implements ReadableRelation {
  readonly directoryNumber: number = FILES_DIRECTORY;
  readonly locator: RelationLocator;
  /** The digest, in hexadecimal digits. */
  readonly identity: string;
  /** Bytes, when it was opened. */
  readonly size: number;
  readonly #context: FileContext;
  readonly #vfd: Vfd;
  /** By their numbers: where pages are. */
  readonly #memories: readonly Uint8Array[];
  readonly #opened: BigIntStats;

  constructor(context: FileContext, vfd: Vfd, memories: readonly Uint8Array[]) {
    this.#context = context;
    this.#vfd = vfd;
    this.#memories = memories;
    this.#opened = this.#stat();
    this.size = Number(this.#opened.size);
    if (this.size > MAX_BYTES) throw new FileError('open', { path: vfd.path, errno: constants.errno.EFBIG });
    const digest = digestOf(this.#opened);
    this.identity = digest.toString('hex', 0, 12);
    this.locator = locatorOf(digest);
  }

  get blocks(): number {
    return Math.ceil(this.size / BLOCK_SIZE);
  }

  path(): string {
    return this.#vfd.path;
  }

  /** Whether its contents are as they were when it was opened. Looks at the open file, whatever its path leads to by now. */
  isUnchanged(): boolean {
    const { size, mtimeNs } = this.#stat();
    return size === this.#opened.size && mtimeNs === this.#opened.mtimeNs;
  }

  #stat(): BigIntStats {
    return fstatSync(this.#context.vfds.useOrThrow(this.#vfd), { bigint: true });
  }

  maxCombine(): number {
    return Infinity;
  }

  prepare(_fork: Fork, block: number): void {
    try {
      this.#context.vfds.useOrThrow(this.#vfd);
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      const { path } = this.#vfd;
      throw new ReadFailedError(`block ${block} of "${path}"`, {
        path,
        firstBlock: block,
        lastBlock: block,
        errno: error.errno,
        detail: `The file "${path}" cannot be opened.`,
      });
    }
  }

  startReadv(io: IoHandle, _fork: Fork, block: number, count: number): void {
    const { aio, vfds } = this.#context;
    const fd = vfds.useOrThrow(this.#vfd);
    const position = block * BLOCK_SIZE;
    const bytes = Math.min(count * BLOCK_SIZE, this.size - position);
    if (bytes < count * BLOCK_SIZE) this.#clearLastPage(io);
    io.setTarget(TargetId.FILE_BLOCKS, CallbackId.FILE_BLOCKS_READV);
    identifyFile(io, this.#vfd);
    io.setTargetWord(FileBlocksWord.BYTES, bytes);
    io.setTargetWord(FileBlocksWord.BLOCK, block);
    io.setTargetWord(FileBlocksWord.COUNT, count);
    aio.startReadv(io, fd, position);
  }

  /** The kernel writes over its beginning. Whoever reads the page waits for that, and finds zeroes behind it. */
  #clearLastPage(io: IoHandle): void {
    const last = io.iovCount - 1;
    const end = io.iovOffset(last) + io.iovLength(last);
    this.#memories[io.memory]?.fill(0, end - BLOCK_SIZE, end);
  }

  prefetch(_fork: Fork, block: number, count: number): boolean {
    const addon = loadAddon();
    if (addon === null || this.#vfd.direct) return false;
    const fd = this.#context.vfds.useOrThrow(this.#vfd);
    return addon.fadvise(fd, block * BLOCK_SIZE, count * BLOCK_SIZE, FileAdvice.WILL_NEED) === 0;
  }

  close(): void {
    this.#context.vfds.close(this.#vfd);
  }
}

/** The change of the inode counts, too: who sets the time of the contents back has not undone their change. */
function digestOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Buffer {
  return createHash('sha256').update([dev, ino, size, mtimeNs, ctimeNs].join(':')).digest();
}

function locatorOf(digest: Buffer): RelationLocator {
  return {
    tablespace: digest.readUInt32LE(0),
    database: digest.readUInt32LE(4),
    relation: digest.readUInt32LE(8),
  };
}

/** As the FILE target: its identity is an entry of the file table. */
export function fileBlocksTarget(table: FileTable, reopens: ReopenCache): AioTarget {
  return { ...fileTarget(table, reopens), name: 'file_blocks', callback: CallbackId.FILE_BLOCKS_READV };
}

/** Slot 0: from bytes to blocks, of which the file's last may be short. */
export function fileBlocksReadv(table: FileTable): AioCallback {
  return {
    name: 'file_blocks_readv',
    ...holdingEntry(table),
    completeShared: (io, result) => {
      if (result.value < 0) {
        result.status = ResultStatus.ERROR;
        result.reporter = CallbackId.FILE_BLOCKS_READV;
        result.errorData = -result.value;
        return;
      }
      const count = io.targetWord(FileBlocksWord.COUNT);
      const isAll = result.value >= io.targetWord(FileBlocksWord.BYTES);
      result.value = isAll ? count : Math.floor(result.value / BLOCK_SIZE);
      if (isAll) return;
      result.status = result.value === 0 ? ResultStatus.ERROR : ResultStatus.PARTIAL;
      result.reporter = CallbackId.FILE_BLOCKS_READV;
      result.errorData = 0;
    },
    report: (result) => readError(result),
  };
}

function readError({ description: path, targetData, errorData, status, value }: AioReturn): Error {
  const firstBlock = targetData[FileBlocksWord.BLOCK] as number;
  const lastBlock = firstBlock + (targetData[FileBlocksWord.COUNT] as number) - 1;
  const fields = { path, firstBlock, lastBlock };
  const what = `blocks ${firstBlock}..${lastBlock} of "${path}"`;
  if (errorData !== 0) return new ReadFailedError(what, { ...fields, errno: errorData });
  const got = status === ResultStatus.PARTIAL ? value * BLOCK_SIZE : 0;
  return new ShortReadError(what, got, targetData[FileBlocksWord.BYTES] as number, fields);
}
