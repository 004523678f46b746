/** The bytes of segment files, through a stream that looks ahead across them: the next chunks are in flight while records are decoded. */
import { constants } from 'node:os';
import { IoError } from '../base/errors.js';
import { FileStream, type FileChunk, type FileRange } from '../read-stream/file-stream.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import type { File, FileContext } from '../vfd/file.js';
import type { Lsn } from '../wal/lsn.js';
import { WAL_PAGE_SIZE } from '../wal/page-header.js';
import { segmentOf } from '../wal/segments.js';
import type { SourceEnd, WalChunk, WalSource } from '../wal/source.js';

export interface SegmentStreamOptions {
  readonly segmentSize: number;
  readonly timeline: number;
  /** Where reading begins. */
  readonly start: Lsn;
  /** Of a segment's file. */
  readonly pathOf: (segment: number) => string;
  /** Opens a file for reading. Throws an IoError. */
  readonly open: (path: string) => File;
  /** Number of the last segment that is to be read, where there may be more. */
  readonly lastSegment?: number | undefined;
}

/** Large enough that a read costs little beside its bytes, small enough to stay in the processor's cache. */
export const CHUNK_BYTES: number = 256 * 1024;
/** Reads in flight. */
export const DEPTH = 4;

interface SegmentRange extends FileRange {
  readonly segment: number;
  readonly isLastOfFile: boolean;
}

interface MutableChunk extends WalChunk {
  start: number;
  length: number;
  lsn: Lsn;
  expected: number;
}

export class SegmentStream implements WalSource {
  readonly segmentSize: number;
  readonly timeline: number;
  end: SourceEnd = 'missing-segment';
  readonly #options: SegmentStreamOptions;
  readonly #stream: FileStream<SegmentRange>;
  readonly #chunk: MutableChunk;
  readonly #files = new Set<File>();
  #given: FileChunk<SegmentRange> | null = null;
  /** What is to be read next: a segment, and where in it; its file, if part of it was asked for already. */
  #segment: number;
  #position = 0;
  #file: File | null = null;

  constructor(context: FileContext, options: SegmentStreamOptions) {
    this.#options = options;
    this.segmentSize = options.segmentSize;
    this.timeline = options.timeline;
    this.#segment = segmentOf(options.start, options.segmentSize);
    this.#chunk = { bytes: context.bytes, start: 0, length: 0, lsn: 0, expected: 0 };
    const sizes = { chunkBytes: CHUNK_BYTES, depth: DEPTH };
    this.#stream = new FileStream<SegmentRange>(context, () => this.#nextRange(), sizes);
  }

  next(): WalChunk | null | Pending {
    const next = this.#stream.next();
    if (next === PENDING) return PENDING;
    this.#closeIfDone();
    if (next === null) return null;
    this.#given = next;
    const error = this.#stream.errorOf(next);
    if (error !== null) throw error;
    const chunk = this.#chunk;
    chunk.start = next.memoryOffset;
    chunk.length = next.bytes;
    chunk.expected = next.length;
    chunk.lsn = next.range.segment * this.segmentSize + next.position;
    return chunk;
  }

  /** Step: waits for what is in flight, and closes the files. */
  close(): true | Pending {
    if (this.#stream.close() === PENDING) return PENDING;
    for (const file of this.#files) file.close();
    this.#files.clear();
    return true;
  }

  #closeIfDone(): void {
    const given = this.#given;
    this.#given = null;
    if (given?.isLast !== true || !given.range.isLastOfFile) return;
    this.#files.delete(given.range.file);
    given.range.file.close();
  }

  #nextRange(): SegmentRange | null {
    this.#file ??= this.#openSegment();
    const { segmentSize } = this;
    const file = this.#file;
    if (file === null) return null;
    const segment = this.#segment;
    const position = this.#position;
    // The first page comes first, for its long header; then those from the one where reading begins.
    const skipTo =
      position === 0 && segment === segmentOf(this.#options.start, segmentSize) ? this.#startPage() : 0;
    const length = skipTo > 0 ? WAL_PAGE_SIZE : segmentSize - position;
    const isLastOfFile = skipTo === 0;
    if (isLastOfFile) {
      this.#segment++;
      this.#position = 0;
      this.#file = null;
    } else {
      this.#position = skipTo;
    }
    return { file, position, length, segment, isLastOfFile };
  }

  /** Where the page with the start lies in its segment. */
  #startPage(): number {
    const position = this.#options.start % this.segmentSize;
    return position - (position % WAL_PAGE_SIZE);
  }

  #openSegment(): File | null {
    const { lastSegment, pathOf, open } = this.#options;
    if (lastSegment !== undefined && this.#segment > lastSegment) {
      this.end = 'end-of-input';
      return null;
    }
    try {
      const file = open(pathOf(this.#segment));
      this.#files.add(file);
      return file;
    } catch (error) {
      if (error instanceof IoError && error.errno === constants.errno.ENOENT) return null;
      throw error;
    }
  }
}
