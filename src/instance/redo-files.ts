/** Pages and files of a data directory for redo: through the pool of the instance that recovers it. */
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import type { ForkEnd, RedoBlock, RedoFork, RedoStore } from '../recovery/redo-store.js';
import { SEGMENT_BLOCKS, type Fork } from '../smgr/relation.js';
import type { SmgrRelation } from '../smgr/smgr.js';
import type { Backend } from './backend.js';
import { overwriting } from './overwrite-block.js';
import { truncating } from './relation-changes.js';

export class RedoFiles implements RedoStore {
  readonly #backend: Backend;
  readonly #dataDirectory: string;
  readonly #relations = new Map<string, SmgrRelation>();

  constructor(backend: Backend, dataDirectory: string) {
    this.#backend = backend;
    this.#dataDirectory = dataDirectory;
  }

  #relation({ tablespace, database, relation }: RedoFork): SmgrRelation {
    const key = [tablespace, database, relation].join('/');
    let opened = this.#relations.get(key);
    if (opened === undefined) {
      opened = this.#backend.openRelation(this.#dataDirectory, { tablespace, database, relation });
      this.#relations.set(key, opened);
    }
    return opened;
  }

  async read(at: RedoBlock): Promise<PinnedBuffer | null> {
    const relation = this.#relation(at);
    const fork = at.fork as Fork;
    if (relation.blockCount(fork) <= at.block) return null;
    return this.#backend.readBlock(relation, at.block, { fork });
  }

  async overwrite(at: RedoBlock): Promise<PinnedBuffer> {
    const { buffers, aio, rootScope } = this.#backend;
    const relation = this.#relation(at);
    const fork = at.fork as Fork;
    if (!relation.exists(fork)) relation.create(fork);
    const end = relation.blockCount(fork);
    if (end <= at.block) relation.zeroExtend(fork, end, at.block + 1 - end);
    const buffer = await aio.waits.until(overwriting(buffers, relation, fork, at.block, rootScope));
    return new PinnedBuffer(buffers, rootScope, buffer, at.block);
  }

  async truncate(end: ForkEnd): Promise<void> {
    const { buffers, aio, writes } = this.#backend;
    const relation = this.#relation(end);
    const fork = end.fork as Fork;
    const hearers = { wal: null, requestSync: null };
    if (relation.blockCount(fork) > end.blocks)
      await aio.waits.until(truncating(relation, fork, end.blocks)(buffers, hearers));
    // Also where nothing is to be cut: the kernel may have cut it, and the disk not.
    const count = relation.segmentCount(fork);
    for (let segment = Math.floor(end.blocks / SEGMENT_BLOCKS); segment < count; segment++)
      await writes.requestSync(relation, fork, segment);
  }

  willNeedSync(at: RedoBlock): Promise<void> {
    const segment = Math.floor(at.block / SEGMENT_BLOCKS);
    return this.#backend.writes.requestSync(this.#relation(at), at.fork as Fork, segment);
  }

  /** At the end: files are opened again when they are used. */
  close(): void {
    for (const relation of this.#relations.values()) this.#backend.closeRelation(relation);
  }
}
