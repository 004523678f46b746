/** Rings of io_uring by hand, for tests of the native addon: entries are written and completions read as the kernel has them. */
import { constants } from 'node:os';
import { loadAddon, RingOut, whyNoAddon, type NativeAddon } from '../src/native/addon.js';

export const Opcode = { NOP: 0, READV: 1, WRITEV: 2, FSYNC: 3, OPENAT: 18, READ: 22, WRITE: 23 } as const;
/** Flags of a submission entry. */
export const Flag = { FIXED_FILE: 1, ASYNC: 16 } as const;
export const errno: typeof constants.errno = constants.errno;

const SQE_BYTES = 64;
const CQE_BYTES = 16;
const WASM_PAGE = 65536;
const DATA_BYTES = 4 << 20;

/** The addon, in tests that are skipped without it. */
export function theAddon(): NativeAddon {
  const addon = loadAddon();
  if (addon === null) throw new Error(whyNoAddon());
  return addon;
}

/** Why no test of the addon can run; false when they can. */
export function addonMissing(): string | false {
  return loadAddon() === null ? `io_uring and its addon are not tested: ${whyNoAddon()}` : false;
}

/** Why no test of rings can run; false when they can. */
export function ringsMissing(): string | false {
  const missing = addonMissing();
  if (missing !== false) return missing;
  const result = setupMapped(theAddon(), 1, new Int32Array(RingOut.WORDS));
  if (result < 0) return `io_uring is not permitted here (${errnoName(result)})`;
  theAddon().ringClose(result);
  return false;
}

/** Why a ring cannot stand in memory of ours; false when it can. */
export function ownMemoryMissing(): string | false {
  const missing = ringsMissing();
  if (missing !== false) return missing;
  try {
    TestRing.inOwnMemory(1).close();
    return false;
  } catch (error) {
    return `rings in own memory need Linux 6.5: ${String(error)}`;
  }
}

function setupMapped(addon: NativeAddon, entries: number, out: Int32Array): number {
  return addon.ringSetup(entries, -1, 0, 0, 0, out);
}

export function errnoName(result: number): string {
  return Object.entries(errno).find(([, value]) => value === -result)?.[0] ?? String(result);
}

export interface Entry {
  opcode: number;
  fd?: number;
  address?: number;
  length?: number;
  position?: number;
  flags?: number;
  userData?: number;
}

export interface Completion {
  userData: number;
  result: number;
}

/** A ring and memory for its data, as another thread needs them. */
export interface RingHandle {
  readonly memory: WebAssembly.Memory;
  readonly id: number;
  readonly out: readonly number[];
  readonly entries: number;
}

export class TestRing {
  readonly addon: NativeAddon = theAddon();
  readonly handle: RingHandle;
  readonly #memory: number;
  readonly #base: number;
  readonly #sqes: DataView;
  readonly #words: Int32Array;
  readonly #cqes: DataView;

  /** `views`: of a ring that the kernel's own memory holds. */
  constructor(handle: RingHandle, views?: readonly [ArrayBuffer, ArrayBuffer]) {
    this.handle = handle;
    const bytes = new Uint8Array(handle.memory.buffer);
    this.#memory = this.addon.registerMemory(bytes);
    this.#base = this.addon.address(bytes);
    const sqesLength = handle.entries * SQE_BYTES;
    this.#sqes = new DataView(views?.[0] ?? handle.memory.buffer, 0, sqesLength);
    const [ring, from] =
      views === undefined ? [handle.memory.buffer, ringOffset(handle.entries)] : [views[1], 0];
    this.#words = new Int32Array(ring, from, (this.#out('CQES') + 8) >> 2);
    this.#cqes = new DataView(ring, from + this.#out('CQES'), this.#out('CQ_ENTRIES') * CQE_BYTES);
  }

  /** A ring in memory that threads share, ready for another thread's `new TestRing(handle)`. */
  static inOwnMemory(entries = 8): TestRing {
    const addon = theAddon();
    const memory = createMemory(entries);
    const number = addon.registerMemory(new Uint8Array(memory.buffer));
    const out = new Int32Array(RingOut.WORDS);
    const at = ringOffset(entries);
    const id = addon.ringSetup(entries, number, 0, at, ringBytes(entries), out);
    addon.forgetMemory(number);
    if (id < 0) throw new Error(errnoName(id));
    return new TestRing({ memory, id, out: [...out], entries });
  }

  static mapped(entries = 8): TestRing {
    const addon = theAddon();
    const out = new Int32Array(RingOut.WORDS);
    const id = setupMapped(addon, entries, out);
    if (id < 0) throw new Error(errnoName(id));
    return new TestRing({ memory: createMemory(entries), id, out: [...out], entries }, addon.ringViews(id));
  }

  get id(): number {
    return this.handle.id;
  }

  /** The number of the registered memory. */
  get memory(): number {
    return this.#memory;
  }

  get fd(): number {
    return this.#out('FD');
  }

  /** Where the data begins, as the kernel sees it. */
  get dataAddress(): number {
    return this.#base + dataOffset(this.handle.entries);
  }

  get data(): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(
      this.handle.memory.buffer as SharedArrayBuffer,
      dataOffset(this.handle.entries),
      DATA_BYTES,
    );
  }

  /** The memory's last word, which is no part of the data. */
  get noticeOffset(): number {
    return this.handle.memory.buffer.byteLength - 4;
  }

  /** The registered memory's first address behind its end. */
  get end(): number {
    return this.#base + this.handle.memory.buffer.byteLength;
  }

  get head(): number {
    return this.#load('SQ_HEAD');
  }

  /** Completions that are there and not reaped. */
  get completed(): number {
    return (this.#load('CQ_TAIL') - this.#load('CQ_HEAD')) >>> 0;
  }

  /** Writes the next entry. */
  prepare(entry: Entry): void {
    const tail = this.#load('SQ_TAIL');
    const at = (tail & (this.#out('SQ_ENTRIES') - 1)) * SQE_BYTES;
    for (let byte = 0; byte < SQE_BYTES; byte++) this.#sqes.setUint8(at + byte, 0);
    this.#sqes.setUint8(at, entry.opcode);
    this.#sqes.setUint8(at + 1, entry.flags ?? 0);
    this.#sqes.setInt32(at + 4, entry.fd ?? -1, true);
    this.#sqes.setBigUint64(at + 8, BigInt(entry.position ?? 0), true);
    this.#sqes.setBigUint64(at + 16, BigInt(entry.address ?? 0), true);
    this.#sqes.setUint32(at + 24, entry.length ?? 0, true);
    this.#sqes.setBigUint64(at + 32, BigInt(entry.userData ?? 0), true);
    Atomics.store(this.#words, this.#out('SQ_TAIL') >> 2, tail + 1);
  }

  /** Takes back what was prepared and not submitted. */
  takeBack(): void {
    Atomics.store(this.#words, this.#out('SQ_TAIL') >> 2, this.head);
  }

  enter(submit: number, waitFor = 0, millis = -1): number {
    return this.addon.ringEnter(this.id, submit, waitFor, millis);
  }

  /** Takes all completions that are there. */
  reap(): Completion[] {
    const found: Completion[] = [];
    let head = this.#load('CQ_HEAD');
    for (const tail = this.#load('CQ_TAIL'); head !== tail; head = (head + 1) | 0) {
      const at = (head & (this.#out('CQ_ENTRIES') - 1)) * CQE_BYTES;
      found.push({
        userData: Number(this.#cqes.getBigUint64(at, true)),
        result: this.#cqes.getInt32(at + 8, true),
      });
    }
    Atomics.store(this.#words, this.#out('CQ_HEAD') >> 2, head);
    return found;
  }

  /** Submits one entry and returns its result. */
  carryOut(entry: Entry): number {
    this.prepare(entry);
    const taken = this.enter(1, 1);
    if (taken !== 1) throw new Error(`taken: ${errnoName(taken)}`);
    const [completion] = this.reap();
    if (completion === undefined) throw new Error('no completion');
    return completion.result;
  }

  /** Writes iovecs at `at` in the data; returns their address. */
  vector(at: number, pieces: readonly (readonly [address: number, length: number])[]): number {
    const view = new DataView(this.data.buffer, this.data.byteOffset + at);
    for (const [index, [address, length]] of pieces.entries()) {
      view.setBigUint64(index * 16, BigInt(address), true);
      view.setBigUint64(index * 16 + 8, BigInt(length), true);
    }
    return this.dataAddress + at;
  }

  close(): void {
    this.addon.ringClose(this.id);
    this.addon.forgetMemory(this.#memory);
  }

  #out(name: keyof typeof RingOut): number {
    return this.handle.out[RingOut[name]]!;
  }

  #load(name: keyof typeof RingOut): number {
    return Atomics.load(this.#words, this.#out(name) >> 2);
  }
}

function pages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

function ringOffset(entries: number): number {
  return pages(entries * SQE_BYTES);
}

function ringBytes(entries: number): number {
  return pages(64 + entries * (2 * CQE_BYTES + 4));
}

function dataOffset(entries: number): number {
  return ringOffset(entries) + ringBytes(entries);
}

function createMemory(entries: number): WebAssembly.Memory {
  const count = Math.ceil((dataOffset(entries) + DATA_BYTES + 4) / WASM_PAGE);
  return new WebAssembly.Memory({ initial: count, maximum: count, shared: true });
}
