/** Waiting for the I/O workers of an instance to come to a state, without asking a clock. */
import { WorkerControl } from '../src/aio/method/worker/control.js';
import { AttachedMemory } from '../src/instance/thread-parts.js';
import type { Instance } from '../src/instance/instance.js';
import { untilTrue } from './turns.js';

export interface PoolState {
  /** Workers as the pool counts them. */
  count: number;
  /** Workers that are in their loop. */
  running: number;
  /** Their numbers are 0 … running-1. */
  isGapFree: boolean;
  /** Those of them that sleep. */
  idle: number;
  workersStarted: number;
  workersLost: number;
}

export function poolState(instance: Instance): PoolState {
  const memory = new AttachedMemory(instance.handle);
  const control = new WorkerControl(memory.slots, memory.plan.workers);
  const { workersStarted, workersLost } = instance.backend.counters();
  return {
    count: control.count,
    running: bits(control.aliveMask),
    isGapFree: control.aliveMask >>> 0 === 2 ** bits(control.aliveMask) - 1,
    idle: bits(control.idleMask),
    workersStarted,
    workersLost,
  };
}

/** Resolves with the state of the pool once it is as wanted. */
export async function untilWorkers(
  instance: Instance,
  accept: (state: PoolState) => boolean,
): Promise<PoolState> {
  let state = poolState(instance);
  await untilTrue(() => {
    instance.backend.parts.memory.header.checkCrashed();
    state = poolState(instance);
    return accept(state);
  });
  return state;
}

function bits(mask: number): number {
  let count = 0;
  for (let left = mask; left !== 0; left &= left - 1) count++;
  return count;
}
