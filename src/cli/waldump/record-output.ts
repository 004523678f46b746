/** One record, as a line in the form of `pg_waldump`, or as an object for JSON. */
import { formatLsn, formatPaddedLsn } from '../../wal/lsn.js';
import { ImageFlag } from '../../wal/record-format.js';
import type { WalBlockReference, WalRecord } from '../../wal/record.js';
import { resourceManagerName } from '../../wal/resource-managers.js';
import { describe } from './describe.js';
import { operationLabel } from './statistics.js';

const FORKS = ['main', 'fsm', 'vm', 'init'];

export function recordLine(record: WalRecord, majorVersion: number): string {
  const { resourceManager, totalLength, imageBytes, xid, lsn, prev } = record;
  const lengths = `${String(totalLength - imageBytes).padStart(6)}/${String(totalLength).padStart(6)}`;
  const description = describe(record, majorVersion);
  const parts = [
    `rmgr: ${resourceManagerName(resourceManager).padEnd(11)} len (rec/tot): ${lengths}`,
    `tx: ${String(xid).padStart(10)}`,
    `lsn: ${formatPaddedLsn(lsn)}`,
    `prev ${formatPaddedLsn(prev)}`,
    `desc: ${operationLabel(record, majorVersion)} ${description}`.trimEnd(),
  ];
  for (let id = 0; id <= record.maxBlockId; id++) {
    const block = record.blocks[id];
    if (block?.inUse === true) parts.push(`blkref #${id}: ${blockText(block)}`);
  }
  return parts.join(', ');
}

function blockText({
  tablespace,
  database,
  relation,
  fork,
  block,
  hasImage,
  imageInfo,
}: WalBlockReference): string {
  const forkText = fork === 0 ? '' : ` fork ${forkName(fork)}`;
  const image = (imageInfo & ImageFlag.APPLY) !== 0 ? ' FPW' : ' FPW for WAL verification';
  return `rel ${tablespace}/${database}/${relation}${forkText} blk ${block}${hasImage ? image : ''}`;
}

export interface RecordJson {
  readonly lsn: string;
  readonly end: string;
  readonly prev: string;
  readonly xid: number;
  readonly resourceManager: string;
  readonly operation: string;
  readonly totalLength: number;
  readonly mainDataLength: number;
  readonly imageBytes: number;
  readonly description: string;
  readonly blocks: readonly BlockJson[];
}

interface BlockJson {
  readonly id: number;
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  readonly fork: string;
  readonly block: number;
  readonly dataLength: number;
  /** Bytes as stored, or null where there is no image. */
  readonly imageLength: number | null;
}

export function recordJson(record: WalRecord, majorVersion: number): RecordJson {
  const { lsn, end, prev, xid, resourceManager, totalLength, mainDataLength, imageBytes } = record;
  return {
    lsn: formatLsn(lsn),
    end: formatLsn(end),
    prev: formatLsn(prev),
    xid,
    resourceManager: resourceManagerName(resourceManager),
    operation: operationLabel(record, majorVersion),
    totalLength,
    mainDataLength,
    imageBytes,
    description: describe(record, majorVersion),
    blocks: record.blocks
      .slice(0, record.maxBlockId + 1)
      .flatMap((block, id) => (block.inUse ? [blockJson(block, id)] : [])),
  };
}

function blockJson(reference: WalBlockReference, id: number): BlockJson {
  const { tablespace, database, relation, fork, block, dataLength, hasImage, imageLength } = reference;
  return {
    id,
    tablespace,
    database,
    relation,
    fork: forkName(fork),
    block,
    dataLength,
    imageLength: hasImage ? imageLength : null,
  };
}

function forkName(fork: number): string {
  return FORKS[fork] ?? String(fork);
}
