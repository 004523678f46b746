/** What the threads of the stress with writes, and its judge, agree on. */
export const STRESS_BLOCKS = 200;
export const STRESS_LANES = 4;
/** Changes between two messages of a thread. */
export const REPORT_EVERY = 10;

/** Byte of a page where a lane counts its changes. */
export function countAt(lane: number): number {
  return 2000 + lane * 4;
}

/** An fsync whose thread was ended in it counts as failed, for good: resolves with whether there was such a one. */
export async function hasFailedSync(syncing: Promise<unknown>): Promise<boolean> {
  try {
    await syncing;
    return false;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_PGAIO_SYNC_EIO') throw error;
    return true;
  }
}
