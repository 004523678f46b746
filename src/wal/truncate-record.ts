/** That a relation was cut off, so that recovery cuts it off, too (`xl_smgr_truncate`). */
import { encodeRecord } from './encode-record.js';
import type { WalRecord } from './record.js';
import { ResourceManager } from './resource-managers.js';

/** Of the resource manager Storage. */
export const StorageOperation = { TRUNCATE: 0x20 } as const;

const Offset = { blocks: 0, tablespace: 4, database: 8, relation: 12, flags: 16 } as const;
const SIZE = 20;

/** Which forks; the free space map has no part in it but when all is cut off. */
export const TruncateFlag = { HEAP: 1, VISIBILITY_MAP: 2, FREE_SPACE_MAP: 4, ALL: 7 } as const;

/** Blocks of a heap that one block of its visibility map covers: a cut of the map is given by its heap's blocks. */
export const HEAP_BLOCKS_PER_MAP_BLOCK = 32672;

export interface Truncation {
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  /** Of the heap: those that stay. */
  readonly blocks: number;
  /** A sum of `TruncateFlag`s. */
  readonly flags: number;
}

export function truncateRecord(truncation: Truncation): Uint8Array<ArrayBuffer> {
  const mainData = new Uint8Array(SIZE);
  const view = new DataView(mainData.buffer);
  view.setUint32(Offset.blocks, truncation.blocks, true);
  view.setUint32(Offset.tablespace, truncation.tablespace, true);
  view.setUint32(Offset.database, truncation.database, true);
  view.setUint32(Offset.relation, truncation.relation, true);
  view.setUint32(Offset.flags, truncation.flags, true);
  return encodeRecord({
    resourceManager: ResourceManager.STORAGE,
    info: StorageOperation.TRUNCATE,
    mainData,
  });
}

/** Null for what is no such record. */
export function readTruncation(record: WalRecord): Truncation | null {
  const { resourceManager, operation, mainDataLength, mainDataOffset, view } = record;
  if (resourceManager !== ResourceManager.STORAGE || operation !== StorageOperation.TRUNCATE) return null;
  if (mainDataLength !== SIZE) return null;
  const field = (offset: number): number => view.getUint32(mainDataOffset + offset, true);
  return {
    blocks: field(Offset.blocks),
    tablespace: field(Offset.tablespace),
    database: field(Offset.database),
    relation: field(Offset.relation),
    flags: field(Offset.flags),
  };
}
