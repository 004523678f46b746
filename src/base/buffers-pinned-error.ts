/** A relation's buffers were to be dropped, and somebody uses them. */
import { PgaioError } from './errors.js';

export interface PinnedBuffers {
  /** The relation's fork, relative to its data directory. */
  readonly path: string;
  /** The lowest of the blocks that are pinned, and how many of them are. */
  readonly block: number;
  readonly count: number;
  /** Numbers of the backends that have pinned them. */
  readonly backends: readonly number[];
  /** Whether this backend is one of those. */
  readonly own: boolean;
  /** Buffers that were dropped before these were found: 0 unless somebody pinned them meanwhile. */
  readonly dropped: number;
}

export class BuffersPinnedError extends PgaioError {
  override readonly name = 'BuffersPinnedError';
  readonly path: string;
  readonly block: number;
  readonly count: number;
  readonly backends: readonly number[];
  readonly dropped: number;

  constructor(pinned: PinnedBuffers) {
    const { path, block, count, backends, own, dropped } = pinned;
    const who = backends.length === 0 ? '' : `, by backend ${backends.join(', ')}`;
    super(
      'ERR_PGAIO_BUFFERS_PINNED',
      `cannot drop buffers of relation "${path}": ${count} of them, from block ${block} on, pinned${who}`,
      {
        hint: own
          ? 'This backend has pins itself: release buffers, and close streams, first.'
          : 'Let nobody use these blocks while they are dropped.',
        ...(dropped > 0 && {
          detail: `${dropped} buffers were dropped before, while nobody had these pinned.`,
        }),
      },
    );
    this.path = path;
    this.block = block;
    this.count = count;
    this.backends = backends;
    this.dropped = dropped;
  }
}
