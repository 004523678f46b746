/**
 * Changes to a fork's files, at once and by the calling thread: the writing half of md.c, but for the write-back
 * of pages. Nothing is synchronized to disk unless `syncFork` is called.
 *
 * Two threads that change the same fork at the same time are the callers' mistake, as in PostgreSQL, where locks
 * forbid it.
 */
import {
  closeSync,
  constants as fsConstants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { dirname } from 'node:path';
import { ResourceExhaustedError } from '../base/errors.js';
import { RelationFileError } from '../base/relation-file-error.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { errnoOf } from '../base/system-errors.js';
import type { ForkSegments } from './fork-segments.js';
import { SEGMENT_BLOCKS } from './relation.js';

/** PostgreSQL's MaxBlockNumber. */
const MAX_BLOCK = 0xffff_fffe;
const ZEROES_BLOCKS = 32;
let zeroes: Uint8Array | undefined;

const segmentOf = (block: number): number => Math.floor(block / SEGMENT_BLOCKS);
const SEGMENT_BYTES = SEGMENT_BLOCKS * BLOCK_SIZE;

/** Makes the fork's first file, empty. EEXIST when there is one. */
export function createFork(files: ForkSegments): void {
  files.forget(0); // what is open has been unlinked, or this fails
  createSegment(files, 0, 'create');
}

function createSegment(files: ForkSegments, segment: number, operation: 'create' | 'extend'): void {
  const { O_RDWR, O_CREAT, O_EXCL } = fsConstants;
  const fd = files.vfds.openKernel(files.file(segment), O_RDWR | O_CREAT | O_EXCL, fileMode(files.directory));
  if (fd < 0) throw new RelationFileError(operation, { path: files.name(segment), errno: -fd });
  files.vfds.closeReopened(fd);
  try {
    syncDirectoryOf(files, segment, operation);
  } catch (error) {
    removeUnlessGone(files.file(segment)); // or the next caller takes it for a file that will stay
    throw error;
  }
}

function removeUnlessGone(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // What stays is an empty file; the error that is about to be thrown says why it was not made.
  }
}

/** Or the file could be gone after a power failure, although it was synchronized itself later. */
function syncDirectoryOf(files: ForkSegments, segment: number, operation: 'create' | 'extend'): void {
  try {
    const fd = openSync(dirname(files.file(segment)), fsConstants.O_RDONLY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    throw new RelationFileError(operation, {
      path: files.name(segment),
      errno: errnoOf(error, osConstants.errno.EIO),
    });
  }
}

/** PostgreSQL's: as its data directory, files are for their owner, and for the group to read if that is. */
function fileMode(directory: string): number {
  return (statSync(directory).mode & 0o040) !== 0 ? 0o640 : 0o600;
}

/**
 * Writes `count` pages, or as many of zeroes, from a block on that is not there yet. Blocks between the end and
 * that one become zeroes, too. After a failure the fork is as it was; where not even that could be done, the
 * error's detail says what is left.
 */
export function extendFork(
  files: ForkSegments,
  block: number,
  pages: Uint8Array | null,
  count: number,
): void {
  const end = files.blockCount();
  checkExtent(files, block, count, end);
  const undo: Undo[] = [];
  try {
    fillGap(files, end, block, undo);
    for (let at = block; at < block + count;) {
      const here = Math.min(block + count - at, SEGMENT_BLOCKS - (at % SEGMENT_BLOCKS));
      const fd = prepareSegment(files, segmentOf(at), undo);
      const position = (at % SEGMENT_BLOCKS) * BLOCK_SIZE;
      if (pages === null) writeZeroes(fd, position, here);
      else writeAll(fd, pages, (at - block) * BLOCK_SIZE, here * BLOCK_SIZE, position);
      at += here;
    }
  } catch (error) {
    throw failedExtend(files, block, count, error, undo);
  }
}

function checkExtent(files: ForkSegments, block: number, count: number, end: number): void {
  if (!Number.isInteger(block) || block < 0) throw new RangeError(`${block} is not a block number`);
  if (!Number.isInteger(count) || count < 1)
    throw new RangeError(`${count} is not a number of blocks to add`);
  if (block + count - 1 > MAX_BLOCK) {
    throw new ResourceExhaustedError(`cannot extend file "${files.path}" beyond ${MAX_BLOCK} blocks`);
  }
  if (block < end) {
    throw new RangeError(`block ${block} of "${files.path}" cannot be added: it has ${end} blocks already`);
  }
}

/** What a segment was before: its bytes, or -1 when there was none. */
interface Undo {
  segment: number;
  bytes: number;
}

/** A descriptor of a segment, which is made if it is not there, but for the first; how it was is noted once. */
function prepareSegment(files: ForkSegments, segment: number, undo: Undo[]): number {
  const noted = undo.some((one) => one.segment === segment);
  if (!noted && segment > 0 && files.stat(segment) === null) {
    createSegment(files, segment, 'extend');
    undo.push({ segment, bytes: -1 });
    return files.writer(segment, 'extend');
  }
  const fd = files.writer(segment, 'extend');
  if (!noted) undo.push({ segment, bytes: fstatSync(fd).size });
  return fd;
}

/** Segments before the last are full: their missing part becomes a hole, as in PostgreSQL. */
function fillGap(files: ForkSegments, end: number, block: number, undo: Undo[]): void {
  for (let segment = segmentOf(end); segment < segmentOf(block); segment++) {
    ftruncateSync(prepareSegment(files, segment, undo), SEGMENT_BYTES);
  }
}

function writeAll(fd: number, bytes: Uint8Array, from: number, length: number, position: number): void {
  for (let done = 0; done < length;) {
    // After a short write the next one says why.
    done += writeSync(fd, bytes, from + done, length - done, position + done);
  }
}

/** Written, not left as a hole: a later write of these blocks then finds its space. */
function writeZeroes(fd: number, position: number, blocks: number): void {
  zeroes ??= new Uint8Array(ZEROES_BLOCKS * BLOCK_SIZE);
  for (let done = 0; done < blocks; done += ZEROES_BLOCKS) {
    const length = Math.min(ZEROES_BLOCKS, blocks - done) * BLOCK_SIZE;
    writeAll(fd, zeroes, 0, length, position + done * BLOCK_SIZE);
  }
}

function failedExtend(
  files: ForkSegments,
  block: number,
  count: number,
  cause: unknown,
  undo: Undo[],
): Error {
  const last = block + count - 1;
  const segment = undo.at(-1)?.segment ?? segmentOf(block);
  const fields = { path: files.name(segment), firstBlock: block, lastBlock: last };
  const detail = undoAll(files, undo);
  return RelationFileError.of('extend', cause, detail === '' ? fields : { ...fields, detail });
}

/** Takes back what was added, the last first. Returns what could not be, as sentences. */
function undoAll(files: ForkSegments, undo: readonly Undo[]): string {
  const left: string[] = [];
  for (const { segment, bytes } of undo.toReversed()) {
    try {
      if (bytes < 0) unlinkSync(files.file(segment));
      else truncateSync(files.file(segment), bytes);
    } catch (error) {
      const before = bytes < 0 ? 'was not there' : `had ${bytes} bytes`;
      left.push(
        `File "${files.name(segment)}" ${before} before and could not be made so again (${String(error)}).`,
      );
    }
  }
  return left.join(' ');
}

/**
 * Cuts the fork to its first `blocks` blocks. Segments behind are truncated to zero and kept, the last first, so
 * that the fork is consistent in between.
 */
export function truncateFork(files: ForkSegments, blocks: number): void {
  if (!Number.isInteger(blocks) || blocks < 0) throw new RangeError(`${blocks} is not a number of blocks`);
  const current = files.blockCount();
  if (blocks > current) {
    throw new RangeError(
      `could not truncate file "${files.path}" to ${blocks} blocks: it's only ${current} blocks now`,
    );
  }
  if (blocks === current) return;
  for (let segment = segmentOf(current - 1); segment >= segmentOf(blocks); segment--) {
    const kept = Math.max(0, blocks - segment * SEGMENT_BLOCKS);
    if (kept < SEGMENT_BLOCKS) cutSegment(files, segment, kept, blocks);
  }
}

function cutSegment(files: ForkSegments, segment: number, kept: number, wanted: number): void {
  const fd = files.writer(segment, 'truncate');
  try {
    ftruncateSync(fd, kept * BLOCK_SIZE);
    const { dev, ino } = fstatSync(fd, { bigint: true });
    files.vfds.table.raiseEpochsOf(dev, ino);
  } catch (error) {
    throw RelationFileError.of('truncate', error, {
      path: files.name(segment),
      firstBlock: wanted,
      detail: `The fork was to have ${wanted} blocks; segments behind this one are cut already.`,
    });
  } finally {
    files.forget(segment);
  }
}

/**
 * Removes all segments, the last first: after a failure, what is left is found by the next call. Returns how many
 * there were.
 */
export function unlinkFork(files: ForkSegments): number {
  files.forget(0);
  let count = 0;
  while (files.stat(count) !== null) count++;
  for (let segment = count - 1; segment >= 0; segment--) removeSegment(files, segment);
  return count;
}

function removeSegment(files: ForkSegments, segment: number): void {
  const path = files.file(segment);
  const stat = files.stat(segment);
  freeSpace(path);
  try {
    unlinkSync(path);
  } catch (error) {
    throw RelationFileError.of('remove', error, { path: files.name(segment) });
  }
  if (stat !== null) files.vfds.table.raiseEpochsOf(stat.dev, stat.ino);
}

/** Descriptors that others keep open must not keep the space. Who may unlink a file need not be allowed to write to it. */
function freeSpace(path: string): void {
  try {
    truncateSync(path, 0);
  } catch (error) {
    const { EACCES, EPERM, EROFS, EISDIR } = osConstants.errno;
    if (![EACCES, EPERM, EROFS, EISDIR].includes(errnoOf(error, 0))) throw error;
  }
}

/** fsync of every segment, those that a truncation left behind included: PostgreSQL's smgrimmedsync. */
export function syncFork(files: ForkSegments): void {
  for (let segment = 0; files.stat(segment) !== null; segment++) {
    try {
      fsyncSync(files.writer(segment, 'sync'));
    } catch (error) {
      throw error instanceof RelationFileError
        ? error
        : RelationFileError.of('sync', error, { path: files.name(segment) });
    }
  }
}
