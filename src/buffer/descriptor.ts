/**
 * Buffer descriptors in shared memory: PostgreSQL's BufferDesc, with its state in one word.
 *
 *   bits 0..17   pins: one for each backend that has the buffer pinned, one for the AIO layer while I/O runs
 *   bits 18..21  usage count for the clock sweep
 *   VALID            the page is the block's
 *   IO_IN_PROGRESS   somebody has the right to read it in or, if it is VALID, to write it out
 *   IO_REFERENCE     the I/O's wait reference is in `ioHandle`, `ioGeneration`
 *   TAG_VALID        the tag names a block, and the buffer is in the mapping table
 *   WAITERS          somebody waits for the end of the I/O on the buffer's condition
 *   IO_ERROR         the last I/O failed
 *   DIRTY            the page is not in its file yet
 *   JUST_DIRTIED     it was changed since the last write of it was claimed: that write does not make it clean
 *
 * Who writes: the state word any thread, by compare-and-swap. The tag and `next` its evictor, while it has
 * the only pin and TAG_VALID is clear; `next` is also changed by the holder of the partition lock. A pin
 * can only be added while TAG_VALID is set, and TAG_VALID only be cleared while there is no pin: so the tag
 * of a pinned buffer is stable, and readers need no lock. The I/O's reference: its issuer, while it has
 * IO_IN_PROGRESS and before it sets IO_REFERENCE.
 *
 * Whose a pin or a claim is stands in holdings.ts, but for the AIO layer's pin: that is there if and only if
 * IO_REFERENCE is, and belongs to the I/O that the reference names.
 */
import { declareLayout, type Layout } from '../shmem/layout.js';

export const PIN_ONE = 1;
export const PIN_MASK = 0x3ffff;
export const USAGE_ONE: number = 1 << 18;
export const USAGE_MASK: number = 15 << 18;
/** PostgreSQL's BM_MAX_USAGE_COUNT. */
export const USAGE_MAX: number = 5 << 18;
export const VALID: number = 1 << 22;
export const IO_IN_PROGRESS: number = 1 << 23;
export const IO_REFERENCE: number = 1 << 24;
export const TAG_VALID: number = 1 << 25;
export const WAITERS: number = 1 << 26;
export const IO_ERROR: number = 1 << 27;
export const DIRTY: number = 1 << 28;
export const JUST_DIRTIED: number = 1 << 29;

/** Half a cache line. What is needed only while I/O runs is elsewhere. */
const descriptorFields = {
  state: 1,
  /** Next in the chain of the bucket: buffer number plus one, 0 at the end. */
  next: 1,
  block: 1,
  relation: 1,
  database: 1,
  tablespace: 1,
  /** Fork, and the number of the data directory. */
  forkDirectory: 1,
  /** Word of the bucket that the tag hashes to: eviction need not compute it. */
  bucket: 1,
} as const;
export const DescriptorLayout: Layout<typeof descriptorFields> = declareLayout(
  'BufferDescriptor',
  descriptorFields,
);
export const DESCRIPTOR_SHIFT = 3;

const ioFields = { ioHandle: 1, ioGeneration: 1 } as const;
export const BufferIoLayout: Layout<typeof ioFields> = declareLayout('BufferIo', ioFields);

/** The tag's constant part for one fork of one relation, and where its chains begin. */
export interface ForkTag {
  readonly relation: number;
  readonly database: number;
  readonly tablespace: number;
  readonly forkDirectory: number;
  /** Added to a block number: neighbouring blocks get neighbouring buckets, which makes scans a fifth faster. */
  readonly hashBase: number;
}

/** Over the tag's words as they stand in a descriptor. */
export function hashTag(
  relation: number,
  database: number,
  tablespace: number,
  forkDirectory: number,
): number {
  let hash = Math.imul(relation, 0x9e37_79b1) ^ Math.imul(database, 0x85eb_ca6b);
  hash ^= Math.imul(tablespace ^ (forkDirectory << 16), 0xc2b2_ae35);
  return hash ^ (hash >>> 15);
}

export function makeForkTag(
  directory: number,
  tablespace: number,
  database: number,
  relation: number,
  fork: number,
): ForkTag {
  const tag = {
    relation: relation | 0,
    database: database | 0,
    tablespace: tablespace | 0,
    forkDirectory: fork | (directory << 8),
  };
  return { ...tag, hashBase: hashTag(tag.relation, tag.database, tag.tablespace, tag.forkDirectory) };
}

/** Which block a buffer is of. */
export interface BlockPlace {
  /** Number of the data directory. */
  readonly directory: number;
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork: number;
  readonly block: number;
}

/** What the tag says in the descriptor at `base`; stable as long as the buffer is pinned. */
export function placeAt(array: Int32Array, base: number): BlockPlace {
  const { at } = DescriptorLayout;
  const unsigned = (word: number): number => (array[base + word] as number) >>> 0;
  const forkDirectory = unsigned(at.forkDirectory);
  return {
    directory: forkDirectory >>> 8,
    tablespace: unsigned(at.tablespace),
    database: unsigned(at.database),
    relation: unsigned(at.relation),
    fork: forkDirectory & 0xff,
    block: unsigned(at.block),
  };
}
