/** Plain files that a backend has opened for its user, and the memory that they are read into without a copy. */
import { constants } from 'node:fs';
import { checkBoolean, checkInteger, checkOptions, pathOf } from '../file/checks.js';
import { openVfd } from '../file/descriptors.js';
import { FileHandle, type FileHandleContext } from '../file/file-handle.js';
import { FileIo } from '../file/file-io.js';
import { FileReadStream } from '../file/file-read-stream.js';
import { FileWriteStream } from '../file/file-write-stream.js';
import { IoBuffers, type IoBuffer } from '../file/io-buffer.js';
import type { FileReadStreamOptions, FileWriteStreamOptions } from '../file/stream-options.js';
import { FileBlocks } from '../cache/file-blocks.js';
import { loadAddon } from '../native/addon.js';
import type { StreamFile } from '../file/stream-file.js';
import type { FileContext } from '../vfd/file.js';
import { openFlagsOf } from '../vfd/open-flags.js';
import type { Vfd } from '../vfd/vfd.js';

/** What direct I/O needs where the kernel does not say more. */
const DIRECT_ALIGNMENT = 4096;

export interface OpenFileOptions {
  /** As `fs.open` takes them. Default: `r`. */
  flags?: string | number | undefined;
  /** Of a file that is made, less the umask. Default: 0o666. */
  mode?: number | undefined;
  /** Past the page cache: O_DIRECT. Positions and lengths of reads need not be aligned: what is around them is read as well. */
  direct?: boolean | undefined;
}

/** Of `createReadStream`. */
export type OpenReadStreamOptions = FileReadStreamOptions & OpenFileOptions;
/** Of `createWriteStream`. */
export type OpenWriteStreamOptions = FileWriteStreamOptions & Omit<OpenFileOptions, 'direct'>;

/** A handle that may be forgotten: nothing here keeps it. */
interface OpenFile {
  readonly vfd: Vfd;
  /** Where the program opened it. */
  readonly where: string;
}

export class BackendFiles {
  readonly #files: FileContext;
  readonly #handles: FileHandleContext;
  readonly #open = new Map<number, OpenFile>();
  readonly #keys = new WeakMap<FileHandle, number>();
  readonly #forgotten = new FinalizationRegistry((key: number) => this.#closeForgotten(key));
  #lastKey = 0;

  constructor(files: FileContext) {
    this.#files = files;
    this.#handles = {
      io: new FileIo(files),
      buffers: new IoBuffers(files.ioMemory, files.bytes),
      directAlignment,
      closed: (handle) => this.#closed(handle),
    };
  }

  /** Throws a FileError, as `fs.open` would; an IoError for what is no regular file. `stack`: of what the program called. */
  open(
    path: string | URL,
    options: OpenFileOptions | null | undefined,
    stack: string | undefined,
  ): FileHandle {
    const { flags, mode, direct = false } = checkOptions(options);
    checkBoolean('direct', direct);
    const wanted = openFlagsOf(flags ?? 'r') | (direct ? constants.O_DIRECT : 0);
    const vfd = openVfd(
      this.#files.vfds,
      pathOf(path),
      wanted,
      checkInteger('mode', mode ?? 0o666, 0, 0o7777),
    );
    const handle = new FileHandle(this.#handles, vfd);
    const key = ++this.#lastKey;
    this.#open.set(key, { vfd, where: callerOf(stack) });
    this.#keys.set(handle, key);
    this.#forgotten.register(handle, key, handle);
    return handle;
  }

  readStream(path: string | URL, options: OpenReadStreamOptions, stack: string | undefined): FileReadStream {
    return new FileReadStream(pathOf(path), this.#opening(path, { flags: 'r', ...options }, stack), options);
  }

  writeStream(
    path: string | URL,
    options: OpenWriteStreamOptions,
    stack: string | undefined,
  ): FileWriteStream {
    return new FileWriteStream(pathOf(path), this.#opening(path, { flags: 'w', ...options }, stack), options);
  }

  #opening(
    path: string | URL,
    options: OpenFileOptions,
    stack: string | undefined,
  ): () => Promise<StreamFile> {
    return async () => this.open(path, options, stack).forStreams();
  }

  /** For the shared pool, whose pages are in `memories`. */
  openBlocks(path: string | URL, direct: boolean, memories: readonly Uint8Array[]): FileBlocks {
    checkBoolean('direct', direct);
    const vfd = openVfd(
      this.#files.vfds,
      pathOf(path),
      constants.O_RDONLY | (direct ? constants.O_DIRECT : 0),
      0,
    );
    try {
      return new FileBlocks(this.#files, vfd, memories);
    } catch (error) {
      this.#files.vfds.close(vfd);
      throw error;
    }
  }

  allocate(bytes: number): IoBuffer {
    return this.#handles.buffers.allocate(bytes);
  }

  #closed(handle: FileHandle): void {
    this.#forgotten.unregister(handle);
    this.#open.delete(this.#keys.get(handle) ?? 0);
  }

  #closeForgotten(key: number): void {
    const file = this.#open.get(key);
    if (file === undefined) return;
    this.#open.delete(key);
    this.#warn(file, 'was never closed; it is now that nothing refers to it any more');
    this.#files.vfds.close(file.vfd);
  }

  /** The backend closes: its files are closed with it. */
  leave(): void {
    for (const file of this.#open.values()) this.#warn(file, 'is still open when its backend closes');
    this.#open.clear();
  }

  #warn({ vfd, where }: OpenFile, what: string): void {
    const { thread } = this.#files.aio;
    thread.log({ level: 'warning', message: `the file "${vfd.path}" ${what}; it was opened ${where}` });
  }
}

/** The message, the method of ours that made the stack, and who called that. */
function callerOf(stack = ''): string {
  return stack.split('\n')[2]?.trim() ?? 'at an unknown place';
}

function directAlignment(path: string): number {
  const out = new Int32Array(2);
  const addon = loadAddon();
  if (addon === null || addon.directAlignment(path, out) < 0) return DIRECT_ALIGNMENT;
  return Math.max(DIRECT_ALIGNMENT, ...out);
}
