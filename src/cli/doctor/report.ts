/** The whole diagnosis. */
import { availableParallelism } from 'node:os';
import { resolveSettings, type InstanceSettings } from '../../base/settings.js';
import { loadAddon } from '../../native/addon.js';
import { thisMachine } from '../../native/io-uring-refusal.js';
import { probeIoUring } from '../../native/io-uring-support.js';
import type { Check } from './check.js';
import { checkDirectIo } from './direct-io.js';
import type { FileSystemKind } from './file-systems.js';
import { checkLockedMemory, checkOpenFiles, openFilesLimit } from './limits.js';
import {
  checkAddon,
  checkCores,
  checkHugePages,
  checkIoUring,
  checkMemory,
  checkNode,
  checkPlatform,
  memoryHere,
} from './machine.js';
import { checkDataDirectory, checkFileSystem, checkPath, findPlace, type Place } from './place.js';
import { autoMethod, type MethodChoice } from '../../instance/methods.js';
import { recommend } from './recommendation.js';

/** The same for the program that asks with `--json`: names are added, never changed. */
export interface DoctorReport {
  /** Of pgaio. */
  readonly version: string;
  /** Whether there is no problem; warnings do not count. */
  readonly ok: boolean;
  readonly checks: readonly Check[];
  /** For `createInstance`. */
  readonly recommended: InstanceSettings;
  /** What `ioMethod: 'auto'` takes here, and why. */
  readonly ioMethod: MethodChoice;
}

export interface PackageFacts {
  readonly version: string;
  readonly engines: { readonly node: string };
}

export interface Diagnosis {
  readonly report: DoctorReport;
  /** Why each recommended setting. */
  readonly reasons: Readonly<Record<string, string>>;
}

/** Throws for a path that does not exist. */
export async function diagnose(path: string, { version, engines }: PackageFacts): Promise<Diagnosis> {
  const place = findPlace(path);
  const machine = thisMachine();
  const support = probeIoUring();
  const auto = autoMethod(support);
  const defaults = resolveSettings({}, auto);
  const cores = availableParallelism();
  const memory = memoryHere();
  const there = place === null ? { checks: [], kind: null } : await checkPlace(place);
  const checks = [
    checkNode(engines.node),
    checkPlatform(machine),
    checkAddon(machine, support),
    checkIoUring(support),
    ...checkOpenFiles(machine, defaults),
    ...checkLockedMemory(machine),
    checkCores(cores),
    checkMemory(defaults, memory),
    ...checkHugePages(machine),
    checkPath(path, place),
    ...there.checks,
  ];
  const openFiles = openFilesLimit(machine);
  const { settings, reasons } = recommend(auto, { cores, memory, openFiles, kind: there.kind, defaults });
  const isOk = checks.every(({ status }) => status !== 'problem');
  return { report: { version, ok: isOk, checks, recommended: settings, ioMethod: auto }, reasons };
}

async function checkPlace(place: Place): Promise<{ checks: Check[]; kind: FileSystemKind }> {
  const { checks, kind } = checkFileSystem(place);
  if (!place.readable) return { checks, kind };
  return {
    checks: [...checks, checkDirectIo(place, loadAddon()), ...(await checkDataDirectory(place))],
    kind,
  };
}
