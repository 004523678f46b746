/** Files as web streams. */
import { ReadableStream, WritableStream } from 'node:stream/web';
import { READ_SIZES } from './file-read-stream.js';
import { WRITE_BUFFER_BYTES } from './file-write-stream.js';
import { LookAhead } from './look-ahead.js';
import type { StreamFile } from './stream-file.js';
import { checkRange } from './stream-options.js';

export interface WebReadOptions {
  /** First byte. Default: the current position. */
  start?: number | undefined;
  /** Last byte, which is read, too. */
  end?: number | undefined;
  /** Close the file behind the last byte, on errors, and when it is cancelled. Default: false, as Node's. */
  autoClose?: boolean | undefined;
}

export interface WebWriteOptions {
  /** Default: the current position. */
  start?: number | undefined;
  /** Close the file when the stream is closed or aborted. Default: false. */
  autoClose?: boolean | undefined;
}

/** A byte stream: readers may bring their own buffers. */
export function webReadable(file: StreamFile, options: WebReadOptions): ReadableStream<Uint8Array> {
  const { start, end = Infinity, autoClose = false } = options;
  checkRange(start, end);
  const chunks = new LookAhead(file, {
    ...READ_SIZES,
    start: start ?? file.position(),
    end,
    chunkBytes: READ_SIZES.readBytes, // the stream takes the whole memory of a chunk: they cannot share any
  });
  const close = async (): Promise<void> => {
    if (autoClose) await file.close();
  };
  return new ReadableStream({
    type: 'bytes',
    async pull(controller) {
      let chunk: Buffer | null;
      try {
        chunk = await chunks.next();
      } catch (error) {
        await close();
        throw error;
      }
      if (chunk !== null) {
        if (start === undefined) file.advance(chunk.length);
        controller.enqueue(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength));
        return;
      }
      await close();
      controller.close();
      controller.byobRequest?.respond(0); // who brought a buffer is told the end only thus
    },
    async cancel() {
      chunks.stop();
      await close();
    },
  });
}

export function webWritable(file: StreamFile, options: WebWriteOptions): WritableStream<Uint8Array> {
  const { start, autoClose = false } = options;
  checkRange(start, undefined);
  let position = start ?? null;
  const close = async (): Promise<void> => {
    if (autoClose) await file.close();
  };
  return new WritableStream(
    {
      async write(chunk: Uint8Array, controller) {
        try {
          if (!((chunk as unknown) instanceof Uint8Array))
            throw new TypeError('A stream to a file takes Uint8Arrays');
          await file.write([chunk], position);
        } catch (error) {
          controller.error(error);
          await close();
          throw error;
        }
        if (position !== null) position += chunk.length;
      },
      close,
      abort: close,
    },
    // What is no bytes is told so when its turn comes.
    {
      highWaterMark: WRITE_BUFFER_BYTES,
      size: (chunk) => (chunk as Uint8Array | null | undefined)?.byteLength ?? 0,
    },
  );
}
