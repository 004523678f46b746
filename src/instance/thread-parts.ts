/** One thread's windows on an instance: what every role needs. Each role adds its own on top. */
import { assert, fail } from '../base/assert.js';
import type { LogSink } from '../base/log.js';
import { InjectionPoints, type InjectionHooks } from '../aio/injection-points.js';
import { HandleTable } from '../aio/handle.js';
import { AioThread } from '../aio/thread.js';
import { BufferIo } from '../buffer/buffer-io.js';
import { DamageLog } from '../buffer/damage-log.js';
import type { PrivatePool } from '../buffer/private-pool.js';
import { loadAddon } from '../native/addon.js';
import { RegisteredMemories } from '../native/registered-memories.js';
import { InstanceHeader, fingerprintOf } from '../shmem/header.js';
import { Slots, SlotStatus } from '../shmem/slots.js';
import { threadMayBeAlive } from '../shmem/thread-identity.js';
import { IoMemory } from '../shmem/io-memory.js';
import { SharedWords } from '../shmem/words.js';
import { SyncRequests } from '../smgr/sync-requests.js';
import { ChecksumFailureTable } from '../stats/checksum-failures.js';
import { Counter, Counters } from '../stats/counters.js';
import { IoStats } from '../stats/io-stats.js';
import { DescriptorBudget } from '../vfd/budget.js';
import { FileTable } from '../vfd/file-table.js';
import { ReopenCache } from '../vfd/reopen.js';
import { VfdCache } from '../vfd/vfd.js';
import { WalControl } from '../wal/wal-control.js';
import { createRegistry, type RegistrationModule } from './registrations.js';
import { layoutFingerprint, planInstance, type InstanceHandle, type InstancePlan } from './shared-state.js';

/** Modules that the instance names; imported before anything is attached. */
export interface LoadedModules {
  readonly registrations: readonly RegistrationModule[];
  readonly injection: InjectionPoints | null;
}

export async function loadModules(handle: InstanceHandle): Promise<LoadedModules> {
  const registrations: RegistrationModule[] = [];
  for (const url of handle.modules) registrations.push((await import(url)) as RegistrationModule);
  if (handle.injection === null) return { registrations, injection: null };
  const { hooks } = (await import(handle.injection)) as { hooks: InjectionHooks };
  return { registrations, injection: new InjectionPoints(hooks) };
}

/** The shared memory before a thread has a slot in it. */
export class AttachedMemory {
  readonly handle: InstanceHandle;
  readonly plan: InstancePlan;
  readonly words: SharedWords;
  readonly slots: Slots;
  readonly header: InstanceHeader;
  readonly layout: number;
  /** By number. Behind those that all threads share may stand this backend's private one. */
  readonly bytes: Uint8Array<SharedArrayBuffer>[];
  /** The same for the addon; null without it. Whoever ends its use of the instance forgets them. */
  readonly native: RegisteredMemories | null;

  constructor(handle: InstanceHandle) {
    this.handle = handle;
    this.plan = planInstance(handle.settings);
    this.layout = layoutFingerprint(this.plan, handle.settings);
    this.words = new SharedWords(handle.control);
    this.slots = new Slots(this.words, this.plan.slots);
    this.header = new InstanceHeader(this.words, this.plan.header);
    this.slots.checkAlive = () => this.header.checkCrashed();
    this.bytes = handle.memories.map((one) => new Uint8Array(one.buffer as SharedArrayBuffer));
    const addon = loadAddon();
    this.native = addon === null ? null : new RegisteredMemories(addon, this.words.array, this.bytes);
  }

  /** Number of the private memory: in other threads it is no memory, or one of theirs. */
  get privateNumber(): number {
    return this.handle.memories.length;
  }

  /** For the backend, once: memory of its own that its I/O may use. */
  addPrivate(memory: WebAssembly.Memory): Uint8Array<SharedArrayBuffer> {
    assert(this.bytes.length === this.privateNumber, 'a backend has one private memory');
    const bytes = new Uint8Array(memory.buffer as SharedArrayBuffer);
    this.native?.addPrivate(bytes);
    this.bytes.push(bytes);
    return bytes;
  }
}

export class ThreadParts {
  readonly memory: AttachedMemory;
  readonly slot: number;
  readonly files: FileTable;
  readonly vfds: VfdCache;
  readonly reopens: ReopenCache;
  readonly bufferIo: BufferIo;
  readonly checksumFailures: ChecksumFailureTable;
  /** A backend's, from its first use of a private relation on. */
  privatePool: PrivatePool | null = null;
  /** Where this thread leases memory for copies of pages. */
  readonly bounces: IoMemory;
  readonly syncRequests: SyncRequests;
  readonly thread: AioThread;
  /** Null for an instance without a WAL. */
  readonly wal: WalControl | null;
  /** Of the tables of callbacks and targets. */
  readonly fingerprint: number;

  constructor(memory: AttachedMemory, slot: number, modules: LoadedModules, log: LogSink) {
    const { handle, plan, words, slots, header } = memory;
    this.memory = memory;
    this.slot = slot;
    const counters = new Counters(words, plan.counters, slot);
    this.files = new FileTable(slots, slot, plan.files);
    this.vfds = new VfdCache(this.files, new DescriptorBudget(words, plan.budget, slot));
    this.reopens = new ReopenCache(this.vfds, () => counters.count(Counter.reopens));
    this.bufferIo = new BufferIo(slots, slot, plan.buffers, plan.bufferConditions);
    this.checksumFailures = new ChecksumFailureTable(slots, slot, plan.checksumFailures);
    this.wal = walControl(memory, slot);
    this.bounces = new IoMemory(slots, slot, plan.bounces);
    this.syncRequests = new SyncRequests(
      slots,
      slot,
      plan.syncRequests,
      new HandleTable(slots, plan.handles),
    );
    const { files, reopens, bufferIo, checksumFailures, syncRequests, wal } = this;
    const damageLog = new DamageLog(words, plan.damageLog, slot);
    const privatePool = (): PrivatePool => this.privatePool ?? fail('this thread has no private pool');
    const registry = createRegistry(
      {
        files,
        reopens,
        bufferIo,
        privatePool,
        memories: handle.memories,
        syncRequests,
        bounces: () => this.bounces,
        damageLog,
        checksumFailures,
        wal,
      },
      modules.registrations,
    );
    this.fingerprint = fingerprintOf([registry.signature()]);
    this.thread = new AioThread({
      slots,
      header,
      slot,
      handles: plan.handles,
      registry,
      counters,
      stats: new IoStats(words, plan.ioStats, slot),
      memories: memory.bytes,
      native: memory.native,
      injection: modules.injection,
      log,
    });
  }

  /** Crashes the instance when nobody supervises it any more. */
  checkSupervised(): void {
    const { slots } = this.memory;
    const supervisor = slots.supervisorSlot;
    if (slots.status(supervisor) === SlotStatus.ATTACHED && !threadMayBeAlive(slots.identity(supervisor)))
      this.thread.crash('its supervision thread ended, and the I/O workers with it');
  }
}

/** For a backend that writes at most 1 MB in one call, which is what its handles' vectors are made for. */
const WAL_WRITE_BYTES_MAX = 1 << 20;

function walControl({ handle, plan, slots }: AttachedMemory, slot: number): WalControl | null {
  const { wal } = handle.settings;
  if (wal === null || handle.wal === null || plan.wal === null) return null;
  const { bufferBytes } = wal;
  const { segmentSize } = handle.wal;
  const shape = {
    segmentSize,
    bufferBytes,
    writeBytesMax: Math.min(WAL_WRITE_BYTES_MAX, bufferBytes / 2),
    writesAreDurable: wal.syncMethod === 'open_datasync',
    writesOneByOne: wal.syncMethod === 'open_datasync' && !wal.direct,
  };
  const handles = new HandleTable(slots, plan.handles);
  return new WalControl(slots, slot, plan.wal, shape, (index, generation) =>
    handles.isDone(index, generation),
  );
}
