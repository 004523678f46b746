/**
 * The native addon as TypeScript sees it, and the one place that loads it. Without it (another platform, or
 * no C compiler at the installation) everything works but io_uring; callers ask `loadAddon`.
 *
 * Functions return a number, -errno where the kernel refused, and throw where the caller is wrong. See
 * addon.c for what each of them does.
 */
import { createRequire } from 'node:module';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

type View = Uint8Array | Int32Array | BigInt64Array;

export interface NativeAddon {
  /** Lets the kernel use this memory on behalf of this thread; kept alive until forgotten. Returns its number. */
  registerMemory(view: View): number;
  forgetMemory(memory: number): void;
  address(view: View): number;
  /** madvise(2). */
  advise(memory: number, offset: number, length: number, advice: number): number;

  /** A new ring's number, or -errno. `out` has 12 words, see `RingOut`. Memory -1: mapped, see `ringViews`. */
  ringSetup(
    entries: number,
    memory: number,
    sqesOffset: number,
    ringOffset: number,
    ringBytes: number,
    out: Int32Array,
  ): number;
  ringViews(ring: number): [sqes: ArrayBuffer, rings: ArrayBuffer];
  ringClose(ring: number): void;
  /** Whether this thread submits to the ring: what it submitted is then waited for when it ends. */
  ringAttach(ring: number, submits: number): void;
  /** Entries taken, or -errno; -ETIME when no completion was there after `millis`, 0 when fewer than `waitFor` were. */
  ringEnter(ring: number, submit: number, waitFor: number, millis: number): number;
  ringRegisterEventfd(ring: number, fd: number): number;
  /** The entry's `index` and `tag`. 0: it will complete soon, with -ECANCELED or in another way; -errno: it goes on. */
  ringCancel(ring: number, index: number, tag: number): number;
  ringProbe(ring: number, out: Uint8Array): number;

  /** Calls back on this thread's loop while the descriptor is readable. Not started. An eventfd is owned from here on. */
  pollOpen(fd: number, isEventfd: number, callback: () => void): number;
  pollSet(poll: number, active: number, keepsAlive: number): number;
  pollClose(poll: number): void;
  eventfd(): number;
  eventfdSignal(fd: number): number;
  /** A number for `exitNotice` in any thread, or -errno: the eventfd is signalled, until this thread ends. */
  noticeReceiver(eventfd: number): number;
  /** When this thread has ended, the 32-bit word there becomes `value`, then the receiver (-1: none) is told. */
  exitNotice(memory: number, byteOffset: number, value: number, receiver: number): number;
  withdrawNotice(notice: number): void;

  /** preadv(2) or pwritev(2): the vector is `count` pairs (offset in `memory`, length) of 32-bit words. */
  transfer(
    fd: number,
    memory: number,
    vectorMemory: number,
    vectorOffset: number,
    count: number,
    position: number,
    write: number,
  ): number;
  open(path: string, flags: number, mode: number): number;
  close(fd: number): number;
  sync(fd: number, dataOnly: number): number;
  fadvise(fd: number, offset: number, length: number, advice: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** What O_DIRECT needs of memory and of positions, in bytes; 0 where the file system does not say. */
  directAlignment(path: string, out: Int32Array): number;
  /** getrlimit(2): soft and hard, Infinity where there is none. */
  limit(resource: number): [soft: number, hard: number];
}

/** Words that `ringSetup` fills in; offsets are bytes from the ring's start. */
export const RingOut = {
  FD: 0,
  SQ_ENTRIES: 1,
  CQ_ENTRIES: 2,
  FEATURES: 3,
  SQ_HEAD: 4,
  SQ_TAIL: 5,
  SQ_FLAGS: 6,
  CQ_HEAD: 7,
  CQ_TAIL: 8,
  CQES: 9,
  WORDS: 12,
} as const;

/** Resources of getrlimit(2). */
export const Limit = { OPEN_FILES: 7, LOCKED_MEMORY: 8 } as const;
/** Advice of posix_fadvise(2). */
export const FileAdvice = { WILL_NEED: 3, DONT_NEED: 4 } as const;
/** Advice of madvise(2). */
export const Advice = { NO_FORK: 10 } as const;

/** Set to anything: behave as if the addon were not there. For tests, and to find out whether it is to blame. */
export const NO_ADDON_VARIABLE = 'PGAIO_NO_ADDON';

interface Loaded {
  readonly addon: NativeAddon | null;
  /** Why there is none; empty when there is. */
  readonly reason: string;
}

let loaded: Loaded | undefined;

/** The addon of this thread, or null. */
export function loadAddon(): NativeAddon | null {
  return (loaded ??= load()).addon;
}

/** Why `loadAddon` returns null; empty when it does not. */
export function whyNoAddon(): string {
  return (loaded ??= load()).reason;
}

function load(): Loaded {
  if (process.platform !== 'linux') return none(`the native addon is for Linux, this is ${process.platform}`);
  if (process.env[NO_ADDON_VARIABLE] !== undefined) return none(`${NO_ADDON_VARIABLE} is set`);
  const path = fileURLToPath(new URL(`./linux-${process.arch}.node`, import.meta.url));
  if (!existsSync(path)) {
    return none(
      'the native addon was not built: at the installation there was no C compiler, or no script was run; ' +
        'with a compiler, `npm rebuild pgaio` builds it',
    );
  }
  try {
    return { addon: createRequire(import.meta.url)(path) as NativeAddon, reason: '' };
  } catch (error) {
    return none(`the native addon could not be loaded: ${String(error)}`);
  }
}

function none(reason: string): Loaded {
  return { addon: null, reason };
}
