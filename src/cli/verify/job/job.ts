/**
 * What one job thread does: takes ranges of segment files, reads them through a stream that looks ahead across
 * files, and tells what it found. Whole chunks are judged by the completion callback, in whichever thread
 * completes; the job itself looks only at those in which the callback counted suspicious pages.
 *
 * It blocks its thread for as long as it has work. Messages come in between two ranges.
 */
import { CallbackId } from '../../../aio/ids.js';
import { IoError } from '../../../base/errors.js';
import type { Backend } from '../../../instance/backend.js';
import { createPageKernel, type PageKernel } from '../../../page/page-kernel.js';
import { hasChecksumMismatch, PageVerdict, VerifyMode } from '../../../page/page-verdict.js';
import { FileStream, type FileChunk } from '../../../read-stream/file-stream.js';
import { verifyPagesData } from '../../../smgr/verify-pages.js';
import type { File } from '../../../vfd/file.js';
import { BlockReader, openIfExists } from './block-reader.js';
import { Doubts } from './doubts.js';
import {
  noFindings,
  type Findings,
  type FromJob,
  type JobData,
  type ScanRange,
  type ToJob,
} from './protocol.js';
import type { RunControl } from './run-control.js';

const TELL_MILLIS = 100;
/** `pd_checksum` in a page's header. */
const STORED_CHECKSUM = 8;

interface OpenRange {
  readonly file: File;
  readonly scan: ScanRange;
  readonly position: number;
  readonly length: number;
}

export interface JobPort {
  tell(message: FromJob): void;
  /** The next message, if there is one. */
  poll(): ToJob | null;
}

export class Job {
  readonly #backend: Backend;
  readonly #data: JobData;
  readonly #control: RunControl;
  readonly #port: JobPort;
  readonly #view: DataView;
  readonly #reader: BlockReader;
  readonly #doubts: Doubts;
  readonly #kernels = new Map<number, PageKernel>();
  readonly #ranges: ScanRange[] = [];
  readonly #files = new Set<File>();
  #finishing = false;
  #findings: Findings = noFindings();
  #toldAt = 0;

  constructor(backend: Backend, data: JobData, control: RunControl, port: JobPort) {
    this.#backend = backend;
    this.#data = data;
    this.#control = control;
    this.#port = port;
    const { bytes } = backend.files;
    this.#view = new DataView(bytes.buffer);
    this.#reader = new BlockReader(backend, data.direct);
    this.#doubts = new Doubts(this.#reader, bytes, control, {
      isRight: (range, block, offset) => this.#isRight(range, block, offset),
      bad: (range, block, offset) => this.#bad(range, block, offset),
      healed: () => this.#findings.inFlux++,
      unreadable: (range, message) => this.#problem(range, message),
    });
  }

  /** Does what it was sent, and whatever is sent meanwhile. True: it was told to finish, and has. */
  handle(message: ToJob): boolean {
    this.#receive(message);
    this.#scan();
    if (!this.#finishing) return false;
    this.#doubts.settleAll();
    this.#tell();
    this.#reader.close();
    return true;
  }

  /** Blocks that are still in doubt. */
  get undecided(): number {
    return this.#doubts.count;
  }

  #receive(message: ToJob): void {
    if ('ranges' in message) this.#ranges.push(...message.ranges.toReversed());
    else this.#finishing = true;
  }

  // --- scanning ----------------------------------------------------------------------------------

  #scan(): void {
    const { waits } = this.#backend.aio;
    const { chunkBytes, depth } = this.#data;
    const stream = new FileStream<OpenRange>(this.#backend.files, () => this.#nextRange(), {
      chunkBytes,
      depth,
      prepare: (io, { scan }, position) => {
        io.registerCallback(CallbackId.VERIFY_PAGES, verifyPagesData(VerifyMode.SCAN, scan.blockSize));
        return scan.segmentFirstBlock + position / scan.blockSize;
      },
    });
    const next = stream.next.bind(stream);
    try {
      for (let chunk = waits.block(next); chunk !== null; chunk = waits.block(next)) {
        this.#look(chunk, stream.errorOf(chunk));
        if (chunk.isLast) this.#close(chunk.range.file);
        if (this.#control.stopped) break;
        this.#doubts.settleDue();
        this.#tellNowAndThen();
        this.#control.pace(chunk.bytes);
      }
    } finally {
      waits.block(() => stream.close());
      for (const file of this.#files) this.#close(file); // some are left when it was stopped
    }
    this.#tell();
  }

  #nextRange(): OpenRange | null {
    while (!this.#control.stopped) {
      const scan = this.#takeRange();
      if (scan === null) return null;
      const file = this.#open(scan);
      if (file === null) continue;
      const { position, length } = scan;
      if (length > 0) return { file, scan, position, length };
      this.#close(file); // that it could be opened is all there is to know
    }
    return null;
  }

  #takeRange(): ScanRange | null {
    while (this.#ranges.length === 0) {
      const message = this.#finishing ? null : this.#port.poll();
      if (message === null) return null;
      this.#receive(message);
    }
    const range = this.#ranges.pop() as ScanRange;
    if (this.#ranges.length === 0) this.#port.tell({ wantsWork: true });
    return range;
  }

  #open(range: ScanRange): File | null {
    try {
      const file = openIfExists(this.#backend, range.path, this.#data.direct);
      if (file === null && !range.online) this.#problem(range, `"${range.displayPath}" is gone`);
      if (file === null) return null;
      this.#files.add(file);
      if (range.position === 0) this.#findings.files++;
      return file;
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#problem(range, error.message, error.hint);
      return null;
    }
  }

  #close(file: File): void {
    this.#files.delete(file);
    file.close();
  }

  // --- judging -----------------------------------------------------------------------------------

  #look(chunk: FileChunk<OpenRange>, error: Error | null): void {
    const { scan } = chunk.range;
    const { blockSize } = scan;
    const firstBlock = chunk.position / blockSize;
    if (error !== null && !(error instanceof IoError)) throw error;
    const bytes = error === null ? chunk.bytes : 0;
    const pages = Math.floor(bytes / blockSize);
    this.#count(pages, blockSize);
    if (bytes > 0 && chunk.result.reporter === CallbackId.VERIFY_PAGES) {
      this.#judge(scan, firstBlock, chunk.memoryOffset, pages);
    }
    // Whatever the reason for fewer bytes (the file's end, a bad sector), block by block it comes out.
    if (bytes < chunk.length)
      this.#readSingly(scan, firstBlock + pages, firstBlock + chunk.length / blockSize);
  }

  #count(pages: number, blockSize: number): void {
    this.#findings.blocks += pages;
    this.#findings.bytes += pages * blockSize;
  }

  #judge(range: ScanRange, firstBlock: number, offset: number, pages: number): void {
    const { blockSize, segmentFirstBlock } = range;
    const kernel = this.#kernel(blockSize);
    for (let page = 0; page < pages; page++) {
      const block = segmentFirstBlock + firstBlock + page;
      page += kernel.verifyRun(offset + page * blockSize, block, pages - page, VerifyMode.SCAN);
      if (page === pages) return;
      const at = offset + page * blockSize;
      if (!this.#isRight(range, firstBlock + page, at))
        this.#doubts.add(range, firstBlock + page, at, blockSize);
    }
  }

  /** Whether the checksum is right; what it may hide is noted. */
  #isRight(range: ScanRange, block: number, offset: number): boolean {
    const verdict = this.#kernel(range.blockSize).verdict(offset, range.segmentFirstBlock + block);
    if (hasChecksumMismatch(verdict)) return false;
    const { displayPath: path, dataDirectory } = range;
    if (verdict === PageVerdict.STRUCTURE) this.#findings.structural.push({ path, block, dataDirectory });
    return true;
  }

  #bad(range: ScanRange, block: number, offset: number): void {
    const { displayPath: path, dataDirectory, blockSize, segmentFirstBlock } = range;
    const stored = this.#view.getUint16(offset + STORED_CHECKSUM, true);
    const computed = this.#kernel(blockSize).checksum(offset, segmentFirstBlock + block);
    this.#findings.bad.push({ path, block, stored, computed, dataDirectory });
  }

  #kernel(blockSize: number): PageKernel {
    let kernel = this.#kernels.get(blockSize);
    if (kernel === undefined) {
      const { memories } = this.#data.handle;
      kernel = createPageKernel(memories[this.#backend.files.memory] as WebAssembly.Memory, blockSize);
      this.#kernels.set(blockSize, kernel);
    }
    return kernel;
  }

  /** After a chunk that was not read as a whole: the blocks from `first` to before `end`, or to the file's end. */
  #readSingly(range: ScanRange, first: number, end: number): void {
    let firstFailed = -1;
    let lastFailed = -1;
    let why: IoError | null = null;
    for (let block = first; block < end && !this.#control.stopped; block++) {
      try {
        const present = this.#reader.read(range, block);
        if (present <= 0) break;
        const { offset } = this.#reader;
        if (present < range.blockSize) {
          this.#doubts.add(range, block, offset, present);
          break;
        }
        this.#count(1, range.blockSize);
        this.#judge(range, block, offset, 1);
      } catch (error) {
        if (!(error instanceof IoError)) throw error;
        why ??= error;
        if (firstFailed < 0) firstFailed = block;
        lastFailed = block;
      }
    }
    if (why === null) return;
    const blocks =
      firstFailed === lastFailed ? `block ${firstFailed}` : `blocks ${firstFailed} to ${lastFailed}`;
    this.#problem(range, `${blocks} of "${range.displayPath}" could not be read: ${why.message}`, why.hint);
  }

  // --- telling -----------------------------------------------------------------------------------

  #problem({ displayPath: path }: ScanRange, message: string, hint?: string): void {
    this.#findings.problems.push({ path, message, hint });
  }

  #tellNowAndThen(): void {
    if (performance.now() - this.#toldAt >= TELL_MILLIS) this.#tell();
  }

  #tell(): void {
    this.#toldAt = performance.now();
    this.#port.tell({ findings: this.#findings });
    this.#findings = noFindings();
  }
}
