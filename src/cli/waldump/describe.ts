/**
 * What a record says, in the words of `pg_waldump` (`rm_desc`): for the resource managers XLOG, Transaction (commits
 * and aborts), Storage and LogicalMessage. Of all others there is the name of the operation only. Times are UTC.
 */
import { relationPath, Fork } from '../../smgr/relation.js';
import { formatLsn } from '../../wal/lsn.js';
import type { WalRecord } from '../../wal/record.js';
import { ResourceManager } from '../../wal/resource-managers.js';
import { Fields } from './fields.js';
import { operationName } from './operations.js';

/** Empty: there is nothing to say beyond the operation's name, or this library does not know. */
export function describe(record: WalRecord, majorVersion: number): string {
  const describer = DESCRIBERS.get(record.resourceManager);
  const name = operationName(record, majorVersion);
  if (describer === undefined || name === null) return '';
  return describer(new Fields(record.mainData()), name, record, majorVersion);
}

type Describer = (fields: Fields, name: string, record: WalRecord, majorVersion: number) => string;

const DESCRIBERS: ReadonlyMap<number, Describer> = new Map<number, Describer>([
  [ResourceManager.XLOG, xlog],
  [ResourceManager.TRANSACTION, transaction],
  [ResourceManager.STORAGE, storage],
  [ResourceManager.LOGICAL_MESSAGE, logicalMessage],
]);

/** `smgr_desc`. */
function storage(fields: Fields, name: string, _record: WalRecord, majorVersion: number): string {
  if (name !== 'TRUNCATE') {
    const [tablespace, database, number, fork] = [fields.u32(), fields.u32(), fields.u32(), fields.u32()];
    return pathOf(tablespace, database, number, fork, majorVersion);
  }
  const blocks = fields.u32();
  return `${relation(fields, majorVersion)} to ${blocks} blocks flags ${fields.u32()}`;
}

// --- XLOG ------------------------------------------------------------------------------------------

const WAL_LEVELS = ['minimal', 'replica', 'logical'];
const walLevel = (level: number): string => WAL_LEVELS[level] ?? '?';

function xlog(fields: Fields, name: string, _record: WalRecord, majorVersion: number): string {
  switch (name) {
    case 'CHECKPOINT_SHUTDOWN':
    case 'CHECKPOINT_ONLINE':
      return checkpoint(fields, name, majorVersion);
    case 'NEXTOID':
      return String(fields.u32());
    case 'BACKUP_END':
      return formatLsn(fields.lsn());
    case 'PARAMETER_CHANGE':
      return parameterChange(fields);
    case 'RESTORE_POINT':
      return fields.skip(8).text(64);
    case 'FPW_CHANGE':
      return fields.u8() === 0 ? 'false' : 'true';
    case 'END_OF_RECOVERY':
      return endOfRecovery(fields, majorVersion);
    case 'OVERWRITE_CONTRECORD':
      return `lsn ${formatLsn(fields.lsn())}; time ${fields.time()}`;
    case 'CHECKPOINT_REDO':
      return `wal_level ${walLevel(fields.u32())}`;
    default:
      return '';
  }
}

/** `CheckPoint`: between these versions only `wal_level` was added, where there was padding. */
function checkpoint(fields: Fields, name: string, majorVersion: number): string {
  const start = `redo ${formatLsn(fields.lsn())}; tli ${fields.u32()}; prev tli ${fields.u32()}`;
  const fullPageWrites = fields.u8() !== 0;
  const level = fields.skip(3).u32();
  const [xid, epoch] = [fields.u32(), fields.u32()];
  const parts = [
    start,
    `fpw ${fullPageWrites}`,
    ...(majorVersion >= 17 ? [`wal_level ${walLevel(level)}`] : []),
    `xid ${epoch}:${xid}`,
    `oid ${fields.u32()}`,
    `multi ${fields.u32()}`,
    `offset ${fields.u32()}`,
    `oldest xid ${fields.u32()} in DB ${fields.u32()}`,
    `oldest multi ${fields.u32()} in DB ${fields.u32()}`,
    `oldest/newest commit timestamp xid: ${fields.skip(12).u32()}/${fields.u32()}`,
    `oldest running xid ${fields.u32()}`,
    name === 'CHECKPOINT_SHUTDOWN' ? 'shutdown' : 'online',
  ];
  return parts.join('; ');
}

function parameterChange(fields: Fields): string {
  const numbers = [
    'max_connections',
    'max_worker_processes',
    'max_wal_senders',
    'max_prepared_xacts',
    'max_locks_per_xact',
  ];
  const parts = numbers.map((name) => `${name}=${fields.u32()}`);
  parts.push(`wal_level=${walLevel(fields.u32())}`);
  for (const name of ['wal_log_hints', 'track_commit_timestamp'])
    parts.push(`${name}=${fields.u8() ? 'on' : 'off'}`);
  return parts.join(' ');
}

function endOfRecovery(fields: Fields, majorVersion: number): string {
  const time = fields.time();
  const timelines = `tli ${fields.u32()}; prev tli ${fields.u32()}; time ${time}`;
  return majorVersion >= 17 ? `${timelines}; wal_level ${walLevel(fields.u32())}` : timelines;
}

// --- Transaction -----------------------------------------------------------------------------------

const HAS_INFO = 0x80;
const Xinfo = {
  DATABASE: 0x01,
  SUBTRANSACTIONS: 0x02,
  RELATIONS: 0x04,
  INVALIDATIONS: 0x08,
  TWO_PHASE: 0x10,
  ORIGIN: 0x20,
  GID: 0x80,
  DROPPED_STATS: 0x100,
} as const;
const INIT_FILE_INVALIDATION = 0x4000_0000;
const FORCE_SYNC = 0x8000_0000;

function transaction(fields: Fields, name: string, record: WalRecord, majorVersion: number): string {
  if (name.startsWith('COMMIT') || name.startsWith('ABORT'))
    return commitOrAbort(fields, name, record, majorVersion);
  if (name === 'ASSIGNMENT')
    return `xtop ${fields.u32()}: subxacts: ${fields.list(() => String(fields.u32()))}`;
  return '';
}

/** The parts that `xinfo` announces, in this order (`ParseCommitRecord`, `ParseAbortRecord`). */
function commitOrAbort(fields: Fields, name: string, record: WalRecord, majorVersion: number): string {
  const parts = [fields.time()];
  const xinfo = (record.info & HAS_INFO) === 0 ? 0 : fields.u32();
  const has = (bit: number): boolean => (xinfo & bit) !== 0;
  const isCommit = name.startsWith('COMMIT');
  const database = has(Xinfo.DATABASE)
    ? { id: fields.u32(), tablespace: fields.u32() }
    : { id: 0, tablespace: 0 };
  const subtransactions = has(Xinfo.SUBTRANSACTIONS) ? fields.list(() => String(fields.u32())) : '';
  const relations = has(Xinfo.RELATIONS) ? fields.list(() => relation(fields, majorVersion)) : '';
  const stats = has(Xinfo.DROPPED_STATS) ? fields.list(() => droppedStats(fields, majorVersion)) : '';
  const messages = isCommit && has(Xinfo.INVALIDATIONS) ? fields.list(() => invalidation(fields)) : '';
  const prepared = has(Xinfo.TWO_PHASE) ? `${fields.u32()}: ` : '';
  if (has(Xinfo.TWO_PHASE) && has(Xinfo.GID)) fields.text(200);
  if (relations !== '') parts.push(`rels: ${relations}`);
  if (subtransactions !== '') parts.push(`subxacts: ${subtransactions}`);
  if (stats !== '') parts.push(`dropped stats: ${stats}`);
  if (messages !== '' && has(INIT_FILE_INVALIDATION)) {
    parts.push(`relcache init file inval dbid ${database.id} tsid ${database.tablespace}`);
  }
  if (messages !== '') parts.push(`inval msgs: ${messages}`);
  if (isCommit && has(FORCE_SYNC)) parts.push('sync');
  if (has(Xinfo.ORIGIN)) {
    parts.push(`origin: node ${record.origin}, lsn ${formatLsn(fields.lsn())}, at ${fields.time()}`);
  }
  return prepared + parts.join('; ');
}

function relation(fields: Fields, majorVersion: number): string {
  return pathOf(fields.u32(), fields.u32(), fields.u32(), Fork.MAIN, majorVersion);
}

/** The catalog version in the path of a tablespace's files is not to be had from WAL. */
function pathOf(
  tablespace: number,
  database: number,
  number: number,
  fork: number,
  majorVersion: number,
): string {
  return relationPath({ tablespace, database, relation: number }, fork as Fork, `PG_${majorVersion}_*`);
}

function droppedStats(fields: Fields, majorVersion: number): string {
  const [kind, database, low] = [fields.u32(), fields.u32(), fields.u32()];
  const high = majorVersion >= 18 ? fields.u32() : 0;
  return `${kind}/${database}/${BigInt(high) * 2n ** 32n + BigInt(low)}`;
}

/** `SharedInvalidationMessage`, of 16 bytes. */
function invalidation(fields: Fields): string {
  const id = (fields.u8() << 24) >> 24;
  const object = fields.skip(3 + 4).u32();
  fields.skip(4);
  if (id >= 0) return `catcache ${id}`;
  switch (id) {
    case -1:
      return `catalog ${object}`;
    case -2:
      return `relcache ${object}`;
    case -3:
      return 'smgr';
    case -4:
      return 'relmap';
    case -5:
      return `snapshot ${object}`;
    case -6:
      return `relsync ${object}`;
    default:
      return `unknown id ${id}`;
  }
}

// --- LogicalMessage --------------------------------------------------------------------------------

function logicalMessage(fields: Fields): string {
  const kind = fields.skip(4).u8() === 0 ? 'non-transactional' : 'transactional';
  const [prefixSize, payloadSize] = [fields.skip(3).size(), fields.size()];
  const prefix = fields.text(prefixSize);
  const payload = Array.from(fields.bytes(payloadSize), (byte) =>
    byte.toString(16).toUpperCase().padStart(2, '0'),
  );
  return `${kind}, prefix "${prefix}"; payload (${payloadSize} bytes): ${payload.join(' ')}`;
}
