/** The shapes in which Node's `FileHandle` takes its arguments, as one. Throws what Node throws: RangeError, TypeError. */

/** Where a read or write goes; null: to where the one before ended. */
export type Position = number | bigint | null | undefined;

export interface TransferOptions {
  /** In the buffer, in bytes. Default: 0. */
  offset?: number | undefined;
  /** Bytes. Default: all behind the offset. */
  length?: number | undefined;
  /** In the file. Default, and null: where the read or write before, that had no position either, ended. */
  position?: Position;
  /** Rejects with an AbortError at once; what is in flight keeps its memory until it is over. */
  signal?: AbortSignal | undefined;
}

/** Bytes to be moved, and where in the file: null for the current position. */
export interface TransferArguments<B extends ArrayBufferView> {
  readonly buffer: B;
  readonly bytes: Uint8Array;
  readonly position: number | null;
  readonly signal: AbortSignal | undefined;
}

export function transferArguments<B extends ArrayBufferView>(
  buffer: B,
  offsetOrOptions: number | TransferOptions | null | undefined,
  length: number | null | undefined,
  position: Position,
): TransferArguments<B> {
  if (!ArrayBuffer.isView(buffer))
    throw new TypeError('The "buffer" argument must be an instance of Buffer, TypedArray, or DataView');
  const given: TransferOptions =
    typeof offsetOrOptions === 'object' && offsetOrOptions !== null
      ? offsetOrOptions
      : { offset: offsetOrOptions ?? undefined, length: length ?? undefined, position };
  const offset = given.offset ?? 0;
  if (!Number.isSafeInteger(offset) || offset < 0 || offset > buffer.byteLength)
    throw new RangeError(
      `The value of "offset" is out of range. It must be >= 0 && <= ${buffer.byteLength}. Received ${offset}`,
    );
  const rest = buffer.byteLength - offset;
  const bytes = given.length ?? rest;
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > rest)
    throw new RangeError(
      `The value of "length" is out of range. It must be >= 0 && <= ${rest}. Received ${bytes}`,
    );
  return {
    buffer,
    bytes: new Uint8Array(buffer.buffer, buffer.byteOffset + offset, bytes),
    position: positionOf(given.position),
    signal: given.signal,
  };
}

/** As a number; null for the current position, which Node also calls -1. */
export function positionOf(position: Position): number | null {
  if (position === null || position === undefined) return null;
  const number = Number(position);
  if (number === -1) return null;
  if (!Number.isSafeInteger(number) || number < 0)
    throw new RangeError(
      `The value of "position" is out of range. It must be >= 0 && <= ${Number.MAX_SAFE_INTEGER}. Received ${position}`,
    );
  return number;
}

export function checkViews(buffers: readonly ArrayBufferView[]): void {
  if (!Array.isArray(buffers) || !buffers.every((buffer) => ArrayBuffer.isView(buffer)))
    throw new TypeError('The "buffers" argument must be an instance of ArrayBufferView[]');
}

export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
