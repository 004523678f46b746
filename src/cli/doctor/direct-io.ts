/** Whether files at a place can be read past the page cache: tried for real, without touching what is there. */
import { randomUUID } from 'node:crypto';
import {
  accessSync,
  closeSync,
  constants as fsConstants,
  fstatSync,
  opendirSync,
  openSync,
  readSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { BLOCK_SIZE } from '../../base/settings.js';
import type { NativeAddon } from '../../native/addon.js';
import { ok, warning, type Check } from './check.js';
import { isDataDirectory, type Place } from './place.js';

/** Tried where the file system does not say. */
const ALIGNMENTS = [512, 4096];
/** Entries of a directory among which a file to read is looked for. */
const ENTRIES_MAX = 256;
const PAGE = 4096;

const LEAVE_IT = 'Leave debugIoDirect off, and verify without --direct.';

type Aligner = Pick<NativeAddon, 'directAlignment'>;

export function checkDirectIo(place: Place, addon: Aligner | null): Check {
  // Not on every platform, whatever the types say.
  if ((fsConstants.O_DIRECT as number | undefined) === undefined) {
    return warning('direct-io', 'this platform has no O_DIRECT', LEAVE_IT);
  }
  let fd: number | null = null;
  try {
    fd = openDirect(place);
    return fd === null ? NOTHING_TO_TRY : judge(fd, addon);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const isUnsupported = fd === null && code === 'EINVAL';
    const summary = isUnsupported
      ? 'this file system does not support O_DIRECT'
      : `could not be tried: ${message}`;
    return warning('direct-io', summary, LEAVE_IT);
  } finally {
    if (fd !== null) closeSync(fd);
  }
}

const NOTHING_TO_TRY = warning(
  'direct-io',
  'could not be tried: there is nothing to read here, and no file can be made',
  'Give a file of 4 kB or more that you may read.',
);

function judge(fd: number, addon: Aligner | null): Check {
  const { memory, offset } = statedAlignment(fd, addon);
  const stated = offset > 0;
  // What is read lies at such a multiple in the file and in memory, so the larger of the two serves both.
  const tried = stated ? [Math.max(memory, offset)] : ALIGNMENTS;
  const found = tried.find((alignment) => canRead(fd, alignment));
  if (found === undefined) return warning('direct-io', 'O_DIRECT opens files and cannot read them', LEAVE_IT);
  const detail = stated
    ? `positions and lengths must be multiples of ${offset} bytes, memory of ${memory}, as the file system says`
    : `multiples of ${found} bytes will do for positions, lengths and memory, found by trying`;
  if (offset <= BLOCK_SIZE) return ok('direct-io', 'O_DIRECT works', detail);
  return warning('direct-io', 'O_DIRECT works, but not for single blocks of 8 kB', LEAVE_IT, detail);
}

/** Of statx(2); 0 where it says nothing. */
function statedAlignment(fd: number, addon: Aligner | null): { memory: number; offset: number } {
  const out = new Int32Array(2);
  // By its descriptor, because a file of our own has no name any more.
  const failed = addon === null || addon.directAlignment(`/proc/self/fd/${fd}`, out) < 0;
  return failed ? { memory: 0, offset: 0 } : { memory: out[0]!, offset: out[1]! };
}

/** Reads at a multiple of `alignment` and of nothing larger, as far as the file's size allows. */
function canRead(fd: number, alignment: number): boolean {
  const pages = Math.ceil((3 * alignment) / 65536);
  // WebAssembly's memory begins at a page's start.
  const bytes = new Uint8Array(new WebAssembly.Memory({ initial: pages }).buffer);
  const position = fstatSync(fd).size > alignment ? alignment : 0;
  try {
    readSync(fd, bytes, alignment, alignment, position);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false;
    throw error;
  }
}

function openDirect(place: Place): number | null {
  if (!place.isDirectory && place.size === 0) return null;
  const file = place.isDirectory ? existingFile(place.path) : place.path;
  if (file !== null) return openSync(file, fsConstants.O_RDONLY | fsConstants.O_DIRECT);
  return place.writable ? openOwnFile(place.path) : null;
}

function existingFile(directory: string): string | null {
  if (isDataDirectory(directory)) return join(directory, 'global/pg_control');
  const entries = opendirSync(directory);
  try {
    for (let seen = 0; seen < ENTRIES_MAX; seen++) {
      const entry = entries.readSync();
      if (entry === null) return null;
      const path = join(directory, entry.name);
      if (entry.isFile() && isReadablePage(path)) return path;
    }
    return null;
  } finally {
    entries.closeSync();
  }
}

function isReadablePage(path: string): boolean {
  try {
    accessSync(path, fsConstants.R_OK);
    return statSync(path).size >= PAGE;
  } catch {
    return false; // gone, or not for us
  }
}

/** Of a file that has no name any more when this returns, so that nothing can leave it behind. */
function openOwnFile(directory: string): number {
  const path = join(directory, `.pgaio-doctor-${randomUUID()}`);
  const fd = openSync(path, 'wx', 0o600);
  try {
    writeSync(fd, new Uint8Array(2 * PAGE));
    return openSync(path, fsConstants.O_RDONLY | fsConstants.O_DIRECT);
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}
