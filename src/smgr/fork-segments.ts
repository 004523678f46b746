/**
 * The segment files of one fork, as one backend has them open: md.c's MdfdVecs. Read through descriptors that
 * cannot write, so that reading needs no right to write; the one that was written to last is open a second time.
 *
 * Other backends truncate and unlink files under us. They raise the epochs of the file table's entries, which is
 * looked at before a file is used, so that nothing goes to a file that is not the relation's any more. A file
 * that has no entry (the table is full) is found out when its size is looked at: then by its count of links.
 */
import { fstatSync, statSync, type BigIntStats } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { RelationFileError, type RelationFileOperation } from '../base/relation-file-error.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { errnoOf } from '../base/system-errors.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';
import { SEGMENT_BLOCKS, segmentPath } from './relation.js';

export class ForkSegments {
  readonly vfds: VfdCache;
  /** Of the fork's first segment, relative to the data directory. */
  readonly path: string;
  readonly directory: string;
  readonly #direct: boolean;
  readonly #open: Vfd[] = [];
  #writer: Vfd | null = null;
  #writerSegment = 0;

  constructor(vfds: VfdCache, directory: string, path: string, direct: boolean) {
    this.vfds = vfds;
    this.directory = directory;
    this.path = path;
    this.#direct = direct;
  }

  /** What messages call a segment's file. */
  name(segment: number): string {
    return segmentPath(this.path, segment);
  }

  file(segment: number): string {
    return join(this.directory, this.name(segment));
  }

  /** What the file system says of a segment's file; null when there is none. */
  stat(segment: number): BigIntStats | null {
    try {
      return statSync(this.file(segment), { bigint: true });
    } catch (error) {
      if (errnoOf(error, 0) === osConstants.errno.ENOENT) return null;
      throw RelationFileError.of('stat', error, { path: this.name(segment) });
    }
  }

  /** A segment that was opened before. */
  opened(segment: number): Vfd | undefined {
    return this.#open[segment];
  }

  /** Opens a segment for reading; null when it does not exist and need not. */
  open(segment: number, mustExist: boolean): Vfd | null {
    const known = this.#open[segment];
    if (known !== undefined && this.vfds.isCurrent(known)) return known;
    this.#forgetStale(segment);
    // Segments are opened in order: a later file without the earlier ones is not part of the relation.
    for (let next = this.#open.length; next <= segment; next++) {
      if (!mustExist && this.stat(next) === null) return null;
      this.#open.push(this.vfds.open(this.file(next), { direct: this.#direct }));
    }
    return this.#open[segment] as Vfd;
  }

  #forgetStale(last: number): void {
    for (let segment = Math.min(last, this.#open.length - 1); segment >= 0; segment--) {
      if (!this.vfds.isCurrent(this.#open[segment] as Vfd)) this.forget(segment);
    }
  }

  /** Blocks of the fork, by the sizes of its files; 0 when there is none. A torn block at the end does not count. */
  blockCount(): number {
    // What lies before a full segment is full: who truncates, cuts the later ones first.
    let segment = Math.max(0, this.#open.length - 1);
    while (segment > 0 && this.#blocksOf(segment - 1) < SEGMENT_BLOCKS) segment--;
    for (; ; segment++) {
      const blocks = this.#blocksOf(segment);
      if (blocks < SEGMENT_BLOCKS) return segment * SEGMENT_BLOCKS + blocks;
    }
  }

  #blocksOf(segment: number): number {
    for (;;) {
      const vfd = this.open(segment, false);
      if (vfd === null) return 0;
      const { nlink, size } = fstatSync(this.vfds.useOrThrow(vfd));
      if (nlink > 0) return Math.floor(size / BLOCK_SIZE);
      this.forget(segment); // unlinked; another may be in its place
    }
  }

  /** A descriptor to write to an existing segment with. `operation` is what an error names. */
  writer(segment: number, operation: RelationFileOperation): number {
    const vfd = this.openWriter(segment, operation);
    try {
      return this.vfds.useOrThrow(vfd);
    } catch (error) {
      throw RelationFileError.of(operation, error, { path: this.name(segment) });
    }
  }

  /** The same, as a file that others can open again. */
  openWriter(segment: number, operation: RelationFileOperation): Vfd {
    if (this.#writer !== null && (this.#writerSegment !== segment || !this.#isWriterCurrent(this.#writer)))
      this.#closeWriter();
    try {
      this.#writer ??= this.vfds.open(this.file(segment), { write: true });
      this.#writerSegment = segment;
      return this.#writer;
    } catch (error) {
      throw RelationFileError.of(operation, error, { path: this.name(segment) });
    }
  }

  #isWriterCurrent(writer: Vfd): boolean {
    if (!this.vfds.isCurrent(writer)) return false;
    const fd = this.vfds.use(writer);
    return fd >= 0 && fstatSync(fd).nlink > 0;
  }

  #closeWriter(): void {
    if (this.#writer === null) return;
    this.vfds.close(this.#writer);
    this.#writer = null;
  }

  /** Closes the files from a segment on; with io_uring, this waits for what is in flight on them. */
  forget(from: number): void {
    if (this.#writerSegment >= from) this.#closeWriter();
    for (const vfd of this.#open.splice(from)) this.vfds.close(vfd);
  }
}
