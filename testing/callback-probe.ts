/**
 * Two callbacks for tests, as a module that an instance names: every thread of it has them. What they do in the thread
 * of the test, the test decides; the shared part, which runs wherever an I/O completes, is the same everywhere.
 */
import type { AioCallback, Registry } from '../src/aio/callback.js';
import type { IoHandle } from '../src/aio/handle.js';

export const PROBES = [40, 41] as const;
export const probeUrl: string = import.meta.url;

/** What the test's own thread does besides. */
export const hooks: { stage: (io: IoHandle) => void; local: (io: IoHandle) => void } = {
  stage: () => undefined,
  local: () => undefined,
};
/** Parts that ran in this thread, in order. */
export const ran: string[] = [];

function probe(id: number): AioCallback {
  return {
    name: `probe ${id}`,
    stage: (io) => {
      ran.push(`stage ${id}`);
      hooks.stage(io);
    },
    // In another order it would come to something else.
    completeShared: (_io, result, data) => {
      if (result.value >= 0) result.value = result.value * 2 + data;
    },
    completeLocal: (io) => {
      ran.push(`local ${id}`);
      hooks.local(io);
    },
  };
}

export function register(registry: Registry): void {
  for (const id of PROBES) registry.addCallback(id, probe(id));
}
