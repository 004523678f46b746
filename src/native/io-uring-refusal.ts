/**
 * Why the kernel refuses io_uring, in words: a message that says what is wrong and a hint that says what to
 * do. An errno alone does not tell; what does stands in /proc and in the limits of the process.
 */
import { readFileSync } from 'node:fs';
import { constants, release } from 'node:os';
import { descriptorsNeeded, ringCount } from '../base/descriptor-need.js';
import { resolveSettings, type ResolvedSettings } from '../base/settings.js';
import { getSystemErrorMessage } from '../base/system-errors.js';
import { Limit, loadAddon, whyNoAddon, type NativeAddon } from './addon.js';

export type IoUringCause =
  | 'platform' // not Linux
  | 'addon' // the native addon is missing
  | 'kernel' // older than the floor
  | 'system-call' // a kernel without io_uring
  | 'disabled' // by sysctl
  | 'seccomp' // a filter of system calls, as containers have one
  | 'forbidden' // by a security module, or for a reason that the kernel keeps to itself
  | 'descriptors' // the limit on open files
  | 'memory' // the limit on locked memory, or memory itself
  | 'operation' // the kernel's io_uring lacks an operation
  | 'other';

export interface IoUringUnavailable {
  readonly available: false;
  readonly cause: IoUringCause;
  /** The kernel's answer, positive; 0 where it was not asked or did not refuse. */
  readonly errno: number;
  /** What is wrong: a sentence without the full stop. */
  readonly message: string;
  /** What to do: a sentence, or two. */
  readonly hint: string;
}

/** What the rings in question need in all. */
export interface SetupNeed {
  /** The limit on open files that would do. */
  readonly descriptors: number;
  /** Bytes of all rings: locked memory, to kernels before 5.12. */
  readonly lockedBytes: number;
}

export type RingAddon = Pick<
  NativeAddon,
  | 'registerMemory'
  | 'forgetMemory'
  | 'address'
  | 'ringSetup'
  | 'ringViews'
  | 'ringEnter'
  | 'ringProbe'
  | 'ringClose'
  | 'limit'
>;

/** Where answers come from; tests have a machine of their own. */
export interface Machine {
  readonly platform: string;
  /** Of the kernel: `6.8.0-45-generic`. */
  readonly release: string;
  readonly addon: RingAddon | null;
  /** Why there is no addon; empty when there is. */
  readonly whyNoAddon: string;
  /** The file's text, or null. */
  readonly readText: (path: string) => string | null;
}

/** The oldest kernel that will do: before it, waiting for completions knows no timeout. */
export const KERNEL_FLOOR = '5.11';
/** From here on rings count as ordinary memory. */
const UNLOCKED_SINCE = '5.12';
const FIRST_KERNEL = '5.1';

const { EPERM, EACCES, ENOSYS, EMFILE, ENFILE, ENOMEM } = constants.errno;
const CAP_SYS_ADMIN = 21n;
const PAGE = 4096;

const SECCOMP_HINT =
  'Allow io_uring_setup, io_uring_enter and io_uring_register in the container: ' +
  '`docker run --security-opt seccomp=PROFILE.json` with a profile that has them, or seccomp=unconfined; ' +
  'in Kubernetes, securityContext.seccompProfile.';

const LSM_HINT = "Look for a refusal by SELinux or AppArmor in the kernel's log, and allow io_uring there.";
/** What to do where nothing can be done about it. */
export const WITHOUT_IT = "Use ioMethod 'worker', which needs no io_uring.";

export function thisMachine(): Machine {
  return {
    platform: process.platform,
    release: release(),
    addon: loadAddon(),
    whyNoAddon: whyNoAddon(),
    readText: (path) => {
      try {
        return readFileSync(path, 'utf8');
      } catch {
        return null; // not there, or not for us: then it says nothing
      }
    },
  };
}

/** Bytes of one ring with so many submission entries. */
export function ringBytes(entries: number): number {
  const pages = (bytes: number): number => Math.ceil(bytes / PAGE) * PAGE;
  return pages(entries * 64) + pages(64 + entries * 4 + 2 * entries * 16);
}

/** What an instance with the default settings needs. */
export function defaultNeed(): SetupNeed {
  return setupNeed(resolveSettings({}, { name: 'io_uring', reason: '' }));
}

/** What an instance with these settings needs. */
export function setupNeed(settings: ResolvedSettings): SetupNeed {
  return {
    descriptors: descriptorsNeeded(settings),
    lockedBytes: ringCount(settings) * ringBytes(settings.ioMaxConcurrency),
  };
}

/** What a positive errno of setting up a ring (or of using it for the first time) means on this machine. */
export function describeSetupFailure(
  errno: number,
  need: SetupNeed,
  machine: Machine = thisMachine(),
): IoUringUnavailable {
  switch (errno) {
    case ENOSYS:
      return unknownCall(errno, machine);
    case EPERM:
      return notPermitted(errno, machine);
    case EACCES:
      return refuse(
        'forbidden',
        errno,
        'a security module forbids io_uring to this process (EACCES)',
        LSM_HINT,
      );
    case EMFILE:
      return tooFewDescriptors(errno, need, machine);
    case ENFILE:
      return refuse(
        'descriptors',
        errno,
        'the system has no file descriptors left for io_uring (ENFILE)',
        'Raise its limit on open files, as root: `sysctl -w fs.file-max=N`.',
      );
    case ENOMEM:
      return tooLittleMemory(errno, need, machine);
    default:
      return refuse(
        'other',
        errno,
        `io_uring does not work on this kernel (Linux ${machine.release}): ${getSystemErrorMessage(errno)}`,
        WITHOUT_IT,
      );
  }
}

export function refuse(
  cause: IoUringCause,
  errno: number,
  message: string,
  hint: string,
): IoUringUnavailable {
  return { available: false, cause, errno, message, hint };
}

export function refuseOldKernel(
  errno: number,
  { release: kernel }: Machine,
  lacks: string,
): IoUringUnavailable {
  const message = `Linux ${kernel} is too old: ${lacks}; ${KERNEL_FLOOR} is needed`;
  return refuse('kernel', errno, message, `Run Linux ${KERNEL_FLOOR} or newer.`);
}

function unknownCall(errno: number, machine: Machine): IoUringUnavailable {
  if (isOlder(machine.release, FIRST_KERNEL)) return refuseOldKernel(errno, machine, 'it has no io_uring');
  if (isFiltered(machine)) {
    return refuse(
      'seccomp',
      errno,
      'io_uring is hidden from this process (ENOSYS), most likely by its seccomp filter, as in a container',
      SECCOMP_HINT,
    );
  }
  return refuse(
    'system-call',
    errno,
    `this kernel (Linux ${machine.release}) has no io_uring (ENOSYS)`,
    'Run a kernel that was built with CONFIG_IO_URING; in a sandbox such as gVisor, switch io_uring on there.',
  );
}

function notPermitted(errno: number, machine: Machine): IoUringUnavailable {
  const disabled = sysctl(machine, 'io_uring_disabled');
  if (disabled === 2) {
    return refuse(
      'disabled',
      errno,
      'io_uring is switched off for all processes (sysctl kernel.io_uring_disabled is 2)',
      'Switch it on, as root, on the host: `sysctl -w kernel.io_uring_disabled=0`.',
    );
  }
  if (disabled === 1 && !isPrivileged(machine)) {
    const group = sysctl(machine, 'io_uring_group') ?? -1;
    const members = group < 0 ? '' : ` and members of group ${group}`;
    const join =
      group < 0 ? 'set kernel.io_uring_group to a group of this user' : `add this user to group ${group}`;
    return refuse(
      'disabled',
      errno,
      `io_uring is for privileged processes${members} only (sysctl kernel.io_uring_disabled is 1)`,
      `Switch it on, as root, on the host: \`sysctl -w kernel.io_uring_disabled=0\`; or ${join}.`,
    );
  }
  if (isFiltered(machine)) {
    return refuse(
      'seccomp',
      errno,
      'the seccomp filter of this process forbids io_uring (EPERM), as in a container',
      SECCOMP_HINT,
    );
  }
  return refuse('forbidden', errno, 'the kernel forbids io_uring to this process (EPERM)', LSM_HINT);
}

function tooFewDescriptors(errno: number, { descriptors }: SetupNeed, machine: Machine): IoUringUnavailable {
  const have = limitOf(machine, Limit.OPEN_FILES);
  return refuse(
    'descriptors',
    errno,
    `too few file descriptors for io_uring: the limit on open files is ${have}, at least ${descriptors} are needed`,
    `Raise the limit: \`ulimit -n ${descriptors}\`, LimitNOFILE=${descriptors} in a systemd service, or ` +
      `\`docker run --ulimit nofile=${descriptors}\`.`,
  );
}

function tooLittleMemory(errno: number, { lockedBytes }: SetupNeed, machine: Machine): IoUringUnavailable {
  const have = limitOf(machine, Limit.LOCKED_MEMORY);
  if (!ringsCountAsLocked(machine.release) || have >= lockedBytes) {
    return refuse(
      'memory',
      errno,
      'the kernel has no memory for an io_uring (ENOMEM)',
      'Free memory, or raise the memory limit of the container.',
    );
  }
  const need = Math.ceil(lockedBytes / 1024);
  return refuse(
    'memory',
    errno,
    `too little memory may be locked for io_uring: the limit is ${Math.floor(have / 1024)} kB, ${need} kB are needed`,
    `Raise the limit: \`ulimit -l ${need}\`, LimitMEMLOCK=${need}K in a systemd service, or ` +
      `\`docker run --ulimit memlock=${lockedBytes}\`; Linux ${UNLOCKED_SINCE} and newer do not count rings.`,
  );
}

/** Whether this kernel counts rings against the limit on locked memory. */
export function ringsCountAsLocked(kernel: string): boolean {
  return isOlder(kernel, UNLOCKED_SINCE);
}

/** Of releases as `uname -r` has them; one that is not understood is older than none. */
function isOlder(kernel: string, than: string): boolean {
  const [major = 0, minor = 0] = than.split('.').map(Number);
  const found = /^(\d+)\.(\d+)/.exec(kernel);
  if (found === null) return false;
  const haveMajor = Number(found[1]);
  return haveMajor < major || (haveMajor === major && Number(found[2]) < minor);
}

function limitOf({ addon }: Machine, resource: number): number {
  return addon?.limit(resource)[0] ?? 0;
}

function sysctl(machine: Machine, name: string): number | null {
  const text = machine.readText(`/proc/sys/kernel/${name}`)?.trim() ?? '';
  return /^-?\d+$/.test(text) ? Number(text) : null;
}

function status(machine: Machine, field: string): string {
  const text = machine.readText('/proc/self/status') ?? '';
  return new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
}

function isFiltered(machine: Machine): boolean {
  return status(machine, 'Seccomp') === '2';
}

/** Whether `io_uring_disabled` = 1 lets this process through, so that it is not to blame. */
function isPrivileged(machine: Machine): boolean {
  const capabilities = status(machine, 'CapEff');
  if (/^[0-9a-f]+$/.test(capabilities) && ((BigInt(`0x${capabilities}`) >> CAP_SYS_ADMIN) & 1n) === 1n)
    return true;
  const group = sysctl(machine, 'io_uring_group') ?? -1;
  const effective = status(machine, 'Gid').split(/\s+/)[1] ?? '';
  const groups = [effective, ...status(machine, 'Groups').split(/\s+/)];
  return group >= 0 && groups.includes(String(group));
}
