/**
 * Buffer access strategies: PostgreSQL's freelist.c from GetAccessStrategy on. Work that touches each block once
 * takes its buffers from a small ring of its own, so that it does not push out what others need.
 *
 * The ring is a backend's private list of buffer numbers, and says nothing about whom they belong to: a buffer
 * in it is taken again only if nobody has it pinned and nobody else has used it since. Otherwise a victim of the
 * clock sweep takes its place.
 */
import { SettingError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { parseBytes } from '../base/units.js';
import { IO_CONTEXTS } from '../stats/io-stats.js';

export const STRATEGY_KINDS = ['bulkread', 'bulkwrite', 'vacuum'] as const;
/**
 * `bulkread`: a large scan; 256 kB and what its reads in flight need. `bulkwrite`: loading; 16 MB.
 * `vacuum`: maintenance; 2 MB.
 */
export type StrategyKind = (typeof STRATEGY_KINDS)[number];

const KB = 1024;
const NO_BUFFER = -1;
/** PostgreSQL's limits of vacuum_buffer_usage_limit. */
const RING_MIN_BYTES = 128 * KB;
const RING_MAX_BYTES = 16 * KB * KB * KB;

export interface StrategySize {
  /** Bytes, or '2MB', of the ring: 128 kB to 16 GB. Default: what the kind says. */
  ringSize?: number | string;
  /** Reads in flight, and blocks an I/O, of the scan that the ring is for; counted by `bulkread`. */
  ioConcurrency: number;
  combineLimit: number;
}

/** What a pool says of itself. */
export interface StrategyPool {
  readonly region: { readonly count: number };
  readonly pinLimit: number;
}

export class BufferStrategy {
  readonly kind: StrategyKind;
  /** For the statistics: an index of IO_CONTEXTS. */
  readonly context: number;
  /** Numbers of buffers; -1 where the ring is not filled yet. */
  private readonly ring: Int32Array;
  private current = -1;

  /** At most an eighth of the pool, at least one buffer. */
  constructor(kind: StrategyKind, pool: StrategyPool, size: StrategySize) {
    checkStrategyKind(kind);
    this.kind = kind;
    this.context = IO_CONTEXTS.indexOf(kind);
    const wanted = size.ringSize === undefined ? ringBuffers(kind, pool, size) : givenBuffers(size.ringSize);
    const buffers = Math.max(1, Math.min(wanted, Math.floor(pool.region.count / 8)));
    this.ring = new Int32Array(buffers).fill(NO_BUFFER);
  }

  get buffers(): number {
    return this.ring.length;
  }

  /**
   * How many a stream may have pinned ahead. A scan leaves one for its consumer, or each buffer of a small ring would
   * be found pinned and replaced; who changes pages leaves half for those that have to be written.
   */
  get pinLimit(): number {
    return Math.max(1, this.kind === 'bulkread' ? this.buffers - 1 : this.buffers >>> 1);
  }

  /** Goes on by one place; the buffer there, or -1. */
  advance(): number {
    this.current = this.current + 1 === this.ring.length ? 0 : this.current + 1;
    return this.ring[this.current] as number;
  }

  /** Goes back by one place. */
  retreat(): void {
    this.current = this.current === 0 ? this.ring.length - 1 : this.current - 1;
  }

  /** The buffers from where `advance` has come to on, at most so many. */
  following(count: number): number[] {
    const found = new Set<number>();
    for (let at = 0; at < Math.min(count, this.ring.length); at++) {
      const buffer = this.ring[(this.current + at) % this.ring.length] as number;
      if (buffer >= 0) found.add(buffer);
    }
    return [...found];
  }

  /** Puts a buffer where `advance` has come to. */
  replace(buffer: number): void {
    this.ring[this.current] = buffer;
  }
}

export function checkStrategyKind(kind: unknown): void {
  if (STRATEGY_KINDS.some((known) => known === kind)) return;
  throw new SettingError(`invalid value for strategy: ${JSON.stringify(kind)}`, {
    hint: `Available values: ${STRATEGY_KINDS.join(', ')}; or what accessStrategy returns.`,
  });
}

function ringBuffers(kind: StrategyKind, pool: StrategyPool, size: StrategySize): number {
  if (kind === 'bulkwrite') return (16 * KB * KB) / BLOCK_SIZE;
  if (kind === 'vacuum') return (2 * KB * KB) / BLOCK_SIZE;
  const least = (256 * KB) / BLOCK_SIZE;
  return Math.min(least + size.ioConcurrency * size.combineLimit, Math.max(least, pool.pinLimit));
}

function givenBuffers(ringSize: number | string): number {
  const bytes = parseBytes('ringSize', ringSize);
  if (bytes >= RING_MIN_BYTES && bytes <= RING_MAX_BYTES) return Math.floor(bytes / BLOCK_SIZE);
  throw new SettingError(
    `${JSON.stringify(ringSize)} is outside the valid range for ringSize (128kB .. 16GB)`,
  );
}
