/** The limits of this process, and what the default settings need of them. */
import { descriptorsBesideFiles, descriptorsNeeded, ringCount } from '../../base/descriptor-need.js';
import type { ResolvedSettings } from '../../base/settings.js';
import { defaultNeed, ringsCountAsLocked } from '../../native/io-uring-refusal.js';
import type { Machine } from '../../native/io-uring-support.js';
import { formatBytes } from '../output/format.js';
import { ok, problem, warning, type Check } from './check.js';

const LIMITS = '/proc/self/limits';
/** The lowest that can be set. */
const MIN_FILES = 64;

/** The soft limit, as it is called in `/proc/self/limits`, or null where that is not there. */
function limit({ readText }: Machine, name: string): number | null {
  const text = new RegExp(`^${name} +(\\w+)`, 'm').exec(readText(LIMITS) ?? '')?.[1];
  if (text === undefined) return null;
  return text === 'unlimited' ? Infinity : Number(text);
}

export function openFilesLimit(machine: Machine): number | null {
  return limit(machine, 'Max open files');
}

/** The setting that fits the limit; null if the default does, or none would. */
export function maxFilesFor(settings: ResolvedSettings, have: number | null): number | null {
  const files = (have ?? Infinity) - descriptorsBesideFiles(settings);
  return files >= settings.maxFilesPerProcess || files < MIN_FILES ? null : files;
}

export function checkOpenFiles(machine: Machine, settings: ResolvedSettings): Check[] {
  const have = openFilesLimit(machine);
  if (have === null) return [];
  const need = descriptorsNeeded(settings);
  const summary = `the limit is ${have === Infinity ? 'unlimited' : have}, the default settings need ${need}`;
  const { maxFilesPerProcess, maxBackends, ioMaxWorkers } = settings;
  const detail =
    `${maxFilesPerProcess} data files (maxFilesPerProcess), ${ringCount(settings)} rings, ` +
    `event loops of ${maxBackends} backends (maxBackends) and ${ioMaxWorkers} I/O workers, and the program's own`;
  if (have >= need) return [ok('open-files', summary, detail)];
  const raise =
    `Raise the limit: \`ulimit -n ${need}\`, LimitNOFILE=${need} in a systemd service, or ` +
    `\`docker run --ulimit nofile=${need}\``;
  const files = maxFilesFor(settings, have);
  if (files === null) return [problem('open-files', summary, `${raise}.`, detail)];
  return [warning('open-files', summary, `${raise}; or set maxFilesPerProcess to ${files}.`, detail)];
}

export function checkLockedMemory(machine: Machine): Check[] {
  const have = limit(machine, 'Max locked memory');
  if (have === null) return [];
  const shown = have === Infinity ? 'unlimited' : formatBytes(have);
  if (!ringsCountAsLocked(machine.release)) {
    return [
      ok('locked-memory', `the limit is ${shown}`, 'Linux 5.12 and newer do not count rings against it'),
    ];
  }
  const { lockedBytes } = defaultNeed();
  const kilobytes = Math.ceil(lockedBytes / 1024);
  const summary = `the limit is ${shown}, the rings of the default settings need ${formatBytes(lockedBytes)}`;
  if (have >= lockedBytes) return [ok('locked-memory', summary)];
  const advice = `Raise the limit: \`ulimit -l ${kilobytes}\`, or LimitMEMLOCK=${kilobytes}K in a systemd service.`;
  return [warning('locked-memory', summary, advice)];
}
