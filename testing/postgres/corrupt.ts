/** Damage to pages, as a failing disk would do it. */
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import type { Random } from '../random.js';

export type CorruptionKind = 'header' | 'body' | 'checksum';

export interface Corruption {
  readonly kind: CorruptionKind;
  readonly block: number;
  /** Of the one byte that was changed, inside the block. */
  readonly offset: number;
  readonly before: number;
  readonly after: number;
}

// Of PostgreSQL's PageHeaderData.
const checksumOffset = 8;
const upperOffset = 14;
const headerSize = 24;

/**
 * Changes one byte of a block. The block must be written and not new (`pd_upper` is not 0), and stays so: damage that
 * makes a page look new is another case, which no checksum finds.
 */
export function corruptBlock(
  file: string,
  block: number,
  kind: CorruptionKind,
  random: Random,
  blockSize = 8192,
): Corruption {
  const descriptor = openSync(file, 'r+');
  try {
    const page = Buffer.alloc(blockSize);
    const position = block * blockSize;
    if (readSync(descriptor, page, 0, blockSize, position) !== blockSize) {
      throw new RangeError(`${file} has no block ${block}`);
    }
    if (isNew(page)) throw new RangeError(`block ${block} of ${file} is a new page`);
    const change = chooseChange(page, kind, random);
    writeSync(descriptor, page, change.offset, 1, position + change.offset);
    return { kind, block, ...change };
  } finally {
    closeSync(descriptor);
  }
}

function chooseChange(
  page: Buffer,
  kind: CorruptionKind,
  random: Random,
): Omit<Corruption, 'kind' | 'block'> {
  for (;;) {
    const offset = chooseOffset(page.length, kind, random);
    const before = page[offset]!;
    const after = before ^ (1 + random.below(255));
    page[offset] = after;
    if (!isNew(page)) return { offset, before, after };
    page[offset] = before;
  }
}

function chooseOffset(blockSize: number, kind: CorruptionKind, random: Random): number {
  switch (kind) {
    case 'checksum':
      return checksumOffset + random.below(2);
    case 'body':
      return headerSize + random.below(blockSize - headerSize);
    case 'header': {
      const offset = random.below(headerSize - 2);
      return offset < checksumOffset ? offset : offset + 2;
    }
  }
}

function isNew(page: Buffer): boolean {
  return page.readUInt16LE(upperOffset) === 0;
}
