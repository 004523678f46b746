/** A machine whose kernel answers as a test wants. */
import { constants } from 'node:os';
import { RingOut } from '../../src/native/addon.js';
import type { Machine, RingAddon } from '../../src/native/io-uring-support.js';

const { EINVAL } = constants.errno;

/** What the made-up kernel answers; what is left out works. */
export interface Answers {
  /** Errno of setting up a ring, of whichever kind. */
  setup?: number;
  /** Errno of setting up a ring in memory of ours. */
  ownMemory?: number;
  features?: number;
  probe?: number;
  /** Operations that the kernel has. */
  operations?: readonly number[];
  enter?: number;
  /** What the NOP gives; null: nothing within the time. */
  nop?: number | null;
  /** Mapped memory cannot be shown. */
  hidden?: boolean;
  limits?: Readonly<Record<number, number>>;
}

const SQ_TAIL = 4;
const CQ_TAIL = 12;
const CQES = 64;

export const ALL_FEATURES = 0x107;
export const ALL_OPERATIONS: readonly number[] = [0, 1, 2, 3, 22, 23];

/** A kernel's io_uring, in as many words as the probe uses. Counts what is not given back. */
export class FakeAddon implements RingAddon {
  readonly answers: Answers;
  rings = 0;
  memories = 0;
  #words: Int32Array = new Int32Array(1024);
  #registered: Uint8Array = new Uint8Array(0);

  constructor(answers: Answers) {
    this.answers = answers;
  }

  registerMemory(view: Uint8Array): number {
    this.#registered = view;
    return this.memories++;
  }

  forgetMemory(): void {
    this.memories--;
  }

  /** So that the aligned part begins somewhere inside. */
  address(): number {
    return 0x7fff_0000_1000;
  }

  ringSetup(
    entries: number,
    memory: number,
    _sqesAt: number,
    ringAt: number,
    _bytes: number,
    out: Int32Array,
  ): number {
    const { setup, ownMemory, features } = this.answers;
    if (setup !== undefined) return -setup;
    if (memory >= 0 && ownMemory !== undefined) return -ownMemory;
    if (memory >= 0) this.#words = new Int32Array(this.#registered.buffer, ringAt);
    out[RingOut.SQ_ENTRIES] = entries;
    out[RingOut.FEATURES] = features ?? ALL_FEATURES;
    out[RingOut.SQ_TAIL] = SQ_TAIL;
    out[RingOut.CQ_TAIL] = CQ_TAIL;
    out[RingOut.CQES] = CQES;
    this.rings++;
    return 7;
  }

  ringViews(): [ArrayBuffer, ArrayBuffer] {
    if (this.answers.hidden === true) throw new TypeError('this ring cannot be shown as an ArrayBuffer');
    return [new ArrayBuffer(4096), this.#words.buffer as ArrayBuffer];
  }

  ringEnter(_ring: number, submit: number): number {
    const { enter, nop = 0 } = this.answers;
    if (enter !== undefined) return -enter;
    if (this.#words[SQ_TAIL / 4] !== submit) return -EINVAL;
    if (nop === null) return submit;
    this.#words[CQES / 4 + 2] = nop;
    this.#words[CQ_TAIL / 4]!++;
    return submit;
  }

  ringProbe(_ring: number, out: Uint8Array): number {
    const { probe, operations = ALL_OPERATIONS } = this.answers;
    if (probe !== undefined) return -probe;
    for (const operation of operations) out[operation] = 1;
    return 0;
  }

  ringClose(): void {
    this.rings--;
  }

  limit(resource: number): [number, number] {
    const soft = this.answers.limits?.[resource] ?? Infinity;
    return [soft, soft];
  }
}

export const NO_FILTER =
  'Name:\tnode\nGid:\t100\t100\t100\t100\nGroups:\t100 \nCapEff:\t0000000000000000\nSeccomp:\t0\n';
export const FILTER: string = NO_FILTER.replace('Seccomp:\t0', 'Seccomp:\t2');

export function machineWith(
  answers: Answers,
  {
    files = {},
    release = '6.8.0-45-generic',
    ...rest
  }: Partial<Machine> & { files?: Record<string, string> } = {},
): Machine & { addon: FakeAddon } {
  const texts: Record<string, string> = { '/proc/self/status': NO_FILTER, ...files };
  return {
    platform: 'linux',
    release,
    whyNoAddon: '',
    readText: (path) => texts[path] ?? null,
    ...rest,
    addon: new FakeAddon(answers),
  };
}
