/**
 * Where a backend's thread may be when it is ended. Each scene does what a backend does every day, and stops
 * before the n-th call of a function: a thread can end there, and at the ends of loops, and nowhere else.
 */
import { runDequeued } from '../src/aio/reopened.js';
import { HandleState } from '../src/aio/states.js';
import { fail } from '../src/base/assert.js';
import { BLOCK_SIZE } from '../src/base/settings.js';
import type { ReadBuffersOperation } from '../src/buffer/buffer-manager.js';
import type { PrivatePool } from '../src/buffer/private-pool.js';
import type { Backend } from '../src/instance/backend.js';
import type { BlockReads } from './block-reads.js';
import { PipeReads } from './pipe-reads.js';
import { RawReads } from './raw-reads.js';

export interface Stage {
  readonly backend: Backend;
  readonly blocks: BlockReads;
  readonly path: string;
  readonly directory: string;
  readonly ioHandle: number;
  /** Stops for ever. */
  readonly hold: () => never;
  /** The scene stops by itself; to come to its end would be to miss the place. */
  armed: boolean;
}

/** Stops before the n-th call from now on; of any object of a class, if `object` is its prototype. */
export function holdAt(stage: Stage, object: object, method: string, nth = 1): void {
  const functions = object as Record<string, (...args: unknown[]) => unknown>;
  const original = functions[method];
  if (original === undefined) throw new Error(`there is no ${method}`);
  stage.armed = true;
  let calls = 0;
  functions[method] = function (this: unknown, ...args) {
    if (++calls === nth) stage.hold();
    return original.apply(this ?? object, args);
  };
}

/** Reads blocks 3 to 6, blocking. */
export function readFour({ backend, blocks }: Stage): ReadBuffersOperation {
  const op = blocks.start(3, 4);
  backend.aio.waits.block(() => blocks.buffers.wait(op));
  return op;
}

/** Fills the pool with blocks that nobody needs. */
function fillPool({ backend, blocks }: Stage): void {
  const { pool } = backend.buffers;
  const scope = backend.rootScope;
  for (let block = 1000; block < 1000 + 2 * pool.region.count; block++)
    pool.unpin(pool.pinBlock(blocks.reader.tag, block, scope), scope);
}

export type Scene = (stage: Stage) => void;

export const scenes: Readonly<Record<string, Scene>> = {
  idle: () => undefined,
  'with a handle handed out': ({ backend }) => {
    backend.aio.acquireBlocking(backend.rootScope, null);
  },
  'with pins': (stage) => {
    const { pool } = stage.backend.buffers;
    readFour(stage);
    for (let block = 3; block < 5; block++)
      pool.pinBlock(stage.blocks.reader.tag, block, stage.backend.rootScope);
  },
  'with a pin on what may be another block': (stage) => {
    const { blocks, backend } = stage;
    blocks.abandon(readFour(stage));
    holdAt(stage, backend.buffers.pool, 'isTagged');
    backend.buffers.pool.lookup(blocks.reader.tag, 3, backend.rootScope);
  },
  'before it drops a pin': (stage) => {
    const op = readFour(stage);
    holdAt(stage, stage.backend.buffers.pool, 'subtract');
    stage.blocks.abandon(op);
  },
  'with a free buffer in hand': (stage) => {
    holdAt(stage, stage.backend.buffers.pool, 'lockPartition');
    fillPool(stage);
  },
  'with a victim in hand': (stage) => {
    fillPool(stage);
    holdAt(stage, stage.backend.buffers.pool, 'lockPartition', 2);
    readFour(stage);
  },
  'half way through dropping buffers': (stage) => {
    stage.blocks.abandon(readFour(stage));
    holdAt(stage, stage.backend.buffers.pool, 'tryInvalidate', 3);
    stage.backend.discardBuffersBlocking(stage.blocks.relation);
  },
  'with a dropped buffer in hand': (stage) => {
    stage.blocks.abandon(readFour(stage));
    holdAt(stage, stage.backend.buffers.pool, 'dropShared', 2);
    stage.backend.discardBuffersBlocking(stage.blocks.relation);
  },
  'with claims and no I/O': (stage) => {
    holdAt(stage, stage.blocks.relation, 'startReadv');
    readFour(stage);
  },
  'with an I/O defined': (stage) => {
    holdAt(stage, stage.backend.parts.thread, 'stage');
    readFour(stage);
  },
  'half way through staging': (stage) => {
    holdAt(stage, stage.backend.parts.bufferIo, 'attach', 3);
    readFour(stage);
  },
  'after staging, before it says so': (stage) => {
    holdAt(stage, stage.backend.aio.ops, 'needsSynchronousExecution');
    readFour(stage);
  },
  'with a batch open': ({ backend, blocks }) => {
    backend.aio.enterBatch(backend.rootScope);
    blocks.start(3, 4);
  },
  'before it runs its own I/O': (stage) => {
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.thread, 'run');
    readFour(stage);
  },
  'before it says what the kernel answered': (stage) => {
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.thread, 'finish');
    readFour(stage);
  },
  'before it completes its own I/O': (stage) => {
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.thread, 'completeShared');
    readFour(stage);
  },
  'half way through completing it': (stage) => {
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.bufferIo, 'terminate', 3);
    readFour(stage);
  },
  'before it wakes who waits': (stage) => {
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.thread.completion, 'wakeWaiters');
    readFour(stage);
  },
  'before it reclaims a handle': (stage) => {
    holdAt(stage, stage.backend.parts.thread, 'completeLocal');
    readFour(stage);
  },
  'after it reclaimed, before the handle is idle': (stage) => {
    const { table } = stage.backend.parts.thread;
    const { perBackend } = table.region;
    for (let local = 0; local < perBackend; local++)
      holdAt(stage, table.handle(stage.backend.number * perBackend + local), 'recycle');
    readFour(stage);
  },
  'with I/O memory leased and files open': (stage) => {
    const { files } = stage.backend;
    for (let count = 0; count < 12; count++) stage.backend.openRawFile(stage.path);
    readFour(stage);
    files.ioMemory.tryLease(100_000);
    files.ioMemory.release(files.ioMemory.tryLease(20_000), 20_000);
    files.ioMemory.tryLease(1);
  },
  'with reads of a closed file in flight': ({ backend, directory }) => {
    const raw = new RawReads(backend, directory);
    for (let count = 0; count < 6; count++) raw.start();
    raw.file.close();
  },
  'before it gives a file back': (stage) => {
    holdAt(stage, stage.backend.parts.memory.words, 'sub');
    stage.backend.openRawFile(stage.path).close();
  },
  'while it opens a file': (stage) => {
    holdAt(stage, stage.backend.parts.files, 'acquire', 4);
    for (let count = 0; count < 4; count++) stage.backend.openRawFile(stage.path);
  },
  'while it closes': (stage) => {
    readFour(stage);
    stage.backend.openRawFile(stage.path);
    holdAt(stage, stage.backend.parts.vfds, 'closeAll');
    stage.backend.closeBlocking();
  },
  'before it gives its slot back': (stage) => {
    readFour(stage);
    holdAt(stage, stage.backend.parts.memory.slots, 'release');
    stage.backend.closeBlocking();
  },
};

function ownPool({ backend }: Stage): PrivatePool {
  return backend.parts.privatePool ?? fail('its relation is not private');
}

/** Those with a private relation of the backend's own. */
export const privateScenes: Readonly<Record<string, Scene>> = {
  'with private pins and a claim': (stage) => {
    const { buffers, reader } = stage.blocks;
    readFour(stage);
    buffers.bufferIo.claim(buffers.pool.pinBlock(reader.tag, 9, stage.backend.rootScope));
  },
  'with the lock of its own pool': (stage) => {
    holdAt(stage, stage.blocks.buffers.pool, 'unlockPartition');
    readFour(stage);
  },
  'half way through staging private buffers': (stage) => {
    holdAt(stage, ownPool(stage).bufferIo, 'attach', 3);
    readFour(stage);
  },
  'half way through ending private buffers': (stage) => {
    holdAt(stage, ownPool(stage).bufferIo, 'terminate', 3);
    readFour(stage);
  },
  'with private reads in the kernel’s hands': ({ backend, blocks, directory }) => {
    const buffer = blocks.buffers.pool.pinBlock(blocks.reader.tag, 0, backend.rootScope);
    const place = { memory: backend.parts.memory.privateNumber, offset: buffer * BLOCK_SIZE };
    const pipes = new PipeReads(backend, directory, place);
    const { perBackend } = backend.parts.thread.table.region;
    for (let count = 0; count < Math.min(3, perBackend); count++) pipes.start();
  },
};

/** Those that only a method with workers has. */
export const workerScenes: Readonly<Record<string, Scene>> = {
  'with an I/O submitted': ({ blocks }) => {
    blocks.start(3, 4);
  },
  'before it hands an I/O to the queue': (stage) => {
    const { ops } = stage.backend.aio;
    ops.submit = (staged, count) => {
      for (const io of staged.slice(0, count))
        io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, io.generation);
      stage.hold();
    };
    stage.armed = true;
    readFour(stage);
  },
  'before it wakes a worker': (stage) => {
    holdAt(stage, stage.backend.parts.thread.counters, 'count');
    readFour(stage);
  },
  'as the executor of another’s I/O': (stage) => {
    const { thread } = stage.backend.parts;
    const io = thread.table.handle(stage.ioHandle);
    holdAt(stage, thread, 'run');
    runDequeued(thread, io, io.generation);
  },
  'half way through completing another’s I/O': (stage) => {
    const { thread, bufferIo } = stage.backend.parts;
    const io = thread.table.handle(stage.ioHandle);
    holdAt(stage, bufferIo, 'terminate', 2);
    runDequeued(thread, io, io.generation);
  },
};

/** Those for which another backend has claimed a buffer of the relation. */
export const claimScenes: Readonly<Record<string, Scene>> = {
  'while it waits for a claim to drop the buffer': (stage) => {
    holdAt(stage, stage.backend.aio.waits, 'waitFor');
    stage.backend.discardBuffersBlocking(stage.blocks.relation);
  },
};
