/**
 * Names of operations, as `pg_waldump` has them (`rm_identify`), by resource manager and `xl_info`. Those that are not
 * listed, and those of extensions, are printed as `info 0xNN`.
 */
import type { WalRecord } from '../../wal/record.js';
import { ResourceManager } from '../../wal/resource-managers.js';

/** From 0x00 in steps of 0x10; an empty name: there is no such operation. */
const NAMES: Readonly<Record<number, string>> = {
  // XLOG
  0:
    'CHECKPOINT_SHUTDOWN CHECKPOINT_ONLINE NOOP NEXTOID SWITCH BACKUP_END PARAMETER_CHANGE RESTORE_POINT FPW_CHANGE ' +
    'END_OF_RECOVERY FPI_FOR_HINT FPI - OVERWRITE_CONTRECORD CHECKPOINT_REDO',
  1: 'COMMIT PREPARE ABORT COMMIT_PREPARED ABORT_PREPARED ASSIGNMENT INVALIDATION',
  // Storage, CLOG, Database, Tablespace, MultiXact, RelMap, Standby
  2: '- CREATE TRUNCATE',
  3: 'ZEROPAGE TRUNCATE',
  4: 'CREATE_FILE_COPY CREATE_WAL_LOG DROP',
  5: 'CREATE DROP',
  6: 'ZERO_OFF_PAGE ZERO_MEM_PAGE CREATE_ID TRUNCATE_ID',
  7: 'UPDATE',
  8: 'LOCK RUNNING_XACTS INVALIDATIONS',
  // Heap2, Heap
  9: 'REWRITE PRUNE_ON_ACCESS PRUNE_VACUUM_SCAN PRUNE_VACUUM_CLEANUP VISIBLE MULTI_INSERT LOCK_UPDATED NEW_CID',
  10: 'INSERT DELETE UPDATE TRUNCATE HOT_UPDATE HEAP_CONFIRM LOCK INPLACE',
  // Btree, Hash, Gin, Gist
  11:
    'INSERT_LEAF INSERT_UPPER INSERT_META SPLIT_L SPLIT_R INSERT_POST DEDUP DELETE UNLINK_PAGE UNLINK_PAGE_META NEWROOT ' +
    'MARK_PAGE_HALFDEAD VACUUM REUSE_PAGE META_CLEANUP',
  12:
    'INIT_META_PAGE INIT_BITMAP_PAGE INSERT ADD_OVFL_PAGE SPLIT_ALLOCATE_PAGE SPLIT_PAGE SPLIT_COMPLETE ' +
    'MOVE_PAGE_CONTENTS SQUEEZE_PAGE DELETE SPLIT_CLEANUP UPDATE_META_PAGE VACUUM_ONE_PAGE',
  13:
    '- CREATE_PTREE INSERT SPLIT VACUUM_PAGE DELETE_PAGE UPDATE_META_PAGE INSERT_LISTPAGE DELETE_LISTPAGE ' +
    'VACUUM_DATA_LEAF_PAGE',
  14: 'PAGE_UPDATE DELETE PAGE_REUSE PAGE_SPLIT - - PAGE_DELETE ASSIGN_LSN',
  15: 'LOG',
  // SPGist, BRIN
  16: '- ADD_LEAF MOVE_LEAFS ADD_NODE SPLIT_TUPLE PICKSPLIT VACUUM_LEAF VACUUM_ROOT VACUUM_REDIRECT',
  17: 'CREATE_INDEX INSERT UPDATE SAMEPAGE_UPDATE REVMAP_EXTEND DESUMMARIZE',
  // CommitTs, ReplicationOrigin, LogicalMessage
  18: 'ZEROPAGE TRUNCATE',
  19: 'SET DROP',
  21: 'MESSAGE',
};

const HEAP2_BEFORE_17 = 'REWRITE PRUNE VACUUM FREEZE_PAGE VISIBLE MULTI_INSERT LOCK_UPDATED NEW_CID';

const GENERIC = 20;
const split = (names: string): string[] => names.split(' ').map((name) => (name === '-' ? '' : name));
const TABLES: ReadonlyMap<number, string[]> = new Map(
  Object.entries(NAMES).map(([id, names]) => [Number(id), split(names)]),
);
const HEAP2_TABLE_BEFORE_17 = split(HEAP2_BEFORE_17);

/** Of these, the highest bit is not part of the operation: the page is made anew, or there is more information. */
const INIT_PAGE = 0x80;
const WITH_INIT = new Set<number>([ResourceManager.HEAP2, ResourceManager.HEAP, ResourceManager.BRIN]);
const INITIALIZING = new Set(['INSERT', 'UPDATE', 'HOT_UPDATE', 'MULTI_INSERT']);

/** `INSERT+INIT`; null if the operation has no name. */
export function operationName(
  { resourceManager, operation }: WalRecord,
  majorVersion: number,
): string | null {
  if (resourceManager === GENERIC) return 'Generic';
  const table =
    resourceManager === ResourceManager.HEAP2 && majorVersion < 17
      ? HEAP2_TABLE_BEFORE_17
      : TABLES.get(resourceManager);
  const hasInit = WITH_INIT.has(resourceManager);
  const isMasked = hasInit || resourceManager === ResourceManager.TRANSACTION;
  const name = table?.[(isMasked ? operation & ~INIT_PAGE : operation) >>> 4] ?? '';
  if (name === '') return null;
  if (!hasInit || (operation & INIT_PAGE) === 0) return name;
  return INITIALIZING.has(name) ? `${name}+INIT` : null;
}
