/**
 * Asking that files are synchronized which were changed otherwise than by writes of buffers: made longer, or cut.
 * PostgreSQL's register_dirty_segment in mdextend and mdtruncate.
 */
import { PENDING, type Step } from '../shmem/wait.js';
import { SEGMENT_BLOCKS, type Fork } from './relation.js';

/** Asks for an fsync of a segment; a step to be waited for when there is no room, and then it is to be asked again. */
export type RequestSync = (fork: Fork, segment: number) => Step<unknown> | null;

/** Step: asks for all segments with blocks from `from` up to but without `to`. With null, nothing is synchronized. */
export function requestingSyncs(
  request: RequestSync | null,
  fork: Fork,
  from: number,
  to: number,
): Step<true> {
  const last = from < to ? Math.floor((to - 1) / SEGMENT_BLOCKS) : -1;
  let segment = Math.floor(from / SEGMENT_BLOCKS);
  let room: Step<unknown> | null = null;
  return () => {
    while (request !== null && segment <= last) {
      if (room !== null && room() === PENDING) return PENDING;
      room = request(fork, segment);
      if (room === null) segment++;
    }
    return true;
  };
}
