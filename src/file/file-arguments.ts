/** The shapes in which Node's `FileHandle` takes its arguments, as one. Throws what Node throws: RangeError, TypeError. */
import { checkInteger, checkSignal, checkView, invalidType } from './checks.js';

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
  checkView('buffer', buffer);
  const given: TransferOptions =
    typeof offsetOrOptions === 'object' && offsetOrOptions !== null
      ? offsetOrOptions
      : { offset: offsetOrOptions ?? undefined, length: length ?? undefined, position };
  const offset = checkInteger('offset', given.offset ?? 0, 0, buffer.byteLength);
  const rest = buffer.byteLength - offset;
  const bytes = checkInteger('length', given.length ?? rest, 0, rest);
  checkSignal(given.signal);
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
  if (typeof position !== 'number' && typeof position !== 'bigint')
    throw invalidType('position', 'of type number or bigint', position);
  const number = Number(position);
  return number === -1 ? null : checkInteger('position', number);
}

export function checkViews(buffers: readonly ArrayBufferView[]): void {
  if (!Array.isArray(buffers) || !buffers.every((buffer) => ArrayBuffer.isView(buffer)))
    throw invalidType('buffers', 'an instance of ArrayBufferView[]', buffers);
}

export function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
