/**
 * A change of pages that is in the WAL, so that recovery brings it back, all of it or nothing: PostgreSQL's
 * GenericXLogStart to GenericXLogFinish.
 *
 *   exclusive locks, by buffer ▶ change copies ▶ mark dirty ▶ insert the record ▶ copies become the pages, with the
 *   record's end as their LSN ▶ give the locks back
 *
 * Dirty before the record: a checkpoint whose redo position lies behind the record must find the pages to write, and will
 * wait for their locks. From the record's place in the WAL until the pages are changed the thread is in a critical
 * section: nobody could tell otherwise that the pool is behind the log.
 */
import { PgaioError } from '../base/errors.js';
import { BLOCK_SIZE } from '../base/settings.js';
import { checkKind } from '../base/units.js';
import type { BufferLock } from '../buffer/buffer-lock.js';
import type { BufferIo } from '../buffer/buffer-io.js';
import { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { PAGE_HEADER_SIZE, PageHeaderOffset, pageLower, pageLsn } from '../page/page-header.js';
import { isHeaderSane } from '../page/page-verdict.js';
import type { Slots } from '../shmem/slots.js';
import { PENDING, type Pending, type Step } from '../shmem/wait.js';
import {
  CHANGED_PAGES_MAX,
  clearFreeSpace,
  genericRecord,
  pageDelta,
  type PageChangeRecord,
} from '../wal/generic-record.js';
import type { Lsn } from '../wal/lsn.js';
import type { Wal } from '../wal/wal.js';

/** Gets the pages of the buffers, in their order, each 8192 bytes; must not wait, and not keep them. */
export type LoggedPageChange = (...pages: Uint8Array<ArrayBuffer>[]) => void;

/** A page cannot be logged as it is: it is not of the WAL's data directory, or has not PostgreSQL's layout. */
export class PageChangeError extends PgaioError {
  override readonly name = 'PageChangeError';
  readonly block: number;

  constructor(block: number, what: string, hint: string) {
    super('ERR_PGAIO_PAGE_CHANGE', `block ${block} ${what}`, { hint });
    this.block = block;
  }
}

export interface LoggedChangeParts {
  readonly wal: Wal;
  readonly slots: Slots;
  readonly slot: number;
  readonly bufferIo: BufferIo;
  /** Whether the WAL is that of a data directory, by its number. */
  covers(directory: number): boolean;
}

interface ChangedPage extends PageChangeRecord {
  readonly lock: BufferLock;
}

export class LoggedChange {
  readonly #parts: LoggedChangeParts;
  readonly #buffers: readonly PinnedBuffer[];
  readonly #change: LoggedPageChange;
  /** By buffer: who locks several at once does it in this order. */
  readonly #order: readonly PinnedBuffer[];
  readonly #locks = new Map<PinnedBuffer, BufferLock>();
  #locking: Step<BufferLock> | null = null;
  #changed: readonly ChangedPage[] | null = null;
  #inserting: Step<Lsn | null> | null = null;

  /** Throws a PageChangeError. */
  constructor(parts: LoggedChangeParts, buffers: readonly PinnedBuffer[], change: LoggedPageChange) {
    for (const buffer of buffers) checkKind('a pinned buffer', buffer, PinnedBuffer);
    checkKind('a function that changes pages', change, 'function');
    this.#parts = parts;
    this.#buffers = buffers;
    this.#change = change;
    this.#order = [...buffers].sort((one, other) => one.buffer - other.buffer);
    if (buffers.length < 1 || buffers.length > CHANGED_PAGES_MAX)
      throw new RangeError(`one record changes 1 to ${CHANGED_PAGES_MAX} pages, not ${buffers.length}`);
    for (const [at, buffer] of this.#order.entries()) {
      if (this.#order[at - 1]?.buffer === buffer.buffer)
        throw new RangeError(`block ${buffer.block} is there twice`);
      const { place } = buffer;
      if (place === null || !parts.covers(place.directory))
        throw new PageChangeError(
          buffer.block,
          'is of a relation that the WAL is not for',
          'Open the relation in the data directory of the WAL, or use buffer.change.',
        );
    }
  }

  /** Returns the LSN of the record's end; of the pages' last change, if nothing differs. Throws what `change` does. */
  step(): Lsn | Pending {
    for (;;) {
      if (this.#lockAll() === PENDING) return PENDING;
      this.#changed ??= this.#run();
      const pages = this.#changed;
      if (pages.length === 0) return Math.max(...this.#buffers.map(({ page }) => pageLsn(viewOf(page))));
      this.#inserting ??= this.#insert(pages);
      // While it waited for space, the scope may have ended, and the locks with it. From here to `#apply` nothing waits.
      for (const { lock } of pages) lock.assertHeld();
      const end = this.#inserting();
      if (end === PENDING) return PENDING;
      this.#inserting = null;
      if (end === null) continue;
      this.#apply(pages, end);
      return end;
    }
  }

  /** In any case, at the end. */
  release(): void {
    for (const lock of this.#locks.values()) lock.release();
  }

  #lockAll(): true | Pending {
    for (let next = this.#order[this.#locks.size]; next !== undefined; next = this.#order[this.#locks.size]) {
      this.#locking ??= next.locking('exclusive');
      const lock = this.#locking();
      if (lock === PENDING) return PENDING;
      this.#locking = null;
      this.#locks.set(next, lock);
    }
    return true;
  }

  /** Which pages differ, and how. */
  #run(): ChangedPage[] {
    const copies = this.#buffers.map(({ page }) => Uint8Array.from(page));
    const returned: unknown = (this.#change as (...pages: Uint8Array[]) => unknown)(...copies);
    if (returned instanceof Promise)
      throw new TypeError('pages are changed synchronously; the change returned a promise');
    return this.#buffers.flatMap((buffer, at) => {
      const after = copies[at] as Uint8Array<ArrayBuffer>;
      const before = buffer.page;
      after.set(before.subarray(0, PageHeaderOffset.flags)); // LSN and checksum
      checkLayout(buffer.block, after);
      clearFreeSpace(after);
      const delta = pageDelta(before, after);
      if (delta.length === 0) return [];
      const place = buffer.place as NonNullable<PinnedBuffer['place']>;
      const lock = this.#locks.get(buffer) as BufferLock;
      return [{ ...place, lsn: pageLsn(viewOf(before)), after, delta, lock }];
    });
  }

  #insert(pages: readonly ChangedPage[]): Step<Lsn | null> {
    const { wal, slots, slot, bufferIo } = this.#parts;
    const { bytes, oldestPageLsn } = genericRecord(pages, wal.control.redo, wal.control.reserved);
    for (const { lock } of pages) bufferIo.markDirty(lock.buffer);
    return wal.inserting(bytes, { oldestPageLsn, placed: () => slots.enterCritical(slot) });
  }

  #apply(pages: readonly ChangedPage[], lsn: Lsn): void {
    const { slots, slot } = this.#parts;
    for (const { lock, after } of pages) lock.change((page) => page.set(after), { lsn });
    slots.leaveCritical(slot); // each lock has its own until it is released
  }
}

function checkLayout(block: number, page: Uint8Array): void {
  const view = viewOf(page);
  const size = view.getUint16(PageHeaderOffset.pageSizeVersion, true) & 0xff00;
  if (isHeaderSane(view, BLOCK_SIZE) && pageLower(view) >= PAGE_HEADER_SIZE && size === BLOCK_SIZE) return;
  throw new PageChangeError(
    block,
    'has no valid page header after the change',
    'Make new pages with initPage; keep pd_lower and pd_upper around the free space, which is cleared.',
  );
}

function viewOf(page: Uint8Array): DataView {
  return new DataView(page.buffer, page.byteOffset, page.byteLength);
}
