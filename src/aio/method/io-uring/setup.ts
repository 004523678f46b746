/** Makes the rings of an instance, in the thread that creates it, and closes them again. */
import { constants } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { MethodUnavailableError } from '../../../base/errors.js';
import type { ResolvedSettings } from '../../../base/settings.js';
import { describeSetupFailure, setupNeed } from '../../../native/io-uring-refusal.js';
import { RingOut, type NativeAddon } from '../../../native/addon.js';
import type { Registration } from '../../../native/registered-memories.js';
import { Ring, RingOperation } from './ring.js';
import type { Rings } from './rings.js';

const { EINVAL, EOVERFLOW } = constants.errno;
const MAPPED = -1;
const QUIET_MILLIS = 5;
/** As many as the addon tells of. */
const OPERATIONS = 64;

/** All rings, or an error that says why not; then the caller closes those that there are. */
export function setUpRings(rings: Rings, native: Registration, settings: ResolvedSettings): void {
  const { ioUringMemory: memory } = settings;
  const need = setupNeed(settings);
  let mapped = memory === 'mapped';
  for (let ring = 0; ring < rings.region.count; ring++) {
    let result = setUpRing(rings, ring, native, mapped);
    if (memory === 'auto' && !mapped && (result === -EINVAL || result === -EOVERFLOW)) {
      mapped = true; // before Linux 6.5; and until 6.10, if our memory is not contiguous
      result = setUpRing(rings, ring, native, mapped);
    }
    if (result >= 0) continue;
    const { message, hint } = describeSetupFailure(-result, need);
    throw new MethodUnavailableError(
      `ring ${ring + 1} of ${rings.region.count} could not be set up: ${message}`,
      {
        hint,
      },
    );
  }
}

function setUpRing(rings: Rings, ring: number, { addon, control }: Registration, mapped: boolean): number {
  const { entries, queueWords } = rings.region;
  const out = new Int32Array(RingOut.WORDS);
  const number = mapped
    ? addon.ringSetup(entries, MAPPED, 0, 0, 0, out)
    : addon.ringSetup(
        entries,
        control,
        rings.sqesIndex(ring) * 4,
        rings.queuesIndex(ring) * 4,
        queueWords * 4,
        out,
      );
  if (number < 0) return number;
  // The kernel is the same for all.
  const vectorsOnly = ring === 0 ? lacksPlainReads(addon, number) : rings.hasVectorsOnly(0);
  rings.describe(ring, number, mapped, vectorsOnly, out);
  return number;
}

/** Whether READ or WRITE is missing or not permitted. A kernel that does not tell has neither. */
function lacksPlainReads(addon: NativeAddon, number: number): boolean {
  const has = new Uint8Array(OPERATIONS);
  addon.ringProbe(number, has);
  return has[RingOperation.READ] !== 1 || has[RingOperation.WRITE] !== 1;
}

/**
 * Closes what was set up. What is in flight on a ring comes to its end first: only after a crash is there any.
 * The addon would wait for it, too, but without letting the event loop turn.
 */
export async function closeRings(rings: Rings, addon: NativeAddon): Promise<void> {
  for (let index = 0; index < rings.region.count; index++) {
    if (!rings.isSetUp(index)) continue;
    const ring = new Ring(addon, rings, index);
    while (!ring.isQuiet) await setTimeout(QUIET_MILLIS);
    addon.ringClose(ring.number);
  }
}
