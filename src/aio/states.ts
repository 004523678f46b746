/**
 * The life of a handle. States only move forward, and back to IDLE at the end.
 *
 *   IDLE              in its owner's free list. Next: HANDED_OUT, by acquire.
 *   HANDED_OUT        the owner fills it in. Next: DEFINED by a start call, or IDLE by release.
 *   DEFINED           operation and target are known; stage callbacks run. Next: STAGED.
 *   STAGED            complete; anybody may submit it. Next: SUBMITTED, by the issuer's submit or by a
 *                     backend that waits for it.
 *   SUBMITTED         with the method. Next: COMPLETED_IO, by the one executor.
 *   COMPLETED_IO      the kernel is done; shared callbacks run in the executor. Next: COMPLETED_SHARED.
 *   COMPLETED_SHARED  what others can see is up to date: waiters are woken. Next: COMPLETED_LOCAL, by the
 *                     owner only.
 *   COMPLETED_LOCAL   local callbacks ran, the result was copied out. Next: IDLE, generation raised first.
 *
 * One word holds the state (4 bits) and the generation's low 28 bits, so that a compare-and-swap on it is
 * a statement about one I/O and never about a later one in the same handle.
 */
export const HandleState = {
  IDLE: 0,
  HANDED_OUT: 1,
  DEFINED: 2,
  STAGED: 3,
  SUBMITTED: 4,
  COMPLETED_IO: 5,
  COMPLETED_SHARED: 6,
  COMPLETED_LOCAL: 7,
} as const;
export type HandleState = (typeof HandleState)[keyof typeof HandleState];

export const STATE_BITS = 4;
const STATE_MASK = 15;
export const GENERATION_MASK = 0x0fff_ffff;

const { IDLE, HANDED_OUT, DEFINED, STAGED, SUBMITTED, COMPLETED_IO, COMPLETED_SHARED, COMPLETED_LOCAL } =
  HandleState;

/** For each state, the states that may follow, as a bit mask. */
const NEXT: readonly number[] = [
  /* IDLE             */ 1 << HANDED_OUT,
  /* HANDED_OUT       */ (1 << DEFINED) | (1 << IDLE),
  /* DEFINED          */ 1 << STAGED,
  /* STAGED           */ 1 << SUBMITTED,
  /* SUBMITTED        */ 1 << COMPLETED_IO,
  /* COMPLETED_IO     */ 1 << COMPLETED_SHARED,
  /* COMPLETED_SHARED */ 1 << COMPLETED_LOCAL,
  /* COMPLETED_LOCAL  */ 1 << IDLE,
];

export function isLegalMove(from: number, to: number): boolean {
  return ((NEXT[from] ?? 0) & (1 << to)) !== 0;
}

export function packState(state: number, generationLow: number): number {
  return (generationLow << STATE_BITS) | state;
}

export function stateOf(stateWord: number): HandleState {
  return (stateWord & STATE_MASK) as HandleState;
}

/** The low 28 bits of the generation. */
export function generationOf(stateWord: number): number {
  return stateWord >>> STATE_BITS;
}

const stateNames = Object.keys(HandleState);
export function stateName(state: number): string {
  return stateNames[state] ?? `state ${state}`;
}
