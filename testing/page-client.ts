/** One user of a backend in the simulation of pages: changes some pages in one record, or makes a relation longer, or cuts it off. */
import { InvalidPageError, IoError } from '../src/base/errors.js';
import { BLOCK_SIZE } from '../src/base/settings.js';
import { PinnedBuffer } from '../src/buffer/pinned-buffer.js';
import { isOutOfBuffers } from '../src/buffer/pool-holders.js';
import type { Backend } from '../src/instance/backend.js';
import { BufferedExtension } from '../src/instance/buffered-extend.js';
import { LoggedChange } from '../src/instance/logged-change.js';
import { truncating } from '../src/instance/relation-changes.js';
import { initPage, setPageLower } from '../src/page/init-page.js';
import { isNewPage, PAGE_HEADER_SIZE, pageLower } from '../src/page/page-header.js';
import { PENDING, type Pending, type Step } from '../src/shmem/wait.js';
import { ExtensionLocks } from '../src/smgr/extension-locks.js';
import { Fork } from '../src/smgr/relation.js';
import type { SmgrRelation } from '../src/smgr/smgr.js';
import { makingRoom } from '../src/smgr/sync-files.js';
import type { Lsn } from '../src/wal/lsn.js';
import { contentOf, type PageDraft } from './page-model.js';
import { RELATIONS, type PageSimulation } from './page-simulation.js';
import type { SteppedTask } from './simulated-backend.js';

/** What the client is in the middle of. */
interface Work {
  /** Undefined: it is over. */
  step(): true | Pending | undefined;
  /** In any case, at the end. */
  end(): void;
}

export interface PageClientParts {
  readonly pages: PageSimulation;
  readonly backend: Backend;
  /** An error that the disk is to blame for. */
  readonly isExcused: (error: unknown) => boolean;
  /** No sync had failed: what is changed now may become durable. */
  readonly mayCommit: () => boolean;
  readonly onCommit: (end: Lsn) => void;
}

interface OpenRelation {
  readonly number: number;
  readonly blocksMax: number;
  readonly relation: SmgrRelation;
}

export class PageClient implements SteppedTask {
  isDone = false;
  readonly #parts: PageClientParts;
  readonly #relations: readonly OpenRelation[];
  #work: Work | null = null;
  #left: number;

  constructor(parts: PageClientParts) {
    this.#parts = parts;
    const { pages, backend } = parts;
    this.#left = 2 + pages.random.below(20);
    this.#relations = RELATIONS.map(({ number, blocksMax }) => ({
      number,
      blocksMax,
      relation: pages.open(backend, number),
    }));
  }

  step(): true | Pending {
    try {
      this.#work ??= this.#begin();
      if (this.#work === null) return true;
      const more = this.#work.step();
      if (more !== undefined) return more;
    } catch (error) {
      if (!this.#isExcused(error)) throw error;
    }
    this.#work?.end();
    this.#work = null;
    if (--this.#left <= 0) this.isDone = true;
    return true;
  }

  #isExcused(error: unknown): boolean {
    if (isOutOfBuffers(error)) return true;
    return this.#parts.isExcused(error);
  }

  /** Null: not now. */
  #begin(): Work | null {
    const { pages, backend } = this.#parts;
    const { random } = pages;
    const one = random.pick(this.#relations);
    const blocks = pages.sizes.get(one.number) ?? 0;
    if (blocks === 0 || (blocks < one.blocksMax && random.chance(0.08)))
      return pages.tryUse([one.number], false) ? new Extending(this.#parts, one, blocks) : null;
    if (random.chance(pages.chances.cut))
      return pages.tryUse([one.number], true)
        ? new Cutting(this.#parts, one, random.below(blocks + 1))
        : null;
    if (random.chance(pages.chances.flush)) return new Flushing(backend);
    if (!pages.tryUse(NUMBERS, false)) return null;
    return new Changing(this.#parts, this.#relations);
  }
}

const NUMBERS = RELATIONS.map(({ number }) => number);

/** All that is dirty. */
class Flushing implements Work {
  readonly #step: Step<number>;

  constructor({ buffers }: Backend) {
    this.#step = buffers.writeBack.flushing([...Array(buffers.pool.region.count).keys()]);
  }

  step(): Pending | undefined {
    return this.#step() === PENDING ? PENDING : undefined;
  }

  end(): void {
    // Nothing is held.
  }
}

class Extending implements Work {
  readonly #parts: PageClientParts;
  readonly #one: OpenRelation;
  readonly #extension: BufferedExtension;

  constructor(parts: PageClientParts, one: OpenRelation, blocks: number) {
    const { backend, pages } = parts;
    this.#parts = parts;
    this.#one = one;
    const { relation } = one;
    const { memory, slot, syncRequests } = backend.parts;
    const { aio, buffers, rootScope: scope } = backend;
    const smgr = buffers.writeBack.parts.smgr;
    const { directoryNumber: directory, locator } = relation;
    const requestSync = (segment: number): Step<unknown> | null =>
      syncRequests.request({ directory, locator, fork: Fork.MAIN, segment })
        ? null
        : makingRoom({ aio, scope, smgr, requests: syncRequests });
    this.#extension = new BufferedExtension({
      buffers,
      relation,
      fork: Fork.MAIN,
      count: Math.min(1 + pages.random.below(4), one.blocksMax - blocks),
      scope,
      locks: new ExtensionLocks(memory.slots, slot, memory.plan.extensionLocks, aio.waits),
      requestSync,
    });
  }

  step(): Pending | undefined {
    const { backend, pages } = this.#parts;
    const extended = this.#extension.step();
    if (extended === PENDING) return PENDING;
    for (const buffer of extended.buffers) backend.buffers.pool.unpin(buffer, backend.rootScope);
    const { number } = this.#one;
    const end = extended.first + extended.buffers.length;
    pages.sizes.set(number, Math.max(pages.sizes.get(number) ?? 0, end)); // another may have been quicker
    pages.counts.extensions++;
    return undefined;
  }

  end(): void {
    this.#parts.pages.leave([this.#one.number]);
  }
}

class Cutting implements Work {
  readonly #parts: PageClientParts;
  readonly #one: OpenRelation;
  readonly #blocks: number;
  readonly #step: Step<void>;

  constructor(parts: PageClientParts, one: OpenRelation, blocks: number) {
    this.#parts = parts;
    this.#one = one;
    this.#blocks = blocks;
    const { pages, backend } = parts;
    const { number, relation } = one;
    pages.sizes.set(number, blocks);
    pages.mayLosePower();
    this.#step = pages.inserting(
      backend,
      (end) => pages.model.cut(end, number, blocks),
      () => {
        const hearers = {
          wal: backend.wal.cutsOf(relation),
          requestSync: backend.writes.requestsSyncOf(relation),
        };
        return truncating(relation, Fork.MAIN, blocks)(backend.buffers, hearers);
      },
    );
  }

  step(): Pending | undefined {
    const { pages, backend, isExcused } = this.#parts;
    try {
      if (this.#step() === PENDING) return PENDING;
    } catch (error) {
      if (isExcused(error)) pages.model.forget(backend.wal.insertedUpTo, this.#one.number, this.#blocks);
      throw error;
    }
    pages.counts.cuts++;
    pages.mayLosePower();
    return undefined;
  }

  end(): void {
    this.#parts.pages.leave([this.#one.number]);
  }
}

interface Wanted {
  readonly number: number;
  readonly relation: SmgrRelation;
  readonly block: number;
}

class Changing implements Work {
  readonly #parts: PageClientParts;
  readonly #relations: readonly OpenRelation[];
  readonly #wanted: Wanted[];
  readonly #buffers: PinnedBuffer[] = [];
  #mayCommit = false;
  #reading: { step(): number | Pending } | null = null;
  #change: LoggedChange | null = null;
  #drafts: PageDraft[] = [];
  #flushing: Step<void> | null = null;
  #end: Lsn = 0;

  constructor(parts: PageClientParts, relations: readonly OpenRelation[]) {
    const { pages } = parts;
    const { random } = pages;
    this.#parts = parts;
    this.#relations = relations;
    const all = this.#relations.flatMap(({ number, relation }) =>
      [...Array(pages.sizes.get(number)).keys()].map((block) => ({ number, relation, block })),
    );
    const count = Math.min(all.length, random.pick([1, 1, 2, 2, 3, 4]));
    this.#wanted = Array.from({ length: count }, () => all.splice(random.below(all.length), 1)).flat();
  }

  step(): true | Pending | undefined {
    const { backend, pages, mayCommit, onCommit } = this.#parts;
    const { wal } = backend.wal.parts;
    if (this.#flushing !== null) {
      if (this.#flushing() === PENDING) return PENDING;
      if (!this.#mayCommit) throw new Error('a change was acknowledged after a failed sync');
      onCommit(this.#end);
      return undefined;
    }
    if (this.#buffers.length < this.#wanted.length) return this.#read();
    this.#change ??= this.#makeChange();
    if (this.#drafts.length === 0) this.#mayCommit = mayCommit();
    const change = this.#change;
    const end = pages.inserting(
      backend,
      (lsn) => pages.model.changed(lsn, this.#drafts),
      () => change.step(),
    );
    if (end === PENDING) return PENDING;
    this.#release();
    if (this.#drafts.length > 0) pages.counts.changes++;
    this.#end = end;
    if (!pages.random.chance(pages.chances.commit)) return undefined;
    this.#flushing = wal.flushing(end);
    return true;
  }

  #read(): true | Pending {
    const { backend } = this.#parts;
    const { relation, block } = this.#wanted[this.#buffers.length] as Wanted;
    let given = false;
    const nextBlock = (): number => (given ? -1 : ((given = true), block));
    if (this.#reading === null) {
      const stream = backend.rawReadStream(relation, nextBlock, { ioConcurrency: 1 });
      this.#reading = { step: () => stream.next() };
    }
    const buffer = this.#reading.step();
    if (buffer === PENDING) return PENDING;
    this.#reading = null;
    this.#buffers.push(new PinnedBuffer(backend.buffers, backend.rootScope, buffer, block));
    return true;
  }

  #makeChange(): LoggedChange {
    const { pages, backend } = this.#parts;
    return new LoggedChange(backend.wal.parts.changes, this.#buffers, (...copies) => {
      copies.forEach((page, at) => {
        const { number, block } = this.#wanted[at] as Wanted;
        pages.model.checkSeen(number, block, page);
        const before = contentOf(page);
        this.#write(page);
        const content = contentOf(page);
        if (Buffer.compare(before, content) !== 0) this.#drafts.push({ relation: number, block, content });
      });
    });
  }

  /** A few places of the page, so that a page that is half old and half new is neither. */
  #write(page: Uint8Array): void {
    const { random } = this.#parts.pages;
    const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    if (isNewPage(view)) {
      initPage(page);
      setPageLower(page, random.pick([600, 3000, BLOCK_SIZE]));
    }
    const lower = pageLower(view);
    for (let places = 1 + random.below(6); places > 0; places--) {
      const from = PAGE_HEADER_SIZE + random.below(lower - PAGE_HEADER_SIZE);
      page.fill(random.below(256), from, Math.min(lower, from + random.pick([1, 8, 700])));
    }
  }

  #release(): void {
    this.#change?.release();
    for (const buffer of this.#buffers.splice(0)) buffer.release();
    this.#wanted.length = 0;
  }

  end(): void {
    this.#release();
    this.#parts.pages.leave(NUMBERS);
  }
}

/** Whether an error may be the disk's: pages that are not what they should be never are. */
export function isOfFiles(error: unknown): boolean {
  return error instanceof IoError && !(error instanceof InvalidPageError);
}
