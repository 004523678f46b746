/**
 * A read stream against a model of it: the callback's blocks come in its order, each with its data, whatever was
 * paused, started over or pinned by others meanwhile; what a reset gives up does not come at all.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Backend } from '../src/instance/backend.js';
import type { StrategyKind } from '../src/buffer/strategy.js';
import type { ReadStream } from '../src/read-stream/read-stream.js';
import { END_OF_STREAM, YIELD } from '../src/read-stream/stream-options.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { stampOf } from './relations.js';
import { ioDone } from './streams.js';

type Action = 'pull' | 'pause' | 'resume' | 'reset' | 'hold' | 'let go' | 'settle';

export interface StreamPlan {
  /** Runs of neighbours, jumps and repeats. */
  readonly runs: readonly { first: number; count: number }[];
  readonly actions: readonly { what: Action; times: number }[];
  readonly ioConcurrency: number;
  readonly full: boolean;
  readonly batchMode: boolean;
  readonly withData: boolean;
  /** The callback yields before every so many blocks; 0: never. */
  readonly yieldEvery: number;
  readonly strategy: StrategyKind | null;
  /** Left there, without pulling the rest. */
  readonly leave: boolean;
}

export function streamPlans(blocks: number): fc.Arbitrary<StreamPlan> {
  const what = fc.constantFrom<Action>(
    'pull',
    'pull',
    'pull',
    'pause',
    'resume',
    'reset',
    'hold',
    'let go',
    'settle',
  );
  return fc.record({
    runs: fc.array(fc.record({ first: fc.nat(blocks - 1), count: fc.integer({ min: 1, max: 12 }) }), {
      maxLength: 20,
    }),
    actions: fc.array(fc.record({ what, times: fc.integer({ min: 1, max: 8 }) }), { maxLength: 15 }),
    ioConcurrency: fc.constantFrom(0, 1, 2, 16),
    full: fc.boolean(),
    batchMode: fc.boolean(),
    withData: fc.boolean(),
    yieldEvery: fc.constantFrom(0, 0, 2, 3),
    strategy: fc.constantFrom(null, 'bulkread', 'vacuum'),
    leave: fc.boolean(),
  });
}

interface Slot {
  at: number;
}

export class StreamModel {
  readonly #backend: Backend;
  readonly #plan: StreamPlan;
  readonly #stream: ReadStream<Slot>;
  readonly #list: readonly number[];
  /** Blocks that the callback has named, all of them, and how many of those came or were given up. */
  readonly #asked: number[] = [];
  #came = 0;
  #calls = 0;
  #paused = false;
  readonly #held: number[] = [];

  constructor(backend: Backend, relation: SmgrRelation, blocks: number, plan: StreamPlan) {
    this.#backend = backend;
    this.#plan = plan;
    this.#list = plan.runs.flatMap(({ first, count }) =>
      Array.from({ length: Math.min(count, blocks - first) }, (_, at) => first + at),
    );
    const { ioConcurrency, full, batchMode, withData, strategy } = plan;
    this.#stream = backend.rawReadStream<Slot>(relation, (slot) => this.#next(slot), {
      ioConcurrency,
      full,
      batchMode,
      strategy,
      ...(withData ? { perBufferData: (): Slot => ({ at: -1 }) } : {}),
    });
  }

  #next(slot: Slot): number {
    const { yieldEvery, withData } = this.#plan;
    if (yieldEvery > 0 && ++this.#calls % yieldEvery === 0) return YIELD;
    const block = this.#list[this.#asked.length];
    if (block === undefined) return END_OF_STREAM;
    if (withData) slot.at = this.#asked.length;
    this.#asked.push(block);
    return block;
  }

  async run(): Promise<void> {
    const { pool } = this.#backend.buffers;
    for (const { what, times } of this.#plan.actions) await this.#act(what, times);
    if (!this.#plan.leave) {
      this.#resume();
      while (await this.#pull());
      assert.equal(this.#came, this.#list.length, 'a block is missing at the end');
    }
    this.#letGo();
    this.#stream.close();
    assert.equal(pool.pins.buffersPinned, 0);
    assert.equal(pool.lookAheadPins, 0);
    assert.equal(this.#backend.rootScope.pinCount, 0);
    assert.equal(await this.#backend.aio.waits.until(() => this.#stream.next()), END_OF_STREAM);
    await ioDone(this.#backend);
    assert.deepEqual(this.#backend.inFlight(), []);
  }

  async #act(what: Action, times: number): Promise<void> {
    switch (what) {
      case 'pull':
        for (let time = 0; time < times; time++) await this.#pull();
        return;
      case 'pause':
        this.#stream.pause();
        this.#paused = true;
        return;
      case 'resume':
        this.#resume();
        return;
      case 'reset':
        this.#stream.reset();
        this.#came = this.#asked.length;
        this.#paused = false;
        return;
      case 'hold':
        for (let time = 0; time < times && this.#held.length < 4; time++) await this.#pull(true);
        return;
      case 'let go':
        this.#letGo();
        return;
      case 'settle':
        await ioDone(this.#backend);
    }
  }

  #resume(): void {
    this.#stream.resume();
    this.#paused = false;
  }

  #letGo(): void {
    for (const buffer of this.#held.splice(0)) this.#backend.buffers.pool.unpin(buffer, this.#stream.scope);
  }

  /** False at the end. `hold`: the consumer keeps the buffer. */
  async #pull(hold = false): Promise<boolean> {
    const { aio, buffers } = this.#backend;
    const buffer = await aio.waits.until(() => this.#stream.next());
    if (buffer === END_OF_STREAM) {
      // What did not fit is asked for later, so one block may be missing while it is paused.
      assert.ok(this.#paused ? this.#asked.length - this.#came <= 1 : this.#came === this.#list.length);
      return false;
    }
    const at = this.#came++;
    assert.equal(
      stampOf(buffers.page(buffer)).block,
      this.#asked[at],
      'another block came, or in another order',
    );
    if (this.#plan.withData) assert.equal(this.#stream.data.at, at);
    if (hold) this.#held.push(buffer);
    else buffers.pool.unpin(buffer, this.#stream.scope);
    const { stats } = this.#stream;
    const ahead = buffers.pool.lookAheadPins;
    assert.ok(ahead <= stats.distanceCapacity + 4, `${ahead} pinned ahead, of ${stats.distanceCapacity}`);
    return true;
  }
}
