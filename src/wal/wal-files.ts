/** The WAL's segment files, as one backend has them open; a missing one is made, filled with zeroes, and durable. */
import {
  closeSync,
  constants as fsConstants,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { WalFileError } from '../base/wal-errors.js';
import { errnoOf } from '../base/system-errors.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';
import { segmentFileName } from './segments.js';

const { ESTALE } = osConstants.errno;
/** Of the names of segments that are being made. */
export const DRAFT_PREFIX = 'xlogtemp.';
const ZEROES = new Uint8Array(1 << 20);
/** Segments that stay open here: the one that is written, and its neighbours. */
const OPEN_MAX = 3;

export interface WalFilesOptions {
  readonly directory: string;
  readonly timeline: number;
  readonly segmentSize: number;
  /** Past the page cache. */
  readonly direct: boolean;
  /** O_DSYNC. */
  readonly dataSync: boolean;
}

interface OpenSegment {
  readonly segment: number;
  readonly vfd: Vfd;
  readonly inode: number;
  readonly device: number;
}

export class WalFiles {
  readonly vfds: VfdCache;
  readonly #options: WalFilesOptions;
  readonly #slot: number;
  /** By segment number, the last used last. */
  readonly #open = new Map<number, OpenSegment>();
  #last: OpenSegment | null = null;

  constructor(vfds: VfdCache, slot: number, options: WalFilesOptions) {
    this.vfds = vfds;
    this.#slot = slot;
    this.#options = options;
  }

  /** Whether the segments are written past the page cache. */
  get direct(): boolean {
    return this.#options.direct;
  }

  path(segment: number): string {
    const { directory, timeline, segmentSize } = this.#options;
    return join(directory, segmentFileName(timeline, segment, segmentSize));
  }

  /**
   * The segment's file with a kernel descriptor. `isNew`: nothing was written to it yet, so that it is made if it is not
   * there. Throws a WalFileError, also when the file is not to be found any more where recovery would look for it: what is
   * written to a file that was removed is durable for nobody.
   */
  open(segment: number, isNew: boolean): { vfd: Vfd; fd: number } {
    const path = this.path(segment);
    try {
      const last = this.#last?.segment === segment ? this.#last : this.#use(segment, path, isNew);
      const now = statSync(path);
      if (now.ino !== last.inode || now.dev !== last.device) throw new WalFileError('open', path, ESTALE);
      return { vfd: last.vfd, fd: this.vfds.useOrThrow(last.vfd) };
    } catch (error) {
      throw WalFileError.of('open', error, path);
    }
  }

  #use(segment: number, path: string, isNew: boolean): OpenSegment {
    let opened = this.#open.get(segment);
    if (opened === undefined) {
      if (isNew && !existsSync(path)) this.make(segment);
      const { direct, dataSync } = this.#options;
      const { ino: inode, dev: device } = statSync(path);
      const vfd = this.vfds.open(path, { write: true, direct, dataSync });
      this.#syncName(vfd);
      opened = { segment, vfd, inode, device };
    }
    this.#open.delete(segment);
    this.#open.set(segment, opened);
    this.#last = opened;
    this.#closeOthers();
    return opened;
  }

  /** Whoever gave the file its name may not have come to this yet, and what is written to it is lost without. */
  #syncName(vfd: Vfd): void {
    try {
      syncDirectory(this.#options.directory);
    } catch (error) {
      this.vfds.close(vfd);
      throw error;
    }
  }

  #closeOthers(): void {
    for (const [segment, { vfd }] of this.#open) {
      if (this.#open.size <= OPEN_MAX) return;
      this.#open.delete(segment);
      this.vfds.close(vfd);
    }
  }

  /** Makes a segment's file, if there is none. Throws what `node:fs` throws. */
  make(segment: number): void {
    const { directory, timeline, segmentSize } = this.#options;
    const name = segmentFileName(timeline, segment, segmentSize);
    if (!existsSync(join(directory, name))) makeSegmentFile(directory, name, segmentSize, String(this.#slot));
  }

  closeAll(): void {
    for (const { vfd } of this.#open.values()) this.vfds.close(vfd);
    this.#open.clear();
    this.#last = null;
  }
}

/**
 * Under another name first, so that a segment is never seen that is not whole. Several threads may make the same one:
 * the first link gives it its name, and the others throw theirs away. Zeroes are written, not only promised: a write
 * into them then changes nothing but data. Throws what `node:fs` throws.
 */
export function makeSegmentFile(directory: string, name: string, segmentSize: number, maker: string): void {
  const draft = join(directory, `${DRAFT_PREFIX}${process.pid}.${maker}`);
  // One that is left over may be a segment's file by now, and our number that of who was killed before it unlinked it.
  rmSync(draft, { force: true });
  const fd = openSync(draft, fsConstants.O_WRONLY | fsConstants.O_CREAT | fsConstants.O_EXCL, 0o600);
  try {
    try {
      for (let at = 0; at < segmentSize;)
        at += writeSync(fd, ZEROES, 0, Math.min(ZEROES.length, segmentSize - at), at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    linkUnlessThere(draft, join(directory, name));
  } finally {
    unlinkSync(draft);
  }
  syncDirectory(directory);
}

/** False: there is one of the new name already. */
export function linkUnlessThere(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (errnoOf(error, 0) !== osConstants.errno.EEXIST) throw error;
    return false;
  }
}

/** A file's name is durable when its directory is. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, fsConstants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
