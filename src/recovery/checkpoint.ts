/**
 * Checkpoints (`CreateCheckPoint`): from the redo position on, the WAL is enough to bring back every page.
 *
 *   redo position ─▶ all that is dirty by then is written and synced ─▶ checkpoint record, durable ─▶ control file,
 *   durable ─▶ segments before the redo position are used again
 *
 * The redo position comes first: a change that has its record before it has marked its page dirty before that, so
 * it is found; one behind it is in the WAL that recovery reads.
 */
import { statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { WalFileError } from '../base/wal-errors.js';
import type { Waits } from '../shmem/wait.js';
import type { Lsn } from '../wal/lsn.js';
import { segmentFileName, segmentOf } from '../wal/segments.js';
import { linkUnlessThere, syncDirectory } from '../wal/wal-files.js';
import type { Wal } from '../wal/wal.js';
import type { CheckpointLock } from './checkpoint-lock.js';
import { checkpointRedoRecord } from './checkpoint-record.js';
import { ControlData } from './control-data.js';
import { nowSeconds, segmentsIn } from './recover.js';

export interface CheckpointParts {
  readonly wal: Wal;
  readonly waits: Waits;
  readonly lock: CheckpointLock;
  readonly slot: number;
  readonly controlPath: string;
  readonly walDirectory: string;
  /** Of WAL before the redo position, in bytes; Infinity keeps all. */
  readonly keepBytes: number;
  /** Who truncates a relation has it: see instance/relation-changes.ts. */
  readonly truncationLock: CheckpointLock;
  /** Writes all that is dirty. */
  readonly flushBuffers: () => Promise<unknown>;
  /** Synchronizes what was written. */
  readonly syncFiles: () => Promise<unknown>;
}

/**
 * `online`: while others write. `recovery`: nobody does yet, and all before was recovered. `shutdown`: nobody does any
 * more, nor will.
 */
export type CheckpointKind = 'online' | 'recovery' | 'shutdown';

export class Checkpointing {
  readonly #parts: CheckpointParts;

  constructor(parts: CheckpointParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with the new redo position. Rejects with what could not be written; then the last checkpoint still holds.
   * A second one that is asked for meanwhile comes after it.
   */
  async run(kind: CheckpointKind): Promise<Lsn> {
    const { waits, lock, slot } = this.#parts;
    await waits.until(() => lock.take(waits, slot));
    try {
      return await this.#run(kind);
    } finally {
      lock.release(slot);
    }
  }

  async #run(kind: CheckpointKind): Promise<Lsn> {
    const { wal, waits, controlPath, flushBuffers, syncFiles } = this.#parts;
    const control = ControlData.read(controlPath);
    const before = control.checkpoint;
    const isOnline = kind === 'online';
    let redo: Lsn = 0;
    if (isOnline) redo = (await this.#insert(checkpointRedoRecord(), true)).start;
    if (kind === 'shutdown') wal.control.close();
    await flushBuffers();
    await this.#awaitTruncation();
    await syncFiles();
    // Redo begins with the record itself, whose place is known before: nobody else inserts.
    if (!isOnline) redo = wal.control.nextStart;
    const checkpoint = before.next({ redo, time: nowSeconds(), isShutdown: !isOnline });
    const { start, end } = await this.#insert(checkpoint.record(!isOnline), !isOnline);
    await waits.until(wal.flushing(end));
    control.setCheckpoint(start, checkpoint);
    control.setState(kind === 'shutdown' ? 'shut down' : 'in production', nowSeconds());
    control.write();
    this.#recycle(before.redo, redo, segmentOf(end, control.walSegmentSize));
    return redo;
  }

  /** Who had dropped dirty pages when we looked for them has logged it, and asked for the fsync of the files that were cut. */
  async #awaitTruncation(): Promise<void> {
    const { waits, truncationLock, slot } = this.#parts;
    await waits.until(() => truncationLock.take(waits, slot));
    truncationLock.release(slot);
  }

  async #insert(record: Uint8Array, isRedo: boolean): Promise<{ start: Lsn; end: Lsn }> {
    const { wal, waits } = this.#parts;
    let start: Lsn = 0;
    const end = await waits.until(wal.inserting(record, { isRedo, placed: (lsn) => (start = lsn) }));
    return { start, end: end ?? start };
  }

  /**
   * Gives segments that nobody needs any more the names of those to come: as many as were filled since the checkpoint
   * before, and one; removes the rest. A file with another name is a segment to come already: whoever gave it that name
   * ended before its old one was removed, or the disk has lost that. It would be two segments at once.
   */
  #recycle(redoBefore: Lsn, redo: Lsn, current: number): void {
    const { walDirectory, keepBytes, wal } = this.#parts;
    const { segmentSize } = wal.control.shape;
    const { timeline } = wal;
    const keepFrom = segmentOf(Math.max(0, redo - keepBytes), segmentSize);
    const path = (segment: number): string =>
      join(walDirectory, segmentFileName(timeline, segment, segmentSize));
    const lastWanted = current + 1 + segmentOf(redo, segmentSize) - segmentOf(redoBefore, segmentSize);
    const segments = segmentsIn(walDirectory, timeline, segmentSize);
    let next = Math.max(current, ...segments) + 1;
    let isChanged = false;
    try {
      for (const segment of segments) {
        if (segment >= keepFrom) break;
        // With two names it is a segment to come already: whoever gave it that name ended before it took this one away.
        const isFree = statSync(path(segment)).nlink === 1;
        if (isFree && next <= lastWanted && linkUnlessThere(path(segment), path(next))) next++;
        unlinkSync(path(segment));
        isChanged = true;
      }
      if (isChanged) syncDirectory(walDirectory);
    } catch (error) {
      throw WalFileError.of('open', error, walDirectory);
    }
  }
}
