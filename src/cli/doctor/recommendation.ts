/** Which settings suit this machine, as `createInstance` takes them, and which method `auto` takes. */
import type { InstanceSettings, ResolvedSettings } from '../../base/settings.js';
import type { MethodChoice } from '../../instance/methods.js';
import type { FileSystemKind } from './file-systems.js';
import { maxFilesFor } from './limits.js';
import { buffersFor, memoryOf, workersFor, type MemoryFacts } from './machine.js';

export interface Recommendation {
  /** Only settings: it can be given to `createInstance` as it is. */
  readonly settings: InstanceSettings;
  /** Why, by setting. */
  readonly reasons: Readonly<Record<string, string>>;
}

export interface Circumstances {
  readonly cores: number;
  readonly memory: MemoryFacts;
  readonly openFiles: number | null;
  /** Of the file system; null when it could not be looked at. */
  readonly kind: FileSystemKind | null;
  readonly defaults: ResolvedSettings;
}

export function recommend(auto: MethodChoice, circumstances: Circumstances): Recommendation {
  const { cores, memory, openFiles, kind, defaults } = circumstances;
  const settings: InstanceSettings = {};
  const reasons: Record<string, string> = {};
  const add = <Name extends keyof InstanceSettings>(
    name: Name,
    value: InstanceSettings[Name],
    reason: string,
  ): void => {
    settings[name] = value;
    reasons[name] = reason;
  };
  const { ioMinWorkers, ioMaxWorkers } = workersFor(cores);
  add('ioMethod', 'auto', `takes ${auto.name} here`);
  add('ioMinWorkers', ioMinWorkers, 'one for each core, from 2 to 8');
  if (kind?.remote === true) add('ioMaxWorkers', 32, `${kind.name}: each waits for a server, not for a core`);
  else add('ioMaxWorkers', ioMaxWorkers, 'two for each core, from 8 to 32: those that wait use none');
  const files = maxFilesFor(defaults, openFiles);
  if (files !== null) add('maxFilesPerProcess', files, `the limit on open files is ${openFiles ?? ''}`);
  if (memory.available < memoryOf(defaults)) {
    add('sharedBuffers', buffersFor(memory), 'a quarter of the memory that is available');
  }
  return { settings, reasons };
}
