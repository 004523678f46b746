/**
 * The shared memories of an instance as the addon knows them in this thread: it refuses to let the kernel
 * touch anything else. Registered at the first use, and alive at least until `forget`.
 */
import { Advice, type NativeAddon } from './addon.js';

export interface Registration {
  readonly addon: NativeAddon;
  /** The addon's number of the control segment, and of each memory that I/O may use. */
  readonly control: number;
  readonly ids: number[];
  /** Addresses of the memories; whole numbers below 2^53. */
  readonly addresses: number[];
}

export class RegisteredMemories {
  readonly addon: NativeAddon;
  readonly #control: Int32Array;
  readonly #memories: Uint8Array[];
  #registration: Registration | null = null;

  constructor(addon: NativeAddon, control: Int32Array, memories: readonly Uint8Array[]) {
    this.addon = addon;
    this.#control = control;
    this.#memories = [...memories];
  }

  use(): Registration {
    return (this.#registration ??= {
      addon: this.addon,
      control: this.addon.registerMemory(this.#control),
      ids: this.#memories.map((memory) => this.addon.registerMemory(memory)),
      addresses: this.#memories.map((memory) => this.addon.address(memory)),
    });
  }

  /**
   * One more memory, of this thread alone, under the next number; also of a registration that is in use. The
   * addon keeps it until `forget`, or until the thread has ended and the kernel is done with what it submitted.
   */
  addPrivate(memory: Uint8Array): void {
    const { addon, ids, addresses } = this.use();
    this.#memories.push(memory);
    ids.push(addon.registerMemory(memory));
    addresses.push(addon.address(memory));
    addon.advise(ids.at(-1) as number, 0, memory.byteLength, Advice.NO_FORK);
  }

  /**
   * A process that Node starts must not share these pages for the moment between fork and exec: the kernel
   * would copy them under I/O in flight. For the creator, once.
   */
  adviseNoFork(): void {
    const { addon, control, ids } = this.use();
    const advise = (id: number, memory: { byteLength: number }): number =>
      addon.advise(id, 0, memory.byteLength, Advice.NO_FORK);
    advise(control, this.#control);
    ids.forEach((id, index) => advise(id, this.#memories[index] as Uint8Array));
  }

  /** When this thread has ended, the control segment's word becomes `value`, then the receiver is told. Until `forget`. */
  notifyExit(word: number, value: number, receiver: number): void {
    const { addon, control } = this.use();
    addon.exitNotice(control, word * 4, value, receiver);
  }

  /** Nothing of this thread is in flight any more; its exit notices are withdrawn. */
  forget(): void {
    if (this.#registration === null) return;
    this.addon.forgetMemory(this.#registration.control);
    for (const id of this.#registration.ids) this.addon.forgetMemory(id);
    this.#registration = null;
  }
}
