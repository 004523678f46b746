/** The thread behind testing/actor.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Backend } from '../src/instance/backend.js';
import { attachInstance, createInstance } from '../src/instance/instance.js';
import type { ActorInput, ActorReport } from './actor.js';
import { BlockReads } from './block-reads.js';

const input = workerData as ActorInput;

function report(message: ActorReport): void {
  parentPort?.postMessage(message);
}

/** Keeps the thread, its event loop turning. */
function stay(): void {
  parentPort?.on('message', () => undefined);
}

function sleepForEver(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

async function attached(): Promise<{ backend: Backend; blocks: BlockReads }> {
  if (input.handle === null) throw new Error(`the role ${input.role} needs an instance`);
  const backend = await attachInstance(input.handle);
  report({ backend: backend.number });
  return { backend, blocks: new BlockReads(backend, input.dataDirectory, input.locator) };
}

async function create(): Promise<void> {
  const instance = await createInstance({
    sharedBuffers: '1MB',
    maxBackends: 8,
    injection: input.injection,
    log: () => undefined,
  });
  report({ handle: instance.handle });
  stay();
}

async function act(): Promise<void> {
  if (input.role === 'create') return create();
  const { backend, blocks } = await attached();
  switch (input.role) {
    case 'stay':
      report({ ready: true });
      stay();
      break;
    case 'close':
      await backend.close();
      report({ ready: true });
      stay();
      break;
    case 'return':
    case 'exit':
    case 'throw':
      blocks.start(input.block);
      void backend
        .openRawFile(`${input.dataDirectory}/PG_VERSION`)
        .read(0, 3)
        .catch(() => undefined);
      if (input.role === 'throw') throw new Error('thrown by the actor');
      if (input.role === 'exit') process.exit(3);
      break;
    case 'block':
      report({ ready: true });
      block(backend, blocks);
      break;
    case 'critical':
      backend.parts.memory.slots.enterCritical(backend.number);
      report({ ready: true });
      sleepForEver();
      break;
    case 'stage':
      backend.aio.enterBatch(backend.rootScope);
      blocks.start(input.block);
      report({ ready: true });
      sleepForEver();
      break;
    case 'commit unsynced':
      backend.aio.startFsync = (): void => {
        report({ ready: true });
        sleepForEver();
      };
      backend.wal.commitBlocking('actor', 'unsynced');
      break;
    case 'commit':
      report({ ready: true });
      backend.wal.commitBlocking('actor', 'message');
      report({ outcome: 'done' });
  }
}

function block(backend: Backend, blocks: BlockReads): void {
  try {
    const op = blocks.start(input.block);
    backend.aio.waits.block(() => backend.buffers.wait(op));
    blocks.check(op);
    blocks.abandon(op);
    report({ outcome: 'done' });
  } catch (error) {
    report({ outcome: (error as { code?: string }).code ?? String(error) });
  }
}

await act();
