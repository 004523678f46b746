/**
 * Which kernel thread this is, and whether another one still exists. A thread id can be used again, so
 * its start time goes with it. Source: /proc, so Linux only; elsewhere the identity is unknown, and the
 * supervisor cannot tell that a thread which a user created has ended.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { errnoOf } from '../base/system-errors.js';

export interface ThreadIdentity {
  /** The kernel's thread id; 0 when unknown. */
  readonly threadId: number;
  /** Clock ticks since boot at which the thread started; 0 when unknown. */
  readonly startTime: number;
}

export const UNKNOWN_THREAD: ThreadIdentity = { threadId: 0, startTime: 0 };

export function currentThreadIdentity(): ThreadIdentity {
  try {
    const threadId = Number(readlinkSync('/proc/thread-self').split('/').at(-1));
    const startTime = startTimeOf(threadId);
    return startTime === GONE || startTime === UNREADABLE ? UNKNOWN_THREAD : { threadId, startTime };
  } catch {
    return UNKNOWN_THREAD;
  }
}

/** False only when the thread has certainly ended. */
export function threadMayBeAlive(identity: ThreadIdentity): boolean {
  if (identity.threadId === 0) return true;
  const startTime = startTimeOf(identity.threadId);
  return startTime === UNREADABLE || startTime === identity.startTime;
}

/** As `threadMayBeAlive`, where only the number is known: a later thread with the same number passes for it. */
export function threadIdMayBeAlive(threadId: number): boolean {
  return threadId === 0 || startTimeOf(threadId) !== GONE;
}

/** There is no such thread any more. */
const GONE = -1;
/** The kernel did not say: no descriptor was free, for example. That proves nothing. */
const UNREADABLE = -2;

/** Field 22 of the stat line, counted behind the command's closing parenthesis (the name may hold blanks). */
function startTimeOf(threadId: number): number {
  try {
    const stat = readFileSync(`/proc/self/task/${threadId}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
  } catch (error) {
    const errno = errnoOf(error, 0);
    return errno === constants.errno.ENOENT || errno === constants.errno.ESRCH ? GONE : UNREADABLE;
  }
}
