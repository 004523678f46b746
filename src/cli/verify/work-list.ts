/**
 * What is to be read: the listed files, cut into batches of ranges that are worth a message. Listing runs ahead
 * of the reading, so that the total is soon known, but only so far that the list's memory stays bounded.
 */
import { DIRECT_ALIGNMENT } from './job/block-reader.js';
import type { ScanRange } from './job/protocol.js';
import { wasShutDown } from '../../recovery/control-file.js';
import type { RelationFile } from './cluster/relation-files.js';
import type { ScannedCluster } from './cluster/scan-roots.js';

const BATCH_BYTES = 32 * 2 ** 20;
const BATCH_FILES = 64;
const BATCHES_MAX = 4096;

export class WorkList {
  /** Of all files listed so far. */
  bytes = 0;
  /** Nothing more will be added. */
  complete = false;
  readonly #batches: ScanRange[][] = [];
  #open: ScanRange[] = [];
  #openBytes = 0;
  #changed: () => void = () => undefined;
  #stopped = false;

  /** Adds all files; resolves when there are no more, or it was stopped. */
  async fill(files: AsyncIterable<RelationFile>): Promise<void> {
    try {
      for await (const file of files) {
        this.#add(file);
        while (this.#batches.length >= BATCHES_MAX && !this.#stopped) await this.#change();
        if (this.#stopped) return;
      }
      this.#closeBatch();
    } finally {
      this.complete = true;
      this.#changed();
    }
  }

  /** The next batch; null when there are no more, or it was stopped. */
  async take(): Promise<ScanRange[] | null> {
    for (;;) {
      if (this.#stopped) return null;
      const batch = this.#batches.shift();
      if (batch !== undefined) {
        this.#changed();
        return batch;
      }
      if (this.complete) return null;
      await this.#change();
    }
  }

  stop(): void {
    this.#stopped = true;
    this.#changed();
  }

  /** Resolves with the next change. At most one side waits: the list is never both empty and full. */
  #change(): Promise<void> {
    return new Promise((resolve) => (this.#changed = resolve));
  }

  #add(file: RelationFile): void {
    this.bytes += file.size;
    const { blockSize } = file.cluster;
    const unit = Math.max(blockSize, DIRECT_ALIGNMENT);
    const size = Math.ceil(file.size / unit) * unit;
    let position = 0;
    // An empty file is opened too: it counts, and may be unreadable.
    do {
      const length = Math.min(size - position, BATCH_BYTES - this.#openBytes);
      this.#open.push(rangeOf(file, position, length));
      position += length;
      this.#openBytes += length;
      if (this.#openBytes >= BATCH_BYTES || this.#open.length >= BATCH_FILES) this.#closeBatch();
    } while (position < size);
  }

  #closeBatch(): void {
    if (this.#open.length === 0) return;
    this.#batches.push(this.#open);
    this.#open = [];
    this.#openBytes = 0;
    this.#changed();
  }
}

function rangeOf(file: RelationFile, position: number, length: number): ScanRange {
  const { cluster, absolutePath, displayPath, segmentNumber } = file;
  return {
    path: absolutePath,
    displayPath,
    dataDirectory: cluster.dataDirectory ?? null,
    position,
    length,
    blockSize: cluster.blockSize,
    segmentFirstBlock: segmentNumber * cluster.blocksPerSegment,
    online: isOnline(cluster),
  };
}

/** A server may be writing. Where there is no control file to ask, there may be one too. */
export function isOnline({ control }: ScannedCluster): boolean {
  return control === undefined || !wasShutDown(control);
}
