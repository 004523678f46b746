/** Streams under test: what they read, and how their buffers are pulled and looked at. */
import assert from 'node:assert/strict';
import type { Backend } from '../src/instance/backend.js';
import type { StreamOptions } from '../src/instance/relation-options.js';
import type { ReadStream } from '../src/read-stream/read-stream.js';
import { END_OF_STREAM } from '../src/read-stream/stream-options.js';
import type { Fork } from '../src/smgr/relation.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { stampOf } from './relations.js';

/** Resolves when nothing of the backend is in flight. */
export async function ioDone(backend: Backend): Promise<void> {
  await backend.aio.waits.until(() => backend.aio.drain());
}

/** The block of the next buffer, which is looked at and unpinned; END_OF_STREAM at the end. */
export async function pullOne<D>(backend: Backend, stream: ReadStream<D>): Promise<number> {
  const buffer = await backend.aio.waits.until(() => stream.next());
  if (buffer === END_OF_STREAM) return END_OF_STREAM;
  const { block } = stampOf(backend.buffers.page(buffer));
  assert.equal(block, backend.buffers.pool.blockOf(buffer));
  backend.buffers.pool.unpin(buffer, stream.scope);
  return block;
}

/** The blocks up to the end. With `settle`, all I/O is done before each pull: storage that is never waited for. */
export async function pullAll<D>(backend: Backend, stream: ReadStream<D>, settle = false): Promise<number[]> {
  const blocks: number[] = [];
  for (;;) {
    if (settle) await ioDone(backend);
    const block = await pullOne(backend, stream);
    if (block === END_OF_STREAM) return blocks;
    blocks.push(block);
  }
}

/** A read that a stream made, or advised the kernel of. */
export interface StreamEvent {
  readonly what: 'read' | 'advise';
  readonly block: number;
  readonly count: number;
}

/** Notes what streams over a relation do from here on. */
export function noteEvents(relation: SmgrRelation): StreamEvent[] {
  const events: StreamEvent[] = [];
  const startReadv = relation.startReadv.bind(relation);
  relation.startReadv = (io, fork: Fork, block, count) => {
    events.push({ what: 'read', block, count });
    startReadv(io, fork, block, count);
  };
  const prefetch = relation.prefetch.bind(relation);
  relation.prefetch = (fork, block, count) => {
    events.push({ what: 'advise', block, count });
    return prefetch(fork, block, count);
  };
  return events;
}

export function readSizes(events: readonly StreamEvent[]): number[] {
  return events.filter(({ what }) => what === 'read').map(({ count }) => count);
}

/** A list as a callback that notes nothing and may be submitted in batches only if `options` say so. */
export function callbackOver(blocks: readonly number[]): () => number {
  let at = 0;
  return () => blocks[at++] ?? END_OF_STREAM;
}

export function rawStreamOver(
  backend: Backend,
  relation: SmgrRelation,
  blocks: readonly number[],
  options: StreamOptions = {},
): ReadStream {
  return backend.rawReadStream(relation, callbackOver(blocks), options);
}

export function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, at) => first + at);
}
