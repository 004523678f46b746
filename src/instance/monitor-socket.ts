/**
 * A Unix socket that its owner alone may connect to, from the moment that it has a name.
 *
 * It is bound in a directory that is the owner's alone, given its mode there, and only then linked to its place, which
 * fails if something has that place. A socket that is there already is taken away only if nobody listens to it: it
 * is moved aside first, and put back if it is not the one that was found dead.
 */
import { chmodSync, linkSync, lstatSync, mkdtempSync, renameSync, rmSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { dirname, join } from 'node:path';
import { IoError } from '../base/errors.js';
import { errnoOf } from '../base/system-errors.js';

/** The kernel's: 108 bytes with a zero at the end, on macOS 104. */
const PATH_BYTES_MAX = process.platform === 'linux' ? 107 : 103;
const DRAFT = '.pgaio-';
/** `mkdtemp` adds six characters. */
const DRAFT_BYTES = DRAFT.length + 6 + '/s'.length;

export class MonitorError extends IoError {
  override readonly name = 'MonitorError';
  constructor(
    message: string,
    path: string,
    options: { hint?: string; errno?: number; cause?: unknown } = {},
  ) {
    super('ERR_PGAIO_MONITOR', message, { path, ...options });
  }
}

/** Has the server listen at `path`, which is absolute. Resolves with the socket's inode. */
export async function listenPrivately(server: Server, path: string): Promise<bigint> {
  checkLength(path);
  const draft = makeDraft(path);
  try {
    const bound = join(draft, 's');
    await listening(server, bound);
    chmodSync(bound, 0o600);
    const { ino } = lstatSync(bound, { bigint: true });
    await linkInPlace(bound, path, draft);
    return ino;
  } catch (error) {
    server.close();
    throw error instanceof MonitorError ? error : failed(path, error);
  } finally {
    rmSync(draft, { recursive: true, force: true });
  }
}

/** Removes the socket, unless its place is another's by now. */
export function removeSocket(path: string, inode: bigint): void {
  if (lstatSync(path, { bigint: true, throwIfNoEntry: false })?.ino === inode) rmSync(path, { force: true });
}

function checkLength(path: string): void {
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(dirname(path)) + 1 + DRAFT_BYTES);
  if (longest <= PATH_BYTES_MAX) return;
  throw new MonitorError(`the path of the monitor's socket, "${path}", is too long`, path, {
    hint: `A socket's path has at most ${PATH_BYTES_MAX} bytes, and ${DRAFT_BYTES} are needed behind its directory's.`,
  });
}

function makeDraft(path: string): string {
  try {
    return mkdtempSync(join(dirname(path), DRAFT)); // mode 0700
  } catch (error) {
    throw failed(path, error);
  }
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

async function linkInPlace(bound: string, path: string, draft: string): Promise<void> {
  try {
    linkSync(bound, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    await removeDead(path, draft);
    linkSync(bound, path); // who else found it dead may have been faster
  }
}

async function removeDead(path: string, draft: string): Promise<void> {
  const found = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new MonitorError(`"${path}" is there already, and is not a socket`, path, {
      hint: 'Choose another path for the monitor, or remove what is there.',
    });
  const answer = await knock(path);
  if (answer !== 'ECONNREFUSED' && answer !== 'ENOENT')
    throw new MonitorError(
      `"${path}" is the socket of a program that runs (${answer ?? 'it was connected to'})`,
      path,
      {
        hint: 'Give each instance a path of its own, for example with the number of its process.',
      },
    );
  const aside = join(draft, 'dead');
  renameSync(path, aside);
  if (lstatSync(aside, { bigint: true }).ino !== found.ino) linkSync(aside, path);
  unlinkSync(aside);
}

/** The code of the error, or null for a connection. */
function knock(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(null);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => {
      resolve(code ?? 'UNKNOWN');
    });
  });
}

function failed(path: string, error: unknown): MonitorError {
  const message = error instanceof Error ? error.message : String(error);
  return new MonitorError(`the monitor's socket "${path}" could not be made: ${message}`, path, {
    errno: errnoOf(error, 0),
    cause: error,
  });
}
