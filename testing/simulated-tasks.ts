/** What the backends of a simulation do, as steps: streams, reads of blocks, reads of files, drops of buffers. */
import { readFileSync } from 'node:fs';
import type { WaitReference } from '../src/aio/handle.js';
import { AioReturn, ResultStatus } from '../src/aio/result.js';
import { BuffersPinnedError } from '../src/base/buffers-pinned-error.js';
import type { ReadBuffersOperation } from '../src/buffer/buffer-manager.js';
import { DropRelationBuffers } from '../src/buffer/drop-buffers.js';
import type { Backend } from '../src/instance/backend.js';
import { type ReadStream } from '../src/read-stream/read-stream.js';
import { END_OF_STREAM } from '../src/read-stream/stream-options.js';
import { PENDING, type Pending } from '../src/shmem/wait.js';
import type { File } from '../src/vfd/file.js';
import { BlockReads } from './block-reads.js';
import type { Random } from './random.js';
import { stampOf } from './relations.js';

export interface SimulatedTask {
  isDone: boolean;
  /** Blocks and file reads that were checked. */
  checked: number;
  /** One step. PENDING: it must wait. */
  step(): true | Pending;
}

export interface SimulatedRelation {
  locator: { database: number; relation: number };
  blocks: number;
}

const expectedFailures = new Set(['ERR_PGAIO_READ_EIO', 'ERR_PGAIO_SHORT_READ']);

/** A task that ends with what injected faults bring about has done its job; any other error is passed on. */
abstract class Task implements SimulatedTask {
  isDone = false;
  checked = 0;
  readonly #mayFail: boolean;

  constructor(mayFail: boolean) {
    this.#mayFail = mayFail;
  }

  protected abstract advance(): true | Pending;
  protected abstract giveUp(): void;

  step(): true | Pending {
    try {
      return this.advance();
    } catch (error) {
      if (!this.#mayFail || !expectedFailures.has((error as { code?: string }).code ?? '')) throw error;
      this.giveUp();
      this.isDone = true;
      return true;
    }
  }
}

class StreamTask extends Task {
  readonly #backend: Backend;
  readonly #stream: ReadStream;
  readonly #blocks: readonly number[];
  readonly #relation: number;
  /** Left early after so many. */
  readonly #stopAfter: number;

  constructor(backend: Backend, path: string, relation: SimulatedRelation, random: Random, mayFail: boolean) {
    super(mayFail);
    this.#backend = backend;
    this.#relation = relation.locator.relation;
    this.#blocks = someBlocks(random, relation.blocks);
    this.#stopAfter = random.chance(0.3) ? random.below(10) : Infinity;
    let asked = 0;
    const nextBlock = (): number => this.#blocks[asked++] ?? END_OF_STREAM;
    this.#stream = backend.rawReadStream(backend.openRelation(path, relation.locator), nextBlock, {
      nextBlock,
    });
  }

  protected advance(): true | Pending {
    const buffer = this.#stream.next();
    if (buffer === PENDING) return PENDING;
    if (buffer === END_OF_STREAM) {
      if (this.checked !== this.#blocks.length)
        throw new Error(`${this.checked} of ${this.#blocks.length} blocks came`);
      this.isDone = true;
      return true;
    }
    const { pool } = this.#backend.buffers;
    const stamp = stampOf(this.#backend.buffers.page(buffer));
    pool.unpin(buffer, this.#stream.scope);
    if (stamp.relation !== this.#relation || stamp.block !== this.#blocks[this.checked]) {
      throw new Error(`block ${stamp.block} came in place of ${this.#blocks[this.checked] ?? -1}`);
    }
    if (++this.checked < this.#stopAfter) return true;
    this.giveUp();
    this.isDone = true;
    return true;
  }

  protected giveUp(): void {
    this.#stream.close();
  }
}

class BlocksTask extends Task {
  readonly #reads: BlockReads;
  readonly #backend: Backend;
  readonly #op: ReadBuffersOperation;
  readonly #count: number;
  /** Nobody waits for it in the end. */
  readonly #abandoned: boolean;
  #started = false;

  constructor(backend: Backend, path: string, relation: SimulatedRelation, random: Random, mayFail: boolean) {
    super(mayFail);
    this.#backend = backend;
    this.#reads = new BlockReads(backend, path, relation.locator);
    const block = random.below(relation.blocks);
    this.#count = 1 + random.below(Math.min(6, relation.blocks - block));
    this.#op = this.#reads.begin(block);
    this.#abandoned = random.chance(0.2);
  }

  protected advance(): true | Pending {
    if (!this.#started) {
      if (this.#reads.startStep(this.#op, this.#count) === PENDING) return PENDING;
      this.#started = true;
      if (!this.#abandoned) return true;
    } else {
      if (this.#backend.buffers.wait(this.#op) === PENDING) return PENDING;
      this.#reads.check(this.#op);
      this.checked += this.#op.count;
    }
    this.giveUp();
    this.isDone = true;
    return true;
  }

  protected giveUp(): void {
    this.#reads.abandon(this.#op);
  }
}

class FileTask extends Task {
  readonly #backend: Backend;
  readonly #file: File;
  readonly #position: number;
  readonly #length: number;
  readonly #result = new AioReturn();
  #offset = -1;
  #reference: WaitReference | null = null;

  constructor(backend: Backend, path: string, relation: SimulatedRelation, random: Random, mayFail: boolean) {
    super(mayFail);
    this.#backend = backend;
    this.#file = backend.openRawFile(
      `${path}/base/${relation.locator.database}/${relation.locator.relation}`,
    );
    this.#position = random.below(relation.blocks * 8192);
    this.#length = random.below(30_000);
  }

  protected advance(): true | Pending {
    const { aio, files, rootScope } = this.#backend;
    if (this.#offset < 0) {
      const offset = files.ioMemory.lease(aio.waits, this.#length);
      if (offset === PENDING) return PENDING;
      this.#offset = offset;
    } else if (this.#reference === null) {
      const io = aio.acquire(rootScope, this.#result);
      if (io === PENDING) return PENDING;
      this.#reference = io.waitReference;
      this.#file.startRead(io, this.#offset, this.#length, this.#position);
    } else {
      if (aio.waitForReference(this.#reference) === PENDING) return PENDING;
      this.#check();
      this.giveUp();
      this.isDone = true;
    }
    return true;
  }

  #check(): void {
    const { status, value } = this.#result;
    if (status === ResultStatus.ERROR) return;
    const got = this.#backend.files.bytes.subarray(this.#offset, this.#offset + value);
    const expected = readFileSync(this.#file.path).subarray(this.#position, this.#position + value);
    if (status === ResultStatus.UNKNOWN || Buffer.compare(got, expected) !== 0) {
      throw new Error(`${value} bytes at ${this.#position} of ${this.#file.path} are others`);
    }
    this.checked++;
  }

  protected giveUp(): void {
    if (this.#offset >= 0) this.#backend.files.ioMemory.release(this.#offset, this.#length);
    this.#file.close();
  }
}

/** Discards buffers that others are reading, or are about to. Those that it finds pinned stop it. */
class DropTask extends Task {
  readonly #drop: DropRelationBuffers;

  constructor(backend: Backend, path: string, relation: SimulatedRelation, random: Random, mayFail: boolean) {
    super(mayFail);
    const { reader } = new BlockReads(backend, path, relation.locator);
    const from = random.below(relation.blocks);
    // One block is looked up, more are scanned for.
    const range = { tag: reader.tag, from, to: random.chance(0.5) ? from + 1 : relation.blocks };
    this.#drop = new DropRelationBuffers(backend.buffers, [range], path);
  }

  protected advance(): true | Pending {
    try {
      if (this.#drop.step() === PENDING) return PENDING;
    } catch (error) {
      if (!(error instanceof BuffersPinnedError)) throw error;
    }
    this.isDone = true;
    return true;
  }

  protected giveUp(): void {
    return; // it holds nothing
  }
}

function someBlocks(random: Random, limit: number): number[] {
  const list: number[] = [];
  while (list.length < 50 && !random.chance(0.15)) {
    const first = random.below(limit);
    for (let left = 1 + random.below(10), block = first; left > 0 && block < limit; left--)
      list.push(block++);
    if (random.chance(0.2)) list.push(first);
  }
  return list;
}

export function makeTask(
  backend: Backend,
  path: string,
  relations: readonly SimulatedRelation[],
  random: Random,
  mayFail: boolean,
): SimulatedTask {
  const Kind = random.pick([StreamTask, StreamTask, BlocksTask, FileTask, DropTask]);
  return new Kind(backend, path, random.pick(relations), random, mayFail);
}
