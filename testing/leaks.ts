/** What an instance still holds in its shared memory, in words: nothing, once every backend has left. */
import { HandleTable } from '../src/aio/handle.js';
import { HandleState } from '../src/aio/states.js';
import { IO_IN_PROGRESS, IO_REFERENCE, PIN_MASK, WAITERS } from '../src/buffer/descriptor.js';
import { BufferPool } from '../src/buffer/pool.js';
import type { InstanceHandle } from '../src/instance/shared-state.js';
import { AttachedMemory } from '../src/instance/thread-parts.js';
import { IoMemory } from '../src/shmem/io-memory.js';
import { SlotStatus } from '../src/shmem/slots.js';
import { DescriptorBudget, DESCRIPTOR_FLOOR } from '../src/vfd/budget.js';
import { FileTable } from '../src/vfd/file-table.js';

/** `attached`: backends that are allowed to be there, and to have files open. */
export function leaksOf(handle: InstanceHandle, attached = 0): string[] {
  const memory = new AttachedMemory(handle);
  const found = [...handleLeaks(memory), ...bufferLeaks(memory), ...slotLeaks(memory, attached)];
  const { slots, plan } = memory;
  const leased = new IoMemory(slots, 0, plan.ioMemory).unitsInUse;
  if (leased > 0) found.push(`${leased} units of I/O memory are leased`);
  const bounces = new IoMemory(slots, 0, plan.bounces).unitsInUse;
  if (bounces > 0) found.push(`${bounces} bounce pages are leased`);
  if (attached > 0) return found;
  const entries = new FileTable(slots, 0, plan.files).entriesInUse;
  if (entries > 0) found.push(`${entries} entries of the file table are in use`);
  return found;
}

function handleLeaks({ slots, plan }: AttachedMemory): string[] {
  const table = new HandleTable(slots, plan.handles);
  const busy = Array.from({ length: plan.handles.count }, (_, index) => table.handle(index)).filter(
    (io) => io.state !== HandleState.IDLE,
  );
  return busy.map((io) => io.describe());
}

function bufferLeaks({ slots, plan, words }: AttachedMemory): string[] {
  const pool = new BufferPool(slots, 0, plan.buffers);
  const found: string[] = [];
  for (let buffer = 0; buffer < plan.buffers.count; buffer++) {
    const state = words.load(pool.base(buffer));
    if ((state & PIN_MASK) !== 0) found.push(`buffer ${buffer} has ${state & PIN_MASK} pin(s)`);
    const lock = words.load(plan.buffers.contentLocks + buffer) & ~(1 << 23);
    if (lock !== 0) found.push(`the content lock of buffer ${buffer} is held`);
    if ((state & (IO_IN_PROGRESS | IO_REFERENCE | WAITERS)) !== 0) found.push(`buffer ${buffer} has a claim`);
  }
  return found;
}

function slotLeaks({ slots, plan, words, handle }: AttachedMemory, attached: number): string[] {
  const found: string[] = [];
  let backends = 0;
  let taken = 0;
  for (let slot = 0; slot < slots.region.count; slot++) {
    const what = slots.describe(slot);
    if (slots.isBackend(slot) && slots.status(slot) !== SlotStatus.FREE) backends++;
    if (slots.inCritical(slot)) found.push(`${what} is in a critical section`);
    const { held } = new DescriptorBudget(words, plan.budget, slot);
    taken += Math.max(0, held - DESCRIPTOR_FLOOR);
    if (attached === 0 && held > 0) found.push(`${what} holds ${held} descriptors`);
  }
  if (backends !== attached) found.push(`${backends} backends are attached, not ${attached}`);
  const { stock } = new DescriptorBudget(words, plan.budget, 0);
  const whole = Math.max(0, handle.settings.maxFilesPerProcess - slots.region.count * DESCRIPTOR_FLOOR);
  if (stock + taken !== whole)
    found.push(`${whole - taken - stock} descriptors of the common stock are lost`);
  return found;
}
