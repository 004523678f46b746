/** What the streams need of an open file, and how they end. */
import type { ReadSource } from './look-ahead.js';

export interface StreamFile extends ReadSource {
  /** Where a stream without a `start` begins. */
  position(): number;
  /** Moves the current position, behind what such a stream has read. */
  advance(bytes: number): void;
  /** Writes all of the buffers, one behind the other; null: at the current position, which moves. Rejects with a FileError. */
  write(buffers: readonly Uint8Array[], position: number | null): Promise<unknown>;
  sync(): Promise<void>;
  /** Waits for what is in flight. */
  close(): Promise<void>;
}

type Callback = (error?: Error | null) => void;

/** Closes it, if it is open, and passes the error on; one of closing only if there was none. */
export function closeFile(file: StreamFile | null, error: Error | null, callback: Callback): void {
  if (file === null) {
    callback(error);
    return;
  }
  file.close().then(
    () => callback(error),
    (closing: unknown) => callback(error ?? (closing as Error)),
  );
}

interface Closing {
  readonly closed: boolean;
  once(event: 'close', callback: () => void): unknown;
}

/** Calls back when the stream is closed. */
export function whenClosed(stream: Closing, callback: Callback | undefined): void {
  if (callback === undefined) return;
  if (stream.closed) process.nextTick(callback);
  else stream.once('close', () => callback());
}
