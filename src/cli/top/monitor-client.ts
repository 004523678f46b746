/** The other end of a monitor's socket. */
import { statSync } from 'node:fs';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface, type Interface } from 'node:readline';
import { PgaioError } from '../../base/errors.js';
import { SNAPSHOT_VERSION, type Snapshot } from '../../instance/snapshot.js';

const NO_SOCKET = 'That is not a socket.';
const HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'The program opens it with instance.openMonitor(path), and removes it when it ends.',
  ECONNREFUSED: 'The program that opened it has ended without removing it.',
  EACCES: 'Only the user that runs the program may connect, and root.',
  ENOTSOCK: NO_SOCKET,
};

export class MonitorClient {
  readonly #socket: Socket;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined); // the lines end
    this.#reader = createInterface(socket);
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  static async connect(path: string): Promise<MonitorClient> {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
    } catch (error) {
      throw unreachable(path, error as NodeJS.ErrnoException);
    }
    return new MonitorClient(socket);
  }

  /** The next that comes; the first without being asked for. Null: the program closed its monitor, or has ended. */
  async next(): Promise<Snapshot | null> {
    const line = await this.#lines.next();
    return line.done === true ? null : checked(line.value);
  }

  async ask(): Promise<Snapshot | null> {
    this.#socket.write('\n');
    return this.next();
  }

  close(): void {
    this.#reader.close();
    this.#socket.destroy();
  }
}

function unreachable(path: string, { code = '', message }: NodeJS.ErrnoException): PgaioError {
  // Linux refuses a connection to a file that is no socket with the same errno as to one that nobody listens to.
  const isFile = code === 'ECONNREFUSED' && statSync(path, { throwIfNoEntry: false })?.isSocket() === false;
  const hint = isFile ? NO_SOCKET : HINTS[code];
  return new PgaioError('ERR_PGAIO_MONITOR', `no monitor can be reached at "${path}": ${message}`, {
    ...(hint !== undefined && { hint }),
  });
}

function checked(line: string): Snapshot {
  let snapshot: Partial<Snapshot> | null;
  try {
    snapshot = JSON.parse(line) as Partial<Snapshot> | null;
  } catch {
    snapshot = null;
  }
  if (snapshot?.version === SNAPSHOT_VERSION) return snapshot as Snapshot;
  throw new PgaioError('ERR_PGAIO_MONITOR', 'what answers there is not a monitor of this version of pgaio', {
    hint: 'Use the command of the version that the program uses.',
  });
}
