/** Reads of blocks as a series of operations: all started first, then all waited for. The suite's `read_buffers`. */
import { ReadBuffersOperation, type BufferManager, type ForkReader } from '../src/buffer/buffer-manager.js';
import type { Backend } from '../src/instance/backend.js';
import type { Pending } from '../src/shmem/wait.js';
import { Fork } from '../src/smgr/relation.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { stampOf } from './relations.js';

/** One operation: where it begins in the request, its first block, whether it had to do I/O, whose, and its blocks. */
export interface Operation {
  offset: number;
  block: number;
  io: 'none' | 'own' | 'foreign';
  count: number;
}

export class BlockReads {
  readonly backend: Backend;
  readonly relation: SmgrRelation;
  /** Of the pool that the relation is read through. */
  readonly buffers: BufferManager;
  readonly reader: ForkReader;
  /** Operations begun from now on only pin; their I/O is started by waiting for them, as streams do under sync. */
  deferred = false;

  constructor(
    backend: Backend,
    dataDirectory: string,
    locator: {
      tablespace?: number;
      database: number;
      relation: number;
      backend?: number | undefined;
    },
    flags = 0,
  ) {
    this.backend = backend;
    this.relation = backend.openRelation(dataDirectory, locator);
    this.buffers = backend.buffersOf(this.relation);
    this.reader = this.buffers.reader(this.relation, Fork.MAIN, flags);
  }

  /** An operation that is begun: pass it to `startStep` until that is through. */
  begin(block: number): ReadBuffersOperation {
    const op = new ReadBuffersOperation();
    op.begin(this.reader, this.backend.rootScope, new Int32Array(128), 127, 0, block, 0);
    op.deferred = this.deferred;
    return op;
  }

  /** Starts reading up to `count` blocks from `block` on, blocking only where starting itself must. */
  start(block: number, count = 1): ReadBuffersOperation {
    const op = this.begin(block);
    this.backend.aio.waits.block(() => this.startStep(op, count));
    return op;
  }

  startStep(op: ReadBuffersOperation, count: number): true | Pending {
    return this.buffers.start(op, count);
  }

  /** Waits for an operation, copies its pages as they are, and unpins them. */
  async copy(op: ReadBuffersOperation): Promise<Uint8Array[]> {
    try {
      await this.backend.aio.waits.until(() => this.buffers.wait(op));
      return Array.from({ length: op.count }, (_, at) => this.buffers.page(op.buffer(at)).slice());
    } finally {
      this.buffers.unpinAll(op);
    }
  }

  /** Waits for an operation, checks its pages, and unpins them. */
  async finish(op: ReadBuffersOperation): Promise<void> {
    try {
      await this.backend.aio.waits.until(() => this.buffers.wait(op));
      this.check(op);
    } finally {
      this.buffers.unpinAll(op);
    }
  }

  check(op: ReadBuffersOperation): void {
    for (let at = 0; at < op.count; at++) {
      const { block, relation } = stampOf(this.buffers.page(op.buffer(at)));
      if (block !== op.block + at || relation !== this.relation.locator.relation) {
        throw new Error(`block ${op.block + at} holds the page of block ${block} of ${relation}`);
      }
    }
  }

  /** Unpins, whatever becomes of the I/O. */
  abandon(op: ReadBuffersOperation): void {
    this.buffers.unpinAll(op);
  }

  /** Starts everything, then waits for everything. */
  async read(block: number, count: number, combineLimit = 16): Promise<Operation[]> {
    const { operations, finish } = await this.startAll(block, count, combineLimit);
    await finish();
    return operations;
  }

  async startAll(
    block: number,
    count: number,
    combineLimit = 16,
  ): Promise<{ operations: Operation[]; finish: () => Promise<void> }> {
    const operations: Operation[] = [];
    const started: ReadBuffersOperation[] = [];
    for (let offset = 0; offset < count;) {
      const op = this.begin(block + offset);
      const wanted = Math.min(count - offset, combineLimit);
      await this.backend.aio.waits.until(() => this.startStep(op, wanted));
      // What was pinned behind the operation is pinned again by the next.
      for (; op.pinned > op.count; op.pinned--) this.buffers.pool.unpin(op.buffer(op.pinned - 1), op.scope);
      started.push(op);
      operations.push({
        offset,
        block: op.block,
        io: !op.needsWait ? 'none' : op.foreign ? 'foreign' : 'own',
        count: op.count,
      });
      offset += op.count;
    }
    const finish = async (): Promise<void> => {
      for (const op of started) await this.finish(op);
    };
    return { operations, finish };
  }
}
