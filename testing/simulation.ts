/** Several backends and the I/O workers in one thread, in an order that a seed decides; see simulated-backend.ts. */
import { constants } from 'node:os';
import { InjectionPoints } from '../src/aio/injection-points.js';
import type { IoHandle } from '../src/aio/handle.js';
import type { IoMethodName } from '../src/base/settings.js';
import { Backend } from '../src/instance/backend.js';
import { createSharedState, releaseSharedState } from '../src/instance/instance.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { leaksOf } from './leaks.js';
import { seededRandom, type Random } from './random.js';
import { DataDirectory } from './relations.js';
import { SimulatedBackend } from './simulated-backend.js';
import { Death, SimulatedPool, type DeathPoint } from './simulated-pool.js';
import { makeTask, type SimulatedRelation, type SimulatedTask } from './simulated-tasks.js';

export interface SimulationOptions {
  seed: number;
  ioMethod: IoMethodName;
  /** Probability of each: a worker's death at each point of an I/O; a short answer or an error of the kernel. */
  deaths: number;
  faults: number;
}

export interface SimulationResult {
  steps: number;
  blocks: number;
  deaths: number;
  faults: number;
}

class Simulation {
  readonly random: Random;
  readonly options: SimulationOptions;
  readonly result: SimulationResult = { steps: 0, blocks: 0, deaths: 0, faults: 0 };
  readonly backends: SimulatedBackend<SimulatedTask>[] = [];
  pool: SimulatedPool | null = null;

  constructor(options: SimulationOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
  }

  /** Points at which a worker may die, and the kernel may answer otherwise. */
  injection(): InjectionPoints {
    return new InjectionPoints({
      beforeSharedCompletion: (io, raw, memories) => {
        this.mayDie('beforeSharedCompletion');
        return this.#answer(io, raw, memories[io.memory] ?? new Uint8Array());
      },
      afterSharedCompletion: () => this.mayDie('afterSharedCompletion'),
    });
  }

  mayDie(point: DeathPoint): void {
    if (this.pool === null || this.pool.current === null || !this.random.chance(this.options.deaths)) return;
    this.result.deaths++;
    throw new Death(point);
  }

  #answer(io: IoHandle, raw: number, memory: Uint8Array): number {
    if (raw <= 0 || !this.random.chance(this.options.faults)) return raw;
    this.result.faults++;
    const answer = this.random.chance(0.3) ? -constants.errno.EIO : this.random.below(raw);
    let skip = Math.max(0, answer);
    for (let piece = 0; piece < io.iovCount; piece++) {
      const length = io.iovLength(piece);
      memory.fill(0xee, io.iovOffset(piece) + Math.min(skip, length), io.iovOffset(piece) + length);
      skip = Math.max(0, skip - length);
    }
    return answer;
  }

  run(): void {
    while (this.backends.some(({ tasks }) => tasks.length > 0)) {
      const choices: (() => void)[] = [];
      for (const backend of this.backends) {
        for (const task of backend.runnable()) choices.push(() => backend.run(task));
      }
      if (this.pool?.hasWork === true) choices.push(() => this.pool?.step());
      if (choices.length === 0) throw new Error('a wake-up was lost: everybody sleeps');
      this.random.pick(choices)();
      if (++this.result.steps > 2_000_000) throw new Error('it does not come to an end');
    }
  }
}

/** What simulations read. Nobody changes it, so that it serves any number of them. */
export class SimulationData extends DataDirectory {
  readonly relations: readonly SimulatedRelation[] = [40, 90].map((blocks, at) => ({
    locator: this.write(300 + at, blocks),
    blocks,
  }));
}

/** Runs a whole simulation. Throws what any task found wrong; the message begins with the seed. */
export async function simulate(options: SimulationOptions, data: SimulationData): Promise<SimulationResult> {
  const simulation = new Simulation(options);
  const { random } = simulation;
  const { relations } = data;
  const state = await createSharedState({
    ioMethod: options.ioMethod,
    sharedBuffers: random.pick(['512kB', '1MB']),
    ioMemory: random.pick(['32kB', '256kB']),
    ioMaxConcurrency: random.pick([1, 2, 4]),
    ioCombineLimit: random.pick(['8kB', '32kB']),
    effectiveIoConcurrency: random.pick([0, 1, 3]),
    ioMinWorkers: 1 + random.below(3),
    ioMaxWorkers: 4,
    ioWorkerLaunchInterval: 0,
    maxBackends: 4,
    log: () => undefined,
  });
  const loaded = { registrations: [], injection: simulation.injection() };
  for (let count = 0; count < 4; count++) {
    simulation.backends.push(new SimulatedBackend(new Backend(state.handle, loaded, state.log)));
  }
  if (options.ioMethod === 'worker') {
    simulation.pool = new SimulatedPool(state.handle, loaded, random, (point) => simulation.mayDie(point));
  }
  try {
    for (const { backend, tasks } of simulation.backends) {
      for (let count = 0; count < 6; count++) {
        tasks.push(makeTask(backend, data.path, relations, random, options.faults > 0 || options.deaths > 0));
      }
    }
    const tasks = simulation.backends.flatMap((one) => one.tasks);
    simulation.run();
    simulation.result.blocks = tasks.reduce((sum, task) => sum + task.checked, 0);
    finish(simulation, state.handle);
  } catch (error) {
    throw new Error(`seed ${options.seed} (${options.ioMethod}): ${(error as Error).message}`, {
      cause: error,
    });
  } finally {
    await releaseSharedState(state.memory);
  }
  return simulation.result;
}

/** Everybody leaves: I/O that was abandoned is drained, and nothing may be left. */
function finish(simulation: Simulation, handle: InstanceHandle): void {
  while (simulation.pool?.hasWork === true) simulation.pool.step();
  for (const { backend } of simulation.backends) {
    const { buffersPinned } = backend.buffers.pool.pins;
    if (buffersPinned > 0)
      throw new Error(`backend ${backend.number} still has ${buffersPinned} buffers pinned`);
    backend.closeBlocking();
  }
  simulation.pool?.close();
  const leaks = leaksOf(handle);
  if (leaks.length > 0) throw new Error(leaks.join('; '));
}
