/**
 * Which relation, which fork, which file: PostgreSQL's RelFileLocator and its path rules.
 */

/**
 * `relation` is the relation's file number (`pg_class.relfilenode`), not its OID. With `backend`, PostgreSQL's
 * RelFileLocatorBackend.
 */
export interface RelationLocator {
  /** Default: pg_default. */
  readonly tablespace: number;
  readonly database: number;
  readonly relation: number;
  /**
   * Number of the backend whose private ("temporary") relation this is: only that one can read it, through a
   * pool of its own. Default: none, the relation is everybody's.
   */
  readonly backend?: number | undefined;
}

export const PG_DEFAULT_TABLESPACE = 1663;
export const PG_GLOBAL_TABLESPACE = 1664;

/** PostgreSQL's ForkNumber. */
export const Fork = { MAIN: 0, FSM: 1, VM: 2, INIT: 3 } as const;
export type Fork = (typeof Fork)[keyof typeof Fork];
const forkSuffixes = ['', '_fsm', '_vm', '_init'] as const;

/**
 * Refuses what is no locator. In shared memory the numbers are words: one with a fraction, or too large for a word, would
 * find the pages of another relation.
 */
export function checkLocator(locator: RelationLocator): void {
  const { tablespace, database, relation, backend } = locator;
  checkOid('tablespace', tablespace, 1);
  checkOid('database', database, 0);
  checkOid('relation', relation, 1);
  // The shared tablespace has no private relations.
  if (backend === undefined) return;
  const possible = Number.isInteger(backend) && backend >= 0 && tablespace !== PG_GLOBAL_TABLESPACE;
  if (!possible)
    throw new RangeError(`no relation of tablespace ${tablespace} is private to backend ${backend}`);
}

function checkOid(what: string, given: unknown, least: number): void {
  if (typeof given === 'number' && given >>> 0 === given && given >= least) return;
  throw new RangeError(
    `${String(given)} is not the number of a ${what}: give an integer from ${least} to 4294967295`,
  );
}

/** Refuses what is no fork. */
export function checkFork(fork: Fork): void {
  if (forkSuffixes[fork] !== undefined) return;
  throw new RangeError(`${String(fork)} is not a fork: give one of Fork.MAIN, Fork.FSM, Fork.VM, Fork.INIT`);
}

/** Blocks in a segment file of a default build: 1 GiB. */
export const SEGMENT_BLOCKS = 131_072;

/** Path of a fork relative to the data directory, without a segment number. `versionDirectory` is `PG_18_…`. */
export function relationPath(locator: RelationLocator, fork: Fork, versionDirectory: string): string {
  const owner = locator.backend === undefined ? '' : `t${locator.backend}_`;
  const file = `${owner}${locator.relation}${forkSuffixes[fork]}`;
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
