/** A backend's part of its instance's write-ahead log. */
import type { Aio } from '../aio/aio.js';
import type { Scope } from '../aio/scope.js';
import { Wal } from '../wal/wal.js';
import { WalBuffers } from '../wal/wal-buffers.js';
import { WalFiles } from '../wal/wal-files.js';
import type { ThreadParts } from './thread-parts.js';

/** Null for an instance without one. */
export function walOf(aio: Aio, scope: Scope, parts: ThreadParts): Wal | null {
  const { memory, wal: control, vfds, slot } = parts;
  const { wal: settings } = memory.handle.settings;
  if (control === null || settings === null) return null;
  const { directory, timeline, segmentSize, direct, syncMethod } = settings;
  // In front of the I/O memory, which is the last: see createMemories.
  const number = memory.handle.memories.length - 2;
  const bytes = (memory.bytes[number] as Uint8Array<SharedArrayBuffer>).subarray(0, settings.bufferBytes);
  const systemIdentifier = BigInt(settings.systemIdentifier);
  return new Wal({
    aio,
    scope,
    control,
    buffers: new WalBuffers(bytes, { timeline, systemIdentifier, segmentSize }),
    files: new WalFiles(vfds, slot, {
      directory,
      timeline,
      segmentSize,
      direct,
      dataSync: syncMethod === 'open_datasync',
    }),
    timeline,
    memory: number,
    memoryOffset: 0,
  });
}
