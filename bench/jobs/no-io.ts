/**
 * A method that completes every I/O at once and reads nothing: what is left is the bookkeeping. Buffers keep what was
 * in their memory before, so that pages whose headers only are judged stay good.
 */
import type { Backend } from '../../src/index.js';
import type { IoHandle } from '../../src/aio/handle.js';
import type { IoMethodOps } from '../../src/aio/method/method.js';
import { HandleState } from '../../src/aio/states.js';

export function completeAtOnce(backend: Backend): void {
  const { thread } = backend.aio;
  const ops: IoMethodOps = {
    name: 'sync',
    waitOnFdBeforeClose: false,
    needsSynchronousExecution: () => false,
    submit: (staged: readonly IoHandle[], count: number) => {
      for (let index = 0; index < count; index++) {
        const io = staged[index]!;
        io.tryBecomeExecutor(thread.slot, io.generation);
        io.move(HandleState.STAGED, HandleState.SUBMITTED);
        thread.finish(io, io.bytes);
      }
    },
    waitOne: null,
  };
  Object.defineProperty(backend.aio, 'ops', { value: ops });
}
