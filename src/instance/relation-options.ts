/** What can be said about reads, streams and changes of a relation. */
import { Scope } from '../aio/scope.js';
import { SettingError } from '../base/errors.js';
import { MAX_IO_CONCURRENCY } from '../base/settings.js';
import { checkKind, checkOnOrOff, checkRange } from '../base/units.js';
import { BufferStrategy, checkStrategyKind, type StrategyKind } from '../buffer/strategy.js';
import type { NextBlock } from '../read-stream/stream-options.js';
import type { Fork } from '../smgr/relation.js';

export interface RelationOptions {
  /** Which fork to read. Default: the main one. */
  fork?: Fork;
}

export interface StreamOptions<D = undefined> extends RelationOptions {
  /** Called for each block to read, ahead of the consumer. Default: all blocks of the fork, in order. */
  nextBlock?: NextBlock<D>;
  /**
   * Makes a slot for what the callback has to say about a block. The callback gets the block's slot to fill in,
   * the consumer finds it in `stream.data` until it asks for the next buffer. Called once a slot: they are used
   * again. Default: no data.
   */
  perBufferData?: () => D;
  /** Where pins belong. Default: the backend's own scope. */
  scope?: Scope;
  /** Reads in flight, 0 to 1000; 0: one at a time, executed by this thread. Default: `effectiveIoConcurrency`. */
  ioConcurrency?: number;
  /** Maintenance work: the default is `maintenanceIoConcurrency`. PostgreSQL's READ_STREAM_MAINTENANCE. */
  maintenance?: boolean;
  /**
   * All of something will be read: begin with full-sized I/Os, instead of the assumption that all is cached.
   * Default: true without `nextBlock`. PostgreSQL's READ_STREAM_FULL.
   */
  full?: boolean;
  /**
   * The blocks come in order, so the kernel needs no advice (which is given by method `sync` only, and not without
   * the addon). Default: true without `nextBlock`. PostgreSQL's READ_STREAM_SEQUENTIAL.
   */
  sequential?: boolean;
  /**
   * Submit what one look ahead starts in one call. The callback must then not wait for anything, and not use other
   * I/O of this backend. Default: true for callbacks of this library. PostgreSQL's READ_STREAM_USE_BATCHING.
   */
  batchMode?: boolean;
  /**
   * Take buffers from a ring of their own: one made for this stream, or one that others use, too; null: none. Not
   * for relations that are this backend's own.
   * Default: `bulkread` without `nextBlock` if the fork has more blocks than the pool, or else null.
   */
  strategy?: StrategyKind | BufferStrategy | null;
  /** Judge page headers only: the cluster keeps no checksums. Default false. */
  noChecksums?: boolean;
  /** A page that is invalid becomes all zero, with a warning, also where the backend's `zeroDamagedPages` is off. */
  zeroOnError?: boolean;
  /** A wrong checksum is a warning only, also where the backend's `ignoreChecksumFailure` is off. */
  ignoreChecksumFailure?: boolean;
}

export interface DiscardOptions extends RelationOptions {
  /** The first block to discard. Default: 0. */
  from?: number;
}

const SWITCHES = [
  'maintenance',
  'full',
  'sequential',
  'batchMode',
  'noChecksums',
  'zeroOnError',
  'ignoreChecksumFailure',
] as const;

/** Refuses what a stream cannot go by: found later, it would be a stream that ends too soon, or a choice ignored. */
export function checkStreamOptions<D>(nextBlock: NextBlock<D>, options: StreamOptions<D>): void {
  const { ioConcurrency, strategy, perBufferData, scope } = options;
  if (scope !== undefined) checkKind('a scope of this backend', scope, Scope);
  if (ioConcurrency !== undefined) checkRange('ioConcurrency', ioConcurrency, 0, MAX_IO_CONCURRENCY);
  for (const name of SWITCHES) if (options[name] !== undefined) checkOnOrOff(name, options[name]);
  checkFunction('nextBlock', nextBlock);
  if (perBufferData !== undefined) checkFunction('perBufferData', perBufferData);
  if (strategy === undefined || strategy === null || strategy instanceof BufferStrategy) return;
  checkStrategyKind(strategy);
}

function checkFunction(name: string, value: unknown): void {
  if (typeof value !== 'function')
    throw new SettingError(`${name} must be a function, not ${JSON.stringify(value)}`);
}
