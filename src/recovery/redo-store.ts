/** Pages and files as redo needs them; recovery itself knows nothing of instances. */
import type { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { Fork } from '../smgr/relation.js';
import { HEAP_BLOCKS_PER_MAP_BLOCK, TruncateFlag, type Truncation } from '../wal/truncate-record.js';

export interface RedoFork {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork: number;
}

export interface RedoBlock extends RedoFork {
  readonly block: number;
}

/** How many blocks a fork has after a truncation. */
export interface ForkEnd extends RedoFork {
  readonly blocks: number;
}

export interface RedoStore {
  /** Reads and pins a block; null if the file has no such block. */
  read(block: RedoBlock): Promise<PinnedBuffer | null>;
  /** Pins a block whose page will be written over, whatever it is; it is there, or zero. Makes the file, or longer. */
  overwrite(block: RedoBlock): Promise<PinnedBuffer>;
  /** Cuts off what is there behind the end. */
  truncate(end: ForkEnd): Promise<void>;
  /** The next checkpoint must synchronize the block's file. */
  willNeedSync(block: RedoBlock): Promise<void>;
}

export function forkEnds({ tablespace, database, relation, blocks, flags }: Truncation): ForkEnd[] {
  const ends: ForkEnd[] = [];
  const add = (fork: number, count: number): void => {
    ends.push({ tablespace, database, relation, fork, blocks: count });
  };
  if ((flags & TruncateFlag.HEAP) !== 0) add(Fork.MAIN, blocks);
  if ((flags & TruncateFlag.VISIBILITY_MAP) !== 0)
    add(Fork.VM, Math.ceil(blocks / HEAP_BLOCKS_PER_MAP_BLOCK));
  // A tree, whose rest PostgreSQL repairs by itself.
  if ((flags & TruncateFlag.FREE_SPACE_MAP) !== 0 && blocks === 0) add(Fork.FSM, 0);
  return ends;
}
