/**
 * Whether io_uring can be used here, found out by using it: a small ring is set up, asked for its operations,
 * given one to do, and closed.
 */
import { constants } from 'node:os';
import { assert } from '../base/assert.js';
import { NO_ADDON_VARIABLE, RingOut } from './addon.js';
import {
  defaultNeed,
  describeSetupFailure,
  refuse,
  refuseOldKernel,
  thisMachine,
  WITHOUT_IT,
  type IoUringUnavailable,
  type Machine,
  type RingAddon,
  type SetupNeed,
} from './io-uring-refusal.js';

export { describeSetupFailure } from './io-uring-refusal.js';
export type { IoUringCause, IoUringUnavailable, Machine, RingAddon, SetupNeed } from './io-uring-refusal.js';

export interface IoUringAvailable {
  readonly available: true;
  /** The kernel's release. */
  readonly kernel: string;
  /** `IORING_FEAT_*`. */
  readonly features: number;
  /** Whether a ring can live in memory of ours, or else in the kernel's, mapped. */
  readonly ownMemory: boolean;
  /** Why not in ours; 0 when it can. */
  readonly ownMemoryErrno: number;
  /** READ and WRITE; else one-element vectors do. */
  readonly hasRead: boolean;
  readonly hasWrite: boolean;
}

export type IoUringSupport = IoUringAvailable | IoUringUnavailable;

export interface ProbeOptions {
  /** Submission entries, a power of two: whether a ring may live in our memory can depend on it. Default 64. */
  readonly entries?: number;
  /** What to name when a limit is too low. Default: what an instance with the default settings needs. */
  readonly need?: SetupNeed;
  readonly machine?: Machine;
}

/** Features without which a ring is of no use to us, the newest first, with what is missing otherwise. */
const NEEDED_FEATURES: readonly (readonly [bit: number, lacks: string])[] = [
  [1 << 8, 'its io_uring cannot wait with a timeout'], // EXT_ARG, 5.11
  [1 << 2, 'its io_uring needs vectors beyond submission'], // SUBMIT_STABLE, 5.5
  [1 << 1, 'its io_uring drops completions'], // NODROP, 5.5
  [1 << 0, 'its io_uring needs two mappings'], // SINGLE_MMAP, 5.4
];
const NEEDED_OPERATIONS: Readonly<Record<string, number>> = { READV: 1, WRITEV: 2, FSYNC: 3 };
const OP_READ = 22;
const OP_WRITE = 23;

const ENTRIES = 64;
const NOP_MILLIS = 1000;
/** Of the two parts of a ring in our memory: the largest page that a kernel may have. */
const ALIGNMENT = 64 * 1024;
const SQE_BYTES = 64;
const CQE_RESULT_WORD = 2;
const { ETIMEDOUT } = constants.errno;

let known: IoUringSupport | undefined;

/** Asked without options, it finds out once a thread. */
export function probeIoUring(options?: ProbeOptions): IoUringSupport {
  return options === undefined ? (known ??= probe({})) : probe(options);
}

/** Why io_uring is not available here, a sentence without the full stop, or null if it is. */
export function ioUringReason(): string | null {
  const support = probeIoUring();
  return support.available ? null : support.message;
}

function probe(options: ProbeOptions): IoUringSupport {
  const { entries = ENTRIES, machine = thisMachine() } = options;
  const { platform, addon } = machine;
  if (platform !== 'linux') {
    return refuse('platform', 0, `io_uring is part of Linux, and this is ${platform}`, WITHOUT_IT);
  }
  if (addon === null) return refuse('addon', 0, machine.whyNoAddon, addonHint(machine));
  const need = options.need ?? defaultNeed();
  const own = ProbeRing.inOwnMemory(addon, entries);
  const ring = typeof own === 'number' ? ProbeRing.mapped(addon, entries) : own;
  if (typeof ring === 'number') return describeSetupFailure(ring, need, machine);
  try {
    return (
      whyUseless(ring, need, machine) ?? {
        available: true,
        kernel: machine.release,
        features: ring.features,
        ownMemory: ring === own,
        ownMemoryErrno: typeof own === 'number' ? own : 0,
        hasRead: ring.has(OP_READ),
        hasWrite: ring.has(OP_WRITE),
      }
    );
  } finally {
    ring.close();
  }
}

function addonHint({ whyNoAddon }: Machine): string {
  if (whyNoAddon.includes(NO_ADDON_VARIABLE)) return `Unset the environment variable ${NO_ADDON_VARIABLE}.`;
  return 'Install a C compiler (gcc or clang), then reinstall pgaio or run `npm rebuild pgaio`.';
}

function whyUseless(ring: ProbeRing, need: SetupNeed, machine: Machine): IoUringUnavailable | null {
  if (!ring.isVisible) {
    const message = `the memory of rings must be mapped on Linux ${machine.release}, and this Node cannot show it`;
    return refuse('other', 0, message, 'Run Linux 6.5 or newer, or a Node without pointer compression.');
  }
  const lacking = NEEDED_FEATURES.find(([bit]) => (ring.features & bit) === 0);
  if (lacking !== undefined) return refuseOldKernel(0, machine, lacking[1]);
  const errno = ring.learnOperations();
  if (errno !== 0) return describeSetupFailure(errno, need, machine);
  const missing = Object.entries(NEEDED_OPERATIONS).filter(([, code]) => !ring.has(code));
  if (missing.length > 0) {
    const names = missing.map(([name]) => name).join(', ');
    const message = `the io_uring of this kernel (Linux ${machine.release}) has no ${names}`;
    return refuse(
      'operation',
      0,
      message,
      'Allow these operations where they are restricted, or run another kernel.',
    );
  }
  const failed = ring.doNothing();
  if (failed === 0) return null;
  if (failed !== ETIMEDOUT) return describeSetupFailure(failed, need, machine);
  const message = `io_uring did not complete a NOP within ${NOP_MILLIS} ms (Linux ${machine.release})`;
  return refuse('other', failed, message, WITHOUT_IT);
}

/** A ring's two parts, as 32-bit words. */
interface Parts {
  readonly sqes: Int32Array;
  readonly rings: Int32Array;
}

class ProbeRing {
  readonly #addon: RingAddon;
  readonly #ring: number;
  readonly #memory: number;
  readonly #out: Int32Array;
  /** Null where this Node cannot show memory that it did not allocate. */
  readonly #parts: Parts | null;
  readonly #operations = new Uint8Array(64);

  /** A ring, or the errno. */
  static inOwnMemory(addon: RingAddon, entries: number): ProbeRing | number {
    const partBytes = Math.ceil((entries * SQE_BYTES) / ALIGNMENT) * ALIGNMENT;
    const bytes = new Uint8Array(2 * partBytes + ALIGNMENT);
    const memory = addon.registerMemory(bytes);
    const sqesAt = (ALIGNMENT - (addon.address(bytes) % ALIGNMENT)) % ALIGNMENT;
    const ringsAt = sqesAt + partBytes;
    const out = new Int32Array(RingOut.WORDS);
    const ring = addon.ringSetup(entries, memory, sqesAt, ringsAt, partBytes, out);
    if (ring >= 0) {
      const words = (at: number): Int32Array => new Int32Array(bytes.buffer, at, partBytes / 4);
      return new ProbeRing(addon, ring, memory, out, { sqes: words(sqesAt), rings: words(ringsAt) });
    }
    addon.forgetMemory(memory);
    return -ring;
  }

  /** A ring, or the errno. */
  static mapped(addon: RingAddon, entries: number): ProbeRing | number {
    const out = new Int32Array(RingOut.WORDS);
    const ring = addon.ringSetup(entries, -1, 0, 0, 0, out);
    return ring < 0 ? -ring : new ProbeRing(addon, ring, -1, out, mappedParts(addon, ring));
  }

  private constructor(addon: RingAddon, ring: number, memory: number, out: Int32Array, parts: Parts | null) {
    this.#addon = addon;
    this.#ring = ring;
    this.#memory = memory;
    this.#out = out;
    this.#parts = parts;
  }

  get isVisible(): boolean {
    return this.#parts !== null;
  }

  get features(): number {
    return this.#out[RingOut.FEATURES]!;
  }

  /** 0 or the errno. */
  learnOperations(): number {
    return Math.max(0, -this.#addon.ringProbe(this.#ring, this.#operations));
  }

  has(operation: number): boolean {
    return this.#operations[operation] === 1;
  }

  /** Lets the kernel carry out a NOP, and waits for it; 0 or the errno. */
  doNothing(): number {
    assert(this.#parts !== null, 'a ring that cannot be seen cannot be used');
    const { rings, sqes } = this.#parts;
    sqes.fill(0, 0, SQE_BYTES / 4);
    const tail = this.#out[RingOut.SQ_TAIL]! / 4;
    Atomics.add(rings, tail, 1);
    const taken = this.#addon.ringEnter(this.#ring, 1, 1, NOP_MILLIS);
    if (taken < 0) return -taken;
    if (Atomics.load(rings, this.#out[RingOut.CQ_TAIL]! / 4) !== 1) return ETIMEDOUT;
    return -rings[this.#out[RingOut.CQES]! / 4 + CQE_RESULT_WORD]!;
  }

  close(): void {
    this.#addon.ringClose(this.#ring);
    if (this.#memory >= 0) this.#addon.forgetMemory(this.#memory);
  }
}

function mappedParts(addon: RingAddon, ring: number): Parts | null {
  try {
    const [sqes, rings] = addon.ringViews(ring);
    return { sqes: new Int32Array(sqes), rings: new Int32Array(rings) };
  } catch {
    return null;
  }
}
