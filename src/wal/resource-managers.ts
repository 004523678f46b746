/** Resource managers (`rmgrlist.h`) of PostgreSQL 15 to 18: their numbers and names do not differ. */

/** Those that this library looks into. */
export const ResourceManager = {
  XLOG: 0,
  TRANSACTION: 1,
  STORAGE: 2,
  STANDBY: 8,
  HEAP2: 9,
  HEAP: 10,
  BRIN: 17,
  GENERIC: 20,
  LOGICAL_MESSAGE: 21,
} as const;

/** By number, as `pg_waldump` names them. */
export const RESOURCE_MANAGERS: readonly string[] = [
  'XLOG',
  'Transaction',
  'Storage',
  'CLOG',
  'Database',
  'Tablespace',
  'MultiXact',
  'RelMap',
  'Standby',
  'Heap2',
  'Heap',
  'Btree',
  'Hash',
  'Gin',
  'Gist',
  'Sequence',
  'SPGist',
  'BRIN',
  'CommitTs',
  'ReplicationOrigin',
  'Generic',
  'LogicalMessage',
];

/** Numbers from here on are for extensions (`RM_MIN_CUSTOM_ID`). */
export const CUSTOM_RESOURCE_MANAGER_MIN = 128;
export const RESOURCE_MANAGER_MAX = 255;

/** `RmgrIdIsValid`. */
export function isResourceManager(id: number): boolean {
  return id < RESOURCE_MANAGERS.length || (id >= CUSTOM_RESOURCE_MANAGER_MIN && id <= RESOURCE_MANAGER_MAX);
}

/** `Heap`; `custom200` for an extension's. */
export function resourceManagerName(id: number): string {
  return RESOURCE_MANAGERS[id] ?? `custom${String(id).padStart(3, '0')}`;
}

/** The number of a name, in any case of letters; null if there is none. */
export function resourceManagerByName(name: string): number | null {
  const wanted = name.toLowerCase();
  for (let id = 0; id <= RESOURCE_MANAGER_MAX; id++) {
    if (isResourceManager(id) && resourceManagerName(id).toLowerCase() === wanted) return id;
  }
  return null;
}
