/** Where a backend's thread may be when it is ended while it changes or writes pages; see casualty-scenes.ts. */
import { IoHandle } from '../src/aio/handle.js';
import { holdAt, readFour, type Scene, type Stage } from './casualty-scenes.js';

const MARK = 100;

/** Changes blocks 3 to 5, and returns their buffers. */
function changeThree(stage: Stage): number[] {
  const { backend, blocks } = stage;
  const op = readFour(stage);
  const buffers = [0, 1, 2].map((at) => op.buffer(at));
  for (const buffer of buffers) {
    const lock = backend.buffers.locks.tryLock(backend.rootScope, buffer, 'exclusive');
    lock?.change((page) => {
      page[MARK] = 0xab;
    });
    lock?.release();
  }
  blocks.abandon(op);
  return buffers;
}

function flush({ backend }: Stage, buffers: readonly number[]): void {
  backend.aio.waits.block(backend.buffers.writeBack.flushing(buffers));
}

export const writeScenes: Readonly<Record<string, Scene>> = {
  'with claims of a write': (stage) => {
    const buffers = changeThree(stage);
    for (const buffer of buffers) stage.backend.buffers.bufferIo.claimWrite(buffer, false);
  },
  'half way through staging a write': (stage) => {
    const buffers = changeThree(stage);
    holdAt(stage, stage.backend.parts.bufferIo, 'attachWrite', 2);
    flush(stage, buffers);
  },
  'with a write submitted': (stage) => {
    const buffers = changeThree(stage);
    holdAt(stage, stage.backend.aio, 'waitFor');
    flush(stage, buffers);
  },
  'half way through completing a write': (stage) => {
    const buffers = changeThree(stage);
    stage.backend.aio.ops.needsSynchronousExecution = () => true;
    holdAt(stage, stage.backend.parts.bufferIo, 'terminateWrite', 2);
    flush(stage, buffers);
  },
  'in an fsync': (stage) => {
    const { backend } = stage;
    flush(stage, changeThree(stage));
    backend.aio.ops.needsSynchronousExecution = () => true;
    const handle = IoHandle.prototype;
    // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the handle as its `this`
    const { markBegun } = handle;
    handle.markBegun = function (this: IoHandle): void {
      markBegun.call(this);
      stage.hold();
    };
    void backend.writes.processSyncRequests();
  },
  'with content locks': (stage) => {
    const [first, second] = changeThree(stage) as [number, number];
    const { locks } = stage.backend.buffers;
    locks.tryLock(stage.backend.rootScope, first, 'exclusive');
    locks.tryLock(stage.backend.rootScope, second, 'share');
    locks.tryLock(stage.backend.rootScope, second, 'share');
  },
  'with the extension lock': (stage) => {
    changeThree(stage);
    holdAt(stage, stage.backend.buffers.bufferIo, 'endAsValid');
    const { backend, blocks } = stage;
    void backend.writes.extendRelation(blocks.relation, 2);
  },
  'in the middle of a change': (stage) => {
    const { backend } = stage;
    const op = readFour(stage);
    const lock = backend.buffers.locks.tryLock(backend.rootScope, op.buffer(0), 'exclusive');
    lock?.change((page) => {
      page[MARK] = 1;
      stage.hold();
    });
  },
};
