/** The WAL's segment files, as one backend has them open; a missing one is made, filled with zeroes, and durable. */
import {
  closeSync,
  constants as fsConstants,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { WalFileError } from '../base/wal-errors.js';
import { errnoOf } from '../base/system-errors.js';
import type { Vfd, VfdCache } from '../vfd/vfd.js';
import { segmentFileName } from './segments.js';

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

export class WalFiles {
  readonly vfds: VfdCache;
  readonly #options: WalFilesOptions;
  readonly #slot: number;
  /** By segment number, the last used last. */
  readonly #open = new Map<number, Vfd>();
  #last: Vfd | null = null;
  #lastSegment = -1;

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

  /** The segment's file with a kernel descriptor. Throws a WalFileError. */
  open(segment: number): { vfd: Vfd; fd: number } {
    const last = this.#last;
    try {
      const vfd = segment === this.#lastSegment && last !== null ? last : this.#use(segment);
      return { vfd, fd: this.vfds.useOrThrow(vfd) };
    } catch (error) {
      throw WalFileError.of('open', error, this.path(segment));
    }
  }

  #use(segment: number): Vfd {
    let vfd = this.#open.get(segment);
    if (vfd === undefined) {
      const path = this.path(segment);
      if (!existsSync(path)) this.make(segment);
      const { direct, dataSync } = this.#options;
      vfd = this.vfds.open(path, { write: true, direct, dataSync });
    }
    this.#open.delete(segment);
    this.#open.set(segment, vfd);
    this.#last = vfd;
    this.#lastSegment = segment;
    this.#closeOthers();
    return vfd;
  }

  #closeOthers(): void {
    for (const [segment, vfd] of this.#open) {
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
    for (const vfd of this.#open.values()) this.vfds.close(vfd);
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
  const draft = join(directory, `xlogtemp.${process.pid}.${maker}`);
  const fd = openSync(draft, fsConstants.O_WRONLY | fsConstants.O_CREAT | fsConstants.O_TRUNC, 0o600);
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
