/**
 * What records do to pages when they are redone: those that this library writes. A record of anything else, behind the
 * redo position, is a PostgreSQL server's, and only that can redo it.
 *
 * An image takes the place of the page, whatever is in the file: it may be torn. A change is made to a page that has not
 * seen it, as its LSN tells. What is not there to be changed must be cut off by a later record: else something is lost.
 */
import type { PinnedBuffer } from '../buffer/pinned-buffer.js';
import { pageLsn } from '../page/page-header.js';
import { applyPageDelta } from '../wal/generic-record.js';
import type { WalBlockReference, WalRecord } from '../wal/record.js';
import { ImageFlag } from '../wal/record-format.js';
import { ResourceManager, resourceManagerName } from '../wal/resource-managers.js';
import { readTruncation, type Truncation } from '../wal/truncate-record.js';
import type { Lsn } from '../wal/lsn.js';
import { XlogOperation } from './checkpoint-record.js';
import { RecoveryError } from './recovery-error.js';
import { forkEnds, type ForkEnd, type RedoBlock, type RedoStore } from './redo-store.js';

/** Of XLOG: what concerns nothing but the WAL itself, or a server's settings. */
const WITHOUT_PAGES: ReadonlySet<number> = new Set([
  XlogOperation.CHECKPOINT_SHUTDOWN,
  XlogOperation.CHECKPOINT_ONLINE,
  XlogOperation.NOOP,
  XlogOperation.SWITCH,
  XlogOperation.CHECKPOINT_REDO,
  XlogOperation.PARAMETER_CHANGE,
  XlogOperation.RESTORE_POINT,
  XlogOperation.FPW_CHANGE,
]);
const IMAGES: ReadonlySet<number> = new Set([XlogOperation.FPI, XlogOperation.FPI_FOR_HINT]);

export class Redo {
  readonly #dataDirectory: string;
  readonly #store: RedoStore;
  /** Blocks that were to be changed and are not there, and the LSN of the first record about them. */
  readonly #missing = new Map<string, { readonly block: RedoBlock; readonly lsn: Lsn }>();

  constructor(dataDirectory: string, store: RedoStore) {
    this.#dataDirectory = dataDirectory;
    this.#store = store;
  }

  /** Redoes a record; a promise, if it has to wait. Throws a RecoveryError for one that is not ours. */
  apply(record: WalRecord): Promise<void> | undefined {
    const { resourceManager, operation } = record;
    if (resourceManager === ResourceManager.LOGICAL_MESSAGE) return undefined;
    // Which transactions a server has running.
    if (resourceManager === ResourceManager.STANDBY) return undefined;
    if (resourceManager === ResourceManager.XLOG && WITHOUT_PAGES.has(operation)) return undefined;
    if (resourceManager === ResourceManager.XLOG && IMAGES.has(operation)) return this.#pages(record);
    if (resourceManager === ResourceManager.GENERIC) return this.#pages(record);
    const truncation = readTruncation(record);
    if (truncation !== null) return this.#truncate(truncation);
    throw new RecoveryError(
      this.#dataDirectory,
      record.lsn,
      `there is a record of ${resourceManagerName(resourceManager)} (operation 0x${operation.toString(16)})`,
      'A PostgreSQL server wrote it, and was not shut down: start that server, and stop it.',
    );
  }

  /** At the end of the WAL. Throws a RecoveryError if something is missing. */
  finish(): void {
    for (const { block, lsn } of this.#missing.values())
      throw new RecoveryError(
        this.#dataDirectory,
        lsn,
        `block ${block.block} of relation ${block.relation} was changed there, and the file has no such block`,
        'Its file was removed or cut off behind the WAL’s back: bring it back, or restore a backup.',
      );
  }

  async #pages(record: WalRecord): Promise<void> {
    for (let id = 0; id <= record.maxBlockId; id++) {
      const block = record.blocks[id] as WalBlockReference;
      if (!block.inUse) continue;
      if (block.hasImage && (block.imageInfo & ImageFlag.APPLY) !== 0) await this.#restore(record, block);
      else await this.#change(record, block);
    }
  }

  async #restore({ bytes, lsn, end }: WalRecord, block: WalBlockReference): Promise<void> {
    const { imageOffset, imageLength, holeOffset, holeLength } = block;
    if ((block.imageInfo & ImageFlag.COMPRESSED) !== 0)
      throw new RecoveryError(
        this.#dataDirectory,
        lsn,
        'there is a compressed page image',
        'A PostgreSQL server wrote it, and was not shut down: start that server, and stop it.',
      );
    const image = bytes.subarray(imageOffset, imageOffset + imageLength);
    await changing(
      await this.#store.overwrite(block),
      (page) => {
        page.set(image.subarray(0, holeLength === 0 ? imageLength : holeOffset));
        if (holeLength === 0) return;
        page.fill(0, holeOffset, holeOffset + holeLength);
        page.set(image.subarray(holeOffset), holeOffset + holeLength);
      },
      end,
    );
    await this.#store.willNeedSync(block);
    this.#missing.delete(keyOf(block));
  }

  async #change({ bytes, lsn, end }: WalRecord, block: WalBlockReference): Promise<void> {
    const buffer = await this.#store.read(block);
    if (buffer === null) {
      const key = keyOf(block);
      const { tablespace, database, relation, fork } = block;
      if (!this.#missing.has(key))
        this.#missing.set(key, { block: { tablespace, database, relation, fork, block: block.block }, lsn });
      return;
    }
    // Also where the file has the change already: the kernel may have, and the disk not.
    await this.#store.willNeedSync(block);
    const { page } = buffer;
    if (pageLsn(new DataView(page.buffer, page.byteOffset)) >= end) {
      buffer.release();
      return;
    }
    const { dataOffset, dataLength } = block;
    try {
      await changing(buffer, (page) => applyPageDelta(page, bytes, dataOffset, dataLength), end);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RecoveryError(
        this.#dataDirectory,
        lsn,
        `the record does not fit block ${block.block} of relation ${block.relation}: ${error.message}`,
        'Restore a backup.',
      );
    }
  }

  async #truncate(truncation: Truncation): Promise<void> {
    for (const end of forkEnds(truncation)) {
      await this.#store.truncate(end);
      this.#forgetMissing(end);
    }
  }

  #forgetMissing(end: ForkEnd): void {
    for (const [key, { block }] of this.#missing)
      if (
        block.relation === end.relation &&
        block.database === end.database &&
        block.tablespace === end.tablespace &&
        block.fork === end.fork &&
        block.block >= end.blocks
      )
        this.#missing.delete(key);
  }
}

async function changing(buffer: PinnedBuffer, change: (page: Uint8Array) => void, lsn: Lsn): Promise<void> {
  try {
    await buffer.change(change, { lsn });
  } finally {
    buffer.release();
  }
}

function keyOf({ tablespace, database, relation, fork, block }: RedoBlock): string {
  return [tablespace, database, relation, fork, block].join('/');
}
