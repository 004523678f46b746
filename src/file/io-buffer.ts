/**
 * Memory that files are read into and written from without a copy: leased I/O memory, page-aligned, in shared memory.
 * Whoever gives it back while I/O is in flight on it gives it back when that is over.
 */
import { ResourceExhaustedError, SettingError } from '../base/errors.js';
import { IO_MEMORY_UNIT } from '../base/settings.js';
import { checkInteger } from './checks.js';
import type { IoMemory } from '../shmem/io-memory.js';

export class IoBuffer {
  /** Shared with all threads of the instance, of as many bytes as were asked for; undefined contents at first. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly #memory: IoMemory;
  readonly #forget: () => void;
  #pins = 0;
  #isReleased = false;

  /** @internal */
  constructor(memory: IoMemory, bytes: Uint8Array<SharedArrayBuffer>, forget: () => void) {
    this.#memory = memory;
    this.bytes = bytes;
    this.#forget = forget;
  }

  /** Gives the memory back. What reads it later sees what somebody else puts there. Doing it again does nothing. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    if (this.#pins === 0) this.#giveBack();
  }

  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal What is asked for now may still take long. */
  pin(): void {
    this.#pins++;
  }

  /** @internal Whether what comes now comes too late. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** @internal That is over. */
  unpin(): void {
    this.#pins--;
    if (this.#pins === 0 && this.#isReleased) this.#giveBack();
  }

  #giveBack(): void {
    this.#forget();
    this.#memory.releaseWhole(this.bytes.byteOffset);
  }
}

/** The I/O buffers of a thread. */
export class IoBuffers {
  readonly #memory: IoMemory;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  /** By each unit that it covers. */
  readonly #byUnit = new Map<number, IoBuffer>();

  constructor(memory: IoMemory, bytes: Uint8Array<SharedArrayBuffer>) {
    this.#memory = memory;
    this.#bytes = bytes;
  }

  /** Throws a ResourceExhaustedError when so much is not free. */
  allocate(length: number): IoBuffer {
    checkInteger('bytes', length, 1);
    const { capacity, reserved } = this.#memory;
    const offset = this.#memory.tryLeaseLong(length);
    if (offset < 0)
      throw new ResourceExhaustedError(
        `${length} bytes of I/O memory were asked for, and are not free together ` +
          `(${capacity} in all, of which I/O buffers may take ${capacity - reserved})`,
        {
          hint: 'Release I/O buffers that are no longer used, or create the instance with a larger ioMemory.',
        },
      );
    const units: number[] = [];
    for (let unit = offset; unit < offset + length; unit += IO_MEMORY_UNIT) units.push(unit);
    const buffer = new IoBuffer(this.#memory, this.#bytes.subarray(offset, offset + length), () => {
      for (const unit of units) this.#byUnit.delete(unit);
    });
    for (const unit of units) this.#byUnit.set(unit, buffer);
    return buffer;
  }

  /** The buffer that a view is of; null: it is memory of the thread's own. Throws when it is memory that was given back. */
  of(view: Uint8Array): IoBuffer | null {
    if (view.buffer !== this.#bytes.buffer || view.length === 0) return null;
    const buffer = this.#byUnit.get(view.byteOffset - (view.byteOffset % IO_MEMORY_UNIT));
    if (buffer === undefined || buffer.isReleased)
      throw new SettingError('this memory belongs to no I/O buffer, or one that was released');
    const { byteOffset, byteLength } = buffer.bytes;
    if (view.byteOffset + view.length > byteOffset + byteLength)
      throw new SettingError('this memory reaches beyond the end of its I/O buffer');
    return buffer;
  }
}
