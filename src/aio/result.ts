/**
 * Results. While an I/O completes, its result is a few integers that callbacks refine one after another,
 * in whichever thread completes: nothing is thrown, nothing is allocated. The issuer copies them into an
 * `AioReturn` when it reclaims the handle, and it alone may turn them into an error.
 */

/** The ladder of outcomes, worst last. `UNKNOWN` until the issuer has reclaimed the handle. */
export const ResultStatus = { UNKNOWN: 0, OK: 1, WARNING: 2, PARTIAL: 3, ERROR: 4 } as const;
export type ResultStatus = (typeof ResultStatus)[keyof typeof ResultStatus];

const statusNames = ['unknown', 'ok', 'warning', 'partial', 'error'] as const;
export function statusName(status: ResultStatus): (typeof statusNames)[number] {
  return statusNames[status];
}

/** PostgreSQL's PgAioResult. */
export interface AioResult {
  status: ResultStatus;
  /** The callback that set the status, and that can report it. 0: none. */
  reporter: number;
  /** 32 bits whose meaning the reporter knows: counts, first block, errno. */
  errorData: number;
  /** Bytes, then whatever unit a callback turns it into (the storage manager: blocks). Negative: -errno. */
  value: number;
}

/** Words of a target's identity that travel with an I/O and with its result. */
export const TARGET_DATA_WORDS = 12;

/** The caller's result slot: PostgreSQL's PgAioReturn. Filled once, when the owner reclaims the handle. */
export class AioReturn implements AioResult {
  status: ResultStatus = ResultStatus.UNKNOWN;
  reporter = 0;
  errorData = 0;
  value = 0;
  /** The target's identity and description, kept for messages when the I/O did not simply succeed. */
  readonly targetData: Int32Array = new Int32Array(TARGET_DATA_WORDS);
  description = '';

  /** Makes the slot ready for another I/O. */
  reset(): void {
    this.status = ResultStatus.UNKNOWN;
    this.reporter = 0;
    this.errorData = 0;
    this.value = 0;
    this.description = '';
  }
}
