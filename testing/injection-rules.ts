/**
 * Words of the rules that testing/injection.ts writes and injection-hooks.ts obeys. Imports nothing: the hooks are loaded by
 * every thread of an instance, and each would pay for it.
 */
export const points = [
  'beforeSharedCompletion',
  'afterSharedCompletion',
  'workerDequeued',
  'workerBeforeReopen',
  'workerAfterReopen',
  'beforeSubmit',
  'ringWaiterMarked',
  'ringLockMissed',
  'ringTaken',
  'ringUnlocked',
  'ringWoken',
  'ownerBeforeEnter',
] as const;
export type Point = (typeof points)[number];

/** What happens to a thread that comes to an armed point. */
export const Action = { NONE: 0, HOLD: 1, RESULT: 2, THROW: 3 } as const;

/** Words of each point's rule. */
export const Rule = {
  ACTION: 0,
  /** With RESULT: what the kernel is said to have answered. */
  VALUE: 1,
  /** Only for I/O whose SMGR block is this, whose owner is this, and in this worker; ANY: all. */
  BLOCK: 2,
  OWNER: 3,
  WORKER: 4,
  /** How many more times the rule applies. */
  TIMES: 5,
  /** How many threads have come here, ever; watched by the test. */
  ARRIVED: 6,
  /** The worker that came last, or -1. */
  LAST_WORKER: 7,
  /** Raised to let those go on that are held. */
  GATE: 8,
  /** Only for I/O of the relation with this number; ANY: all. */
  RELATION: 9,
} as const;
export const RULE_WORDS = 10;
/** Behind the rules: how many threads obey them. */
export const THREADS: number = points.length * RULE_WORDS;
export const ANY = -1;
