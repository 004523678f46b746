/**
 * What a backend does under stress: reads of all kinds as its seed says, each page checked. Every relation is also
 * there as a private one of the backend's.
 */
import { linkSync, readFileSync } from 'node:fs';
import { BuffersPinnedError } from '../src/base/buffers-pinned-error.js';
import { PgaioError } from '../src/base/errors.js';
import { isOutOfBuffers } from '../src/buffer/pool-holders.js';
import type { Backend } from '../src/instance/backend.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import type { Random } from './random.js';
import { stampOf } from './relations.js';

const BLOCK = 8192;

/** What there is to read. */
export interface StressData {
  dataDirectory: string;
  relations: { locator: { database: number; relation: number }; blocks: number }[];
}

export class StressWork {
  readonly #backend: Backend;
  readonly #random: Random;
  readonly #relations: readonly { relation: SmgrRelation; blocks: number; path: string }[];
  blocks = 0;

  constructor(backend: Backend, random: Random, data: StressData) {
    this.#backend = backend;
    this.#random = random;
    const directory = data.dataDirectory;
    this.#relations = data.relations.flatMap(({ locator, blocks }) => {
      const path = `${directory}/base/${locator.database}/${locator.relation}`;
      const own = { ...locator, backend: backend.number };
      linkOnce(path, `${directory}/base/${own.database}/t${own.backend}_${own.relation}`);
      return [locator, own].map((one) => ({ relation: backend.openRelation(directory, one), blocks, path }));
    });
  }

  /** One operation of a random kind. */
  async step(): Promise<void> {
    const kinds = [
      () => this.#single(),
      () => this.#severalAtOnce(),
      () => this.#stream(),
      () => this.#streamBlocking(),
      () => this.#file(),
      () => this.#leaveEarly(),
      () => this.#closeDescriptors(),
      () => this.#discard(),
    ];
    await this.#random.pick(kinds)();
  }

  #expect(page: Uint8Array, relation: number, block: number): void {
    const stamp = stampOf(page);
    if (stamp.block !== block || stamp.relation !== relation) {
      throw new Error(
        `block ${block} of ${relation} is the page of block ${stamp.block} of ${stamp.relation}`,
      );
    }
    this.blocks++;
  }

  async #single(): Promise<void> {
    const { relation, blocks } = this.#random.pick(this.#relations);
    const block = this.#random.below(blocks);
    const buffer = await this.#backend.readBlock(relation, block);
    this.#expect(buffer.page, relation.locator.relation, block);
    buffer.release();
  }

  async #severalAtOnce(): Promise<void> {
    await Promise.all([this.#single(), this.#single(), this.#stream(), this.#file()]);
  }

  /** Runs of neighbours, jumps, and the same block twice. */
  #someBlocks(limit: number): number[] {
    const list: number[] = [];
    while (list.length < 40 && !this.#random.chance(0.1)) {
      const first = this.#random.below(limit);
      const run = 1 + this.#random.below(12);
      for (let block = first; block < Math.min(limit, first + run); block++) list.push(block);
      if (this.#random.chance(0.2)) list.push(first);
    }
    return list;
  }

  async #stream(): Promise<void> {
    const { relation, blocks } = this.#random.pick(this.#relations);
    const list = this.#someBlocks(blocks);
    let asked = 0;
    let got = 0;
    for await (const buffer of this.#backend.readStream(relation, { nextBlock: () => list[asked++] ?? -1 })) {
      if (buffer.block !== list[got])
        throw new Error(`block ${buffer.block} came in place of ${list[got] ?? -1}`);
      this.#expect(buffer.page, relation.locator.relation, buffer.block);
      got++;
    }
    if (got !== list.length) throw new Error(`${got} of ${list.length} blocks came`);
  }

  async #streamBlocking(): Promise<void> {
    const { relation, blocks } = this.#random.pick(this.#relations);
    const list = this.#someBlocks(blocks);
    let asked = 0;
    const stream = this.#backend.readStream(relation, { nextBlock: () => list[asked++] ?? -1 });
    for (const block of list) {
      const buffer = stream.nextBlocking();
      if (buffer?.block !== block) throw new Error(`block ${buffer?.block ?? -1} came in place of ${block}`);
      this.#expect(buffer.page, relation.locator.relation, block);
    }
    if (stream.nextBlocking() !== null) throw new Error('more blocks came than were asked for');
  }

  async #leaveEarly(): Promise<void> {
    const { relation } = this.#random.pick(this.#relations);
    let left = this.#random.below(20);
    await this.#backend.scope(async (scope) => {
      for await (const buffer of this.#backend.readStream(relation, { scope })) {
        this.#expect(buffer.page, relation.locator.relation, buffer.block);
        if (left-- === 0) break;
      }
    });
  }

  async #file(): Promise<void> {
    const { path, blocks } = this.#random.pick(this.#relations);
    const file = this.#backend.openRawFile(path);
    try {
      const position = this.#random.below(blocks * BLOCK);
      const length = this.#random.below(3 * BLOCK);
      const bytes = await file.read(position, length);
      const whole = readFileSync(path).subarray(position, position + length);
      if (Buffer.compare(bytes, whole) !== 0)
        throw new Error(`${length} bytes at ${position} of ${path} are others`);
    } finally {
      file.close();
    }
  }

  /** Takes away from the others what nobody has pinned; they read it again. */
  async #discard(): Promise<void> {
    const { relation, blocks } = this.#random.pick(this.#relations);
    try {
      await this.#backend.discardBuffers(relation, { from: this.#random.below(blocks) });
    } catch (error) {
      if (!(error instanceof BuffersPinnedError)) throw error;
    }
  }

  async #closeDescriptors(): Promise<void> {
    this.#backend.parts.vfds.closeDescriptors();
  }
}

/** A backend with the same number may have made it. */
function linkOnce(path: string, link: string): void {
  try {
    linkSync(path, link);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** An I/O whose executor was killed twice fails, as it should: the operation is what is lost. */
export function isDoubleDeath(error: unknown): boolean {
  return error instanceof PgaioError && error.code === 'ERR_PGAIO_READ_EIO';
}

/** What may happen to a read while others die: that, and their pins are not given back yet. */
export function isExpected(error: unknown): boolean {
  return isDoubleDeath(error) || isOutOfBuffers(error);
}
