/** A monitor as the program that opened it sees it: see monitor-thread.ts. */
import { resolve as resolvePath } from 'node:path';
import type { Worker } from 'node:worker_threads';
import type { LogEvent, LogSink } from '../base/log.js';
import { MonitorError, removeSocket } from './monitor-socket.js';
import type { InstanceHandle } from './shared-state.js';
import { startThread } from './start-thread.js';

interface Message {
  log?: LogEvent;
  /** The socket's inode. */
  listening?: bigint;
  refused?: { message: string; hint: string | undefined; errno: number };
}

/** A socket that `pgaio top` can be pointed at. Closed with its instance at the latest. */
export class Monitor {
  /** Absolute. */
  readonly path: string;
  readonly #thread: Worker;
  readonly #inode: bigint;
  readonly #ended: Promise<void>;
  #closing: Promise<void> | null = null;
  readonly #onExit = (): void => removeSocket(this.path, this.#inode);

  private constructor(path: string, inode: bigint, thread: Worker, log: LogSink) {
    this.path = path;
    this.#inode = inode;
    this.#thread = thread;
    this.#ended = new Promise((resolve) => {
      thread.once('exit', () => {
        if (this.#closing === null) this.#endedEarly(log);
        resolve();
      });
    });
    process.once('exit', this.#onExit);
  }

  /** `onEnd`: it will not say any more who watches. */
  static async open(handle: InstanceHandle, path: string, log: LogSink, onEnd: () => void): Promise<Monitor> {
    const absolute = resolvePath(path);
    const thread = startThread('./monitor-thread.js', 'pgaio monitor', { handle, path: absolute });
    thread.once('exit', onEnd);
    try {
      const inode = await listening(thread, absolute, log);
      thread.unref(); // to be looked at does not keep a program
      return new Monitor(absolute, inode, thread, log);
    } catch (error) {
      await thread.terminate();
      throw error;
    }
  }

  /** Nobody listens any more. */
  #endedEarly(log: LogSink): void {
    process.removeListener('exit', this.#onExit);
    removeSocket(this.path, this.#inode);
    log({ level: 'warning', message: `the monitor at "${this.path}" has ended, and can be opened again` });
  }

  /** Ends all connections and removes the socket. */
  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    process.removeListener('exit', this.#onExit);
    removeSocket(this.path, this.#inode);
    this.#thread.ref();
    this.#thread.postMessage('stop');
    await this.#ended;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function listening(thread: Worker, path: string, log: LogSink): Promise<bigint> {
  return new Promise((resolve, reject) => {
    thread.on('message', ({ log: event, listening: inode, refused }: Message) => {
      if (event !== undefined) log(event);
      if (inode !== undefined) resolve(inode);
      if (refused === undefined) return;
      const { message, hint, errno } = refused;
      reject(new MonitorError(message, path, { errno, ...(hint !== undefined && { hint }) }));
    });
    thread.on('error', (error) => {
      log({ level: 'warning', message: `the monitor at "${path}" ended: ${error.message}` });
      reject(error);
    });
    thread.once('exit', () => reject(new MonitorError(`the monitor at "${path}" ended`, path)));
  });
}
