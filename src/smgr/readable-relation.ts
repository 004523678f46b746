/** What reads through a pool need of the relation whose blocks they read. */
import type { IoHandle } from '../aio/handle.js';
import type { Fork, RelationLocator } from './relation.js';

export interface ReadableRelation {
  /** With `directoryNumber`, what buffers know their blocks by. */
  readonly locator: RelationLocator;
  readonly directoryNumber: number;
  /** What messages name. */
  path(fork: Fork): string;
  /** How many blocks from `block` on one I/O may have. */
  maxCombine(block: number): number;
  /** Opens the file of the block, so that a `startReadv` right behind it meets no such error. Throws a ReadFailedError. */
  prepare(fork: Fork, block: number): void;
  /** Starts reading `count` blocks into the vector of a handed-out handle, which must not be touched afterwards. */
  startReadv(io: IoHandle, fork: Fork, block: number, count: number): void;
  /** Advises the kernel that the blocks will be read soon; false when it cannot be told. */
  prefetch(fork: Fork, block: number, count: number): boolean;
}
