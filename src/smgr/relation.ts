/**
 * Which relation, which fork, which file: PostgreSQL's RelFileLocator and its path rules.
 */

/** `relation` is the relation's file number (`pg_class.relfilenode`), not its OID. */
export interface RelationLocator {
  /** Default: pg_default. */
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
}

export const PG_DEFAULT_TABLESPACE = 1663;
export const PG_GLOBAL_TABLESPACE = 1664;

/** PostgreSQL's ForkNumber. */
export const Fork = { MAIN: 0, FSM: 1, VM: 2, INIT: 3 } as const;
export type Fork = (typeof Fork)[keyof typeof Fork];
const forkSuffixes = ['', '_fsm', '_vm', '_init'] as const;

/** Blocks in a segment file of a default build: 1 GiB. */
export const SEGMENT_BLOCKS = 131_072;

/** Path of a fork relative to the data directory, without a segment number. `versionDirectory` is `PG_18_…`. */
export function relationPath(locator: RelationLocator, fork: Fork, versionDirectory: string): string {
  const file = `${locator.relation}${forkSuffixes[fork]}`;
  switch (locator.tablespace) {
    case PG_GLOBAL_TABLESPACE:
      return `global/${file}`;
    case PG_DEFAULT_TABLESPACE:
      return `base/${locator.database}/${file}`;
    default:
      return `pg_tblspc/${locator.tablespace}/${versionDirectory}/${locator.database}/${file}`;
  }
}

/** Name of a fork's segment file. */
export function segmentPath(path: string, segment: number): string {
  return segment === 0 ? path : `${path}.${segment}`;
}
