/** Messages that say themselves what they must contain. */
import assert from 'node:assert/strict';
import type { LogicalMessage } from '../src/wal/logical-message.js';

/** The n-th of a lane of a run. */
export function messageOf(run: number, lane: number, number: number, bytes: number): LogicalMessage {
  const prefix = `${run}/${lane}/${number}/${bytes}`;
  return { prefix, payload: Buffer.alloc(bytes, `${prefix} `) };
}

/** Throws unless it is whole, and what its name says. */
export function checkMessage({ prefix, payload }: LogicalMessage): void {
  const [run = 0, lane = 0, number = 0, bytes = 0] = prefix.split('/').map(Number);
  assert.deepEqual(
    Buffer.from(payload),
    messageOf(run, lane, number, bytes).payload,
    `contents of ${prefix}`,
  );
}
