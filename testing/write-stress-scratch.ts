/**
 * A relation of one thread alone, which it makes, extends, changes, cuts, removes and makes again under the same name, while
 * others write its pages: in their checkpoints, and when they need its buffers. Each page says what the thread put there last.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { Backend } from '../src/instance/backend.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { makePage } from './pages.js';
import type { Random } from './random.js';
import { hasFailedSync } from './write-stress.js';

const BLOCK = 8192;
/** Bytes of a page, far from each other, with the same value. */
const PLACES = [2000, 8000];
const BLOCKS_MAX = 40;

/** What a thread says of its relation at its end; null: it has removed it. */
export interface ScratchReport {
  readonly relation: number;
  readonly values: readonly number[] | null;
}

export class ScratchRelation {
  readonly #backend: Backend;
  readonly #relation: SmgrRelation;
  readonly #random: Random;
  #values: number[] | null = null;

  constructor(backend: Backend, relation: SmgrRelation, random: Random) {
    this.#backend = backend;
    this.#relation = relation;
    this.#random = random;
  }

  get report(): ScratchReport {
    return { relation: this.#relation.locator.relation, values: this.#values };
  }

  /** Does one thing. */
  async step(): Promise<void> {
    const random = this.#random;
    if (this.#values === null) {
      this.#relation.create(0);
      this.#values = [];
    }
    const values = this.#values;
    assert.equal(this.#relation.blockCount(0), values.length);
    const choice = random.below(10);
    if (values.length === 0 || (choice < 3 && values.length < BLOCKS_MAX)) await this.#extend(values);
    else if (choice < 6) await this.#changeSome(values);
    else if (choice < 8) await this.#truncate(values);
    else if (choice < 9) await hasFailedSync(this.#backend.writes.syncRelation(this.#relation));
    else await this.#remove();
  }

  async #extend(values: number[]): Promise<void> {
    for (const added of await this.#backend.writes.extendRelation(
      this.#relation,
      1 + this.#random.below(8),
    )) {
      assert.equal(added.block, values.length);
      assert.ok(
        added.page.every((byte) => byte === 0),
        `new block ${added.block} is not zero`,
      );
      const value = this.#random.bits() | 0;
      await added.change((page) => {
        page.set(makePage(added.block));
        put(page, value);
      });
      values.push(value);
      added.release();
    }
  }

  async #changeSome(values: number[]): Promise<void> {
    for (let count = 1 + this.#random.below(8); count > 0; count--) {
      const block = this.#random.below(values.length);
      const buffer = await this.#backend.readBlock(this.#relation, block);
      assertValue(buffer.page, block, values[block]);
      const value = this.#random.bits() | 0;
      await buffer.change((page) => {
        put(page, value);
      });
      values[block] = value;
      buffer.release();
    }
  }

  async #truncate(values: number[]): Promise<void> {
    const blocks = this.#random.below(values.length + 1);
    await this.#backend.truncateRelation(this.#relation, blocks);
    values.length = blocks;
  }

  async #remove(): Promise<void> {
    await this.#backend.dropRelation(this.#relation);
    this.#values = null;
  }
}

/** Throws unless the file has what its thread said. */
export function judgeScratch(path: string, values: readonly number[]): void {
  const file = readFileSync(path);
  assert.equal(file.length, values.length * BLOCK);
  for (const [block, value] of values.entries())
    assertValue(file.subarray(block * BLOCK, (block + 1) * BLOCK), block, value);
}

function put(page: Uint8Array, value: number): void {
  const view = new DataView(page.buffer, page.byteOffset);
  for (const place of PLACES) view.setInt32(place, value, true);
}

function assertValue(page: Uint8Array, block: number, value: number | undefined): void {
  const view = new DataView(page.buffer, page.byteOffset);
  for (const place of PLACES) assert.equal(view.getInt32(place, true), value, `block ${block}`);
}
