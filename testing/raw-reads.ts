/** Reads of a file by handle, step by step: what the contract of handles, scopes and batches is tested with. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IoHandle, WaitReference } from '../src/aio/handle.js';
import type { AioReturn } from '../src/aio/result.js';
import type { Scope } from '../src/aio/scope.js';
import type { Backend } from '../src/instance/backend.js';
import type { File } from '../src/vfd/file.js';

const PIECE = 8192;
const PIECES = 64;

/** Byte `position` of the file. */
export function byteAt(position: number): number {
  return (position * 7 + (position >>> 13)) & 0xff;
}

export function writeSample(directory: string, bytes: number): string {
  const path = join(directory, `sample-${bytes}`);
  // `Uint8Array.from` takes eight times as long, and most tests of handles write one.
  const content = new Uint8Array(bytes);
  for (let position = 0; position < bytes; position++) content[position] = byteAt(position);
  writeFileSync(path, content);
  return path;
}

export class RawReads {
  readonly backend: Backend;
  readonly file: File;
  readonly #memory: number;
  #next = 0;

  constructor(backend: Backend, directory: string) {
    this.backend = backend;
    this.file = backend.openRawFile(writeSample(directory, PIECE * PIECES));
    this.#memory = backend.files.ioMemory.tryLease(PIECE * PIECES);
  }

  /** Acquires a handle, blocking the thread. */
  acquire(scope: Scope = this.backend.rootScope, result: AioReturn | null = null): IoHandle {
    return this.backend.aio.acquireBlocking(scope, result);
  }

  /** Starts the read of the next piece with a handed-out handle. */
  startWith(io: IoHandle): WaitReference {
    const reference = io.waitReference;
    const position = (this.#next++ % PIECES) * PIECE;
    this.file.startRead(io, this.#memory + position, PIECE, position);
    return reference;
  }

  start(scope?: Scope, result?: AioReturn | null): WaitReference {
    return this.startWith(this.acquire(scope, result));
  }

  wait(reference: WaitReference): void {
    this.backend.aio.waitForBlocking(reference.index, reference.generation);
  }

  isDone(reference: WaitReference): boolean {
    return this.backend.aio.thread.table.isDone(reference.index, reference.generation);
  }

  /** Gives back what it has; nothing of it may be in flight. */
  close(): void {
    this.backend.files.ioMemory.release(this.#memory, PIECE * PIECES);
    this.file.close();
  }
}
