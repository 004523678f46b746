/**
 * The file that is measured: one that is there, of which only is read, or a scratch file in a directory. That is made under a
 * name that nobody has, and loses it at once where the system can open a file without a name: whatever happens to the
 * program, nothing stays behind.
 */
import { randomBytes, randomFillSync } from 'node:crypto';
import {
  closeSync,
  constants,
  fdatasyncSync,
  openSync,
  rmSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { IoError, SettingError } from '../../base/errors.js';
import { errnoOf } from '../../base/system-errors.js';
import { FileAdvice, loadAddon } from '../../native/addon.js';
import { formatBytes } from '../output/format.js';

const { ENOENT } = osConstants.errno;
const CHUNK_BYTES = 2 ** 20;
/** Of what is free, at most; the rest is for others. */
const FREE_SHARE = 0.5;
const BYTES_MIN = 2 ** 20;

export interface BenchFile extends Disposable {
  /** To be opened: where the file is found, which for a scratch file is no place in a directory. */
  readonly path: string;
  readonly bytes: number;
  /** It is ours: it may be written to. */
  readonly isScratch: boolean;
  /** Has the kernel forget what it has in the page cache. Null, or why it will not. */
  drop(): string | null;
}

/** Throws an IoError or a SettingError, with a sentence. `signal`: while the scratch file is filled. */
export async function openBenchFile(path: string, size: number, signal: AbortSignal): Promise<BenchFile> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new IoError('ERR_PGAIO_NO_FILE', `"${path}" does not exist`, { path, errno: ENOENT });
  if (stat.isDirectory()) return makeScratch(path, size, signal);
  if (!stat.isFile()) throw new SettingError(`"${path}" is neither a directory nor a regular file`);
  if (stat.size < BYTES_MIN)
    throw new SettingError(`"${path}" has ${formatBytes(stat.size)}; 1 MB is the least that can be measured`);
  const fd = openSync(path, constants.O_RDONLY);
  const drop = (): string | null => dropPages(fd);
  return { path, bytes: stat.size, isScratch: false, drop, [Symbol.dispose]: () => closeSync(fd) };
}

async function makeScratch(directory: string, size: number, signal: AbortSignal): Promise<BenchFile> {
  const { bavail, bsize } = statfsSync(directory);
  const room = Math.floor((bavail * bsize * FREE_SHARE) / CHUNK_BYTES) * CHUNK_BYTES;
  if (room < size)
    throw new SettingError(
      `a scratch file of ${formatBytes(size)} needs as much again to stay free in "${directory}", where ${formatBytes(bavail * bsize)} are`,
      { hint: 'Give a smaller --size.' },
    );
  const name = join(directory, `.pgaio-bench-${randomBytes(8).toString('hex')}`);
  const fd = openScratch(name);
  const remove = (): void => rmSync(name, { force: true });
  let path = name;
  try {
    if (process.platform === 'linux') {
      unlinkSync(name);
      path = `/proc/${process.pid}/fd/${fd}`;
    }
    await fill(fd, size, signal);
  } catch (error) {
    closeSync(fd);
    remove();
    throw error;
  }
  return {
    path,
    bytes: size,
    isScratch: true,
    drop: () => dropPages(fd),
    [Symbol.dispose]: () => {
      closeSync(fd);
      remove();
    },
  };
}

function openScratch(name: string): number {
  try {
    return openSync(name, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    const { message } = error as Error;
    throw new IoError('ERR_PGAIO_SCRATCH', `no scratch file can be made: ${message}`, {
      path: name,
      errno: errnoOf(error, 0),
    });
  }
}

/** With bytes that no device can make smaller; each megabyte another. */
async function fill(fd: number, size: number, signal: AbortSignal): Promise<void> {
  const chunk = randomFillSync(Buffer.alloc(CHUNK_BYTES));
  for (let position = 0; position < size; position += CHUNK_BYTES) {
    chunk.writeDoubleLE(position, 0);
    writeSync(fd, chunk, 0, Math.min(CHUNK_BYTES, size - position), position);
    if (position % (64 * CHUNK_BYTES) === 0) await new Promise(setImmediate); // for Ctrl-C
    if (signal.aborted) return;
  }
  fdatasyncSync(fd);
}

function dropPages(fd: number): string | null {
  const addon = loadAddon();
  if (addon === null) return 'the page cache cannot be told to forget a file without the native addon';
  fdatasyncSync(fd); // only clean pages go
  const result = addon.fadvise(fd, 0, 0, FileAdvice.DONT_NEED);
  return result === 0 ? null : `the kernel does not let go of its pages (errno ${-result})`;
}
