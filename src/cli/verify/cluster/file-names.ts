/**
 * What a file's name says: whether `pg_checksums` would look into it, and which relation, fork and segment
 * it is. Names only; nothing here touches the disk.
 */

export type ForkName = 'main' | 'fsm' | 'vm' | 'init';

export interface RelationFileName {
  /** Segment of the fork, from 0. */
  readonly segmentNumber: number;
  readonly fork: ForkName;
  /** `relfilenode`; undefined for a name that is no relation's, which `pg_checksums` scans all the same. */
  readonly relationNumber: number | undefined;
  /** What `--filenode` is compared with: the name up to the first `.` or `_` (so `t3` for `t3_16400`). */
  readonly filterKey: string;
}

/** Temporary files and the directories that hold them (`PG_TEMP_FILE_PREFIX`, `PG_TEMP_FILES_DIR`). */
const TEMPORARY_PREFIX = 'pgsql_tmp';

const SKIPPED_NAMES: ReadonlySet<string> = new Set(['pg_control', 'PG_VERSION']);

/**
 * `pg_checksums` skips `pg_filenode.map` by its whole name only and gives up at the `pg_filenode.map.tmp`
 * that the server of a running or crashed cluster writes beside it; here both are skipped.
 */
const SKIPPED_PREFIXES: readonly string[] = ['pg_internal.init', 'pg_filenode.map'];

/** Relation files: `16384`, `16384_vm`, `16384.1`, and those of temporary relations, `t3_16384_fsm.1`. */
const RELATION_FILE = /^(?:t\d+_)?([1-9]\d{0,9})(?:_(fsm|vm|init))?(?:\.([1-9]\d*))?$/;

/** Whether an entry of this name, file or directory, is passed over, whatever is in it. */
export function isTemporary(name: string): boolean {
  return name.startsWith(TEMPORARY_PREFIX);
}

/** Whether a file of this name holds no pages. */
export function holdsNoPages(name: string): boolean {
  return (
    isTemporary(name) || SKIPPED_NAMES.has(name) || SKIPPED_PREFIXES.some((prefix) => name.startsWith(prefix))
  );
}

export function isRelationFileName(name: string): boolean {
  return RELATION_FILE.test(name);
}

/**
 * Reads a name as `pg_checksums` does: what follows the first `.` is the segment number, whatever the name
 * looks like otherwise. Undefined when that is no number above 0, where `pg_checksums` gives up.
 */
export function parseRelationFileName(name: string): RelationFileName | undefined {
  const dot = name.indexOf('.');
  const stem = dot === -1 ? name : name.slice(0, dot);
  const segmentNumber = dot === -1 ? 0 : Number.parseInt(name.slice(dot + 1), 10);
  if (dot !== -1 && !(segmentNumber > 0)) return undefined;
  const match = RELATION_FILE.exec(name);
  return {
    segmentNumber,
    fork: (match?.[2] ?? 'main') as ForkName,
    relationNumber: match === null ? undefined : Number(match[1]),
    filterKey: stem.split('_', 1)[0]!,
  };
}
