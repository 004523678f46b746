/** Holding the fsync that a backend starts next, and not the writes before it, which its own thread may make. */
import assert from 'node:assert/strict';
import type { Backend } from '../src/instance/backend.js';
import { holdIo, type Injection, type IoHold } from './injection.js';

/** Returns what gives the hold once the fsync was started. */
export function holdFsync(injection: Injection, backend: Backend): () => IoHold {
  const { aio } = backend;
  let hold: IoHold | null = null;
  aio.startFsync = (io, fd) => {
    hold = holdIo(injection, backend, 'beforeSharedCompletion');
    Reflect.deleteProperty(aio, 'startFsync');
    aio.startFsync(io, fd);
  };
  return () => hold ?? assert.fail('no fsync was started');
}
