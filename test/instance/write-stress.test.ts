/**
 * Threads change pages of one relation through a pool that is too small for it, flush, take checkpoints and extend, while the
 * background writer cleans; and of a relation of their own, which they also cut, remove and make again. Some are ended at any
 * moment. In the end every page is in its file, verifies, and has each change once. PGAIO_STRESS_SEED repeats what is drawn, PGAIO_STRESS_ROUNDS makes it longer.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { it } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { IoMethodName } from '../../src/base/settings.js';
import { createInstance, type Instance } from '../../src/instance/instance.js';
import { isFine, pageVerdict } from '../../src/page/page-verdict.js';
import { forEachMethod } from '../../testing/instances.js';
import { seededRandom, type Random } from '../../testing/random.js';
import { DataDirectory } from '../../testing/relations.js';
import { countAt, hasFailedSync, STRESS_BLOCKS, STRESS_LANES } from '../../testing/write-stress.js';
import { judgeScratch, type ScratchReport } from '../../testing/write-stress-scratch.js';
import type { WriteStressInput } from '../../testing/write-stress-thread.js';

const deaths = 8 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1);
const seed = Number(process.env['PGAIO_STRESS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const program = new URL('../../testing/write-stress-thread.js', import.meta.url);
const RELATION = 1;
const FSYNC_DIED = /^(failing an fsync whose executor died|could not sync file .*: EIO)/;
const FIRST_SCRATCH = 1000;

class Stress {
  readonly data = new DataDirectory();
  readonly counts = new Int32Array(new SharedArrayBuffer(STRESS_BLOCKS * STRESS_LANES * 4));
  /** By lane: threads that were ended, each of which may have made one change more than it could say. */
  readonly ended = new Array<number>(STRESS_LANES).fill(0);
  /** What the last thread of each lane says of its own relation. */
  readonly reports: ScratchReport[] = [];
  /** Another error than a crash of the instance. */
  failure: Error | null = null;
  #scratches = 0;
  readonly #before: number;
  readonly #instance: Instance;
  readonly #random: Random;

  constructor(instance: Instance, random: Random) {
    this.#instance = instance;
    this.#random = random;
    this.data.write(RELATION, STRESS_BLOCKS);
    const file = readFileSync(this.data.file(RELATION));
    // What the pages have there to begin with.
    for (let block = 0; block < STRESS_BLOCKS; block++)
      for (let lane = 0; lane < STRESS_LANES; lane++)
        this.counts[block * STRESS_LANES + lane] = file.readInt32LE(block * 8192 + countAt(lane));
    this.#before = this.#sum();
  }

  #sum(): number {
    return this.counts.reduce((sum, count) => (sum + count) | 0, 0);
  }

  get changes(): number {
    return (this.#sum() - this.#before) | 0;
  }

  #start(lane: number): Worker {
    const workerData: WriteStressInput = {
      handle: this.#instance.handle,
      dataDirectory: this.data.path,
      relation: RELATION,
      scratch: FIRST_SCRATCH + this.#scratches++,
      lane,
      seed: this.#random.bits(),
      counts: this.counts,
    };
    return new Worker(program, { workerData });
  }

  /** Resolves with the error that ended a thread, if one did: the instance has crashed then. */
  async run(): Promise<Error | null> {
    let crash: Error | null = null;
    const threads: { readonly thread: Worker; readonly ended: Promise<unknown> }[] = [];
    const start = (lane: number): void => {
      const thread = this.#start(lane);
      thread.on('error', (error: NodeJS.ErrnoException) => {
        if (error.code === 'ERR_PGAIO_INSTANCE_CRASHED') crash ??= error;
        else this.failure ??= error;
      });
      thread.on('message', (message: number | ScratchReport) => {
        if (typeof message === 'object') this.reports.push(message);
      });
      threads[lane] = { thread, ended: new Promise((resolve) => thread.once('exit', resolve)) };
    };
    for (let lane = 0; lane < STRESS_LANES; lane++) start(lane);
    const isOver = (): boolean => crash !== null || this.failure !== null;
    for (let death = 0; death < deaths && !isOver(); death++) {
      const lane = this.#random.below(STRESS_LANES);
      const { thread, ended } = threads[lane] as (typeof threads)[number];
      for (let message = 1 + this.#random.below(6); message > 0 && !isOver(); message--)
        await Promise.race([new Promise((resolve) => thread.once('message', resolve)), ended]);
      await thread.terminate();
      this.ended[lane] = (this.ended[lane] ?? 0) + 1;
      start(lane);
    }
    for (const { thread } of threads) thread.postMessage('stop');
    await Promise.all(threads.map(({ ended }) => ended));
    return crash;
  }

  /** Who was ended may have been about to change, cut or remove its relation; who left by itself says what it has. */
  #judgeScratches(isWhole: boolean): void {
    for (let number = FIRST_SCRATCH; number < FIRST_SCRATCH + this.#scratches; number++)
      if (existsSync(this.data.file(number))) assertFine(readFileSync(this.data.file(number)));
    if (!isWhole) return;
    assert.equal(this.reports.length, STRESS_LANES);
    for (const { relation, values } of this.reports) {
      if (values === null) assert.ok(!existsSync(this.data.file(relation)));
      else judgeScratch(this.data.file(relation), values);
    }
  }

  /** Every page is whole; without a crash, it has every change. */
  judge(isWhole: boolean): void {
    if (this.failure !== null) throw this.failure;
    this.#judgeScratches(isWhole);
    const file = readFileSync(this.data.file(RELATION));
    const extra = new Array<number>(STRESS_LANES).fill(0);
    assertFine(file);
    for (let block = 0; block < file.length / 8192; block++) {
      const page = file.subarray(block * 8192, (block + 1) * 8192);
      if (block >= STRESS_BLOCKS) continue;
      for (let lane = 0; lane < STRESS_LANES; lane++) {
        const more = page.readInt32LE(countAt(lane)) - (this.counts[block * STRESS_LANES + lane] as number);
        if (isWhole) assert.ok(more >= 0, `block ${block}, lane ${lane}: ${-more} changes are lost`);
        extra[lane] = (extra[lane] as number) + Math.max(0, more);
      }
    }
    for (let lane = 0; lane < STRESS_LANES; lane++)
      assert.ok((extra[lane] as number) <= (this.ended[lane] as number), `lane ${lane}: more than was made`);
  }
}

function assertFine(file: Buffer): void {
  for (let block = 0; block < file.length / 8192; block++) {
    const page = file.subarray(block * 8192, (block + 1) * 8192);
    assert.ok(isFine(pageVerdict(page, block), 0), `block ${block}`);
  }
}

async function stress(ioMethod: IoMethodName): Promise<{ crash: Error | null; changes: number }> {
  const warnings: string[] = [];
  const instance = await createInstance({
    ioMethod,
    sharedBuffers: 64 * 8192,
    ioMemory: '1MB',
    bgwriterLruMaxpages: 20,
    bgwriterDelay: 10,
    maxBackends: 12,
    log: ({ message }) => warnings.push(message),
  });
  const run = new Stress(instance, seededRandom(seed));
  using _ = run.data;
  const crash = await run.run();
  try {
    if (await hasFailedSync(instance.close()))
      assert.ok(warnings.some((warning) => FSYNC_DIED.test(warning)));
  } catch (error) {
    if (crash === null) throw error;
  }
  run.judge(crash === null);
  const expected = [
    /ended without closing it/,
    FSYNC_DIED,
    ...(crash === null ? [] : [/the pgaio instance crashed/]),
  ];
  assert.deepEqual(
    warnings.filter((warning) => !expected.some((one) => one.test(warning))),
    [],
  );
  return { crash, changes: run.changes };
}

forEachMethod((ioMethod) => {
  it(`no change is lost when threads end at any moment: ${deaths} deaths, seed ${seed}`, async (context) => {
    const { crash, changes } = await stress(ioMethod);
    context.diagnostic(`${changes} changes`);
    assert.ok(crash !== null || changes > 20 * deaths);
    // A thread that ends while it changes a page crashes the instance, by design.
    if (crash !== null) context.diagnostic(`crashed: ${crash.message}`);
  });
});
