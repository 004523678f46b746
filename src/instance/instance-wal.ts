/** The write-ahead log in the life of an instance: its directory is opened, recovered, and closed. By the creator. */
import type { LogSink } from '../base/log.js';
import type { ResolvedSettings } from '../base/settings.js';
import type { ControlData } from '../recovery/control-data.js';
import { openDataDirectory } from '../recovery/data-directory.js';
import { unlockDataDirectory } from '../recovery/lock-file.js';
import { nowSeconds, recover, type RecoveryResult } from '../recovery/recover.js';
import { Redo } from '../recovery/redo.js';
import type { Backend } from './backend.js';
import { RedoFiles } from './redo-files.js';
import type { WalIdentity } from './shared-state.js';

export class InstanceWal {
  readonly identity: WalIdentity;
  /** How the WAL was found; null until it is. */
  recovery: RecoveryResult | null = null;
  readonly #control: ControlData;

  /** Takes the data directory for this instance, until `unlock`. Null for one without a WAL. */
  static open({ wal }: ResolvedSettings): InstanceWal | null {
    return wal === null ? null : new InstanceWal(wal.dataDirectory, wal.segmentSize);
  }

  private constructor(dataDirectory: string, segmentSize: number | null) {
    this.#control = openDataDirectory(dataDirectory, segmentSize);
    const { checkpoint, systemIdentifier, walSegmentSize } = this.#control;
    this.identity = {
      dataDirectory,
      timeline: checkpoint.timeline,
      systemIdentifier: systemIdentifier.toString(),
      segmentSize: walSegmentSize,
    };
  }

  /** Recovers the WAL, and makes it ready to be written to. Rejects with a RecoveryError, or an IoError. */
  async start(backend: Backend, log: LogSink): Promise<void> {
    const { wal, buffers, directory, checkpointing } = backend.wal.parts;
    const { dataDirectory } = this.identity;
    const control = this.#control;
    const { walFlusher } = backend.writes;
    backend.writes.walFlusher = null; // the records that are redone are durable, and positions are not known yet
    const redoFiles = new RedoFiles(backend, dataDirectory);
    const recovery = await recover({
      dataDirectory,
      walDirectory: directory,
      control,
      files: backend.files,
      open: (path) => backend.openRawFile(path),
      redo: new Redo(dataDirectory, redoFiles),
      log,
    });
    redoFiles.close();
    buffers.restore(recovery.end, recovery.tail);
    wal.control.initialize(recovery.end, recovery.last, recovery.redo);
    backend.writes.walFlusher = walFlusher;
    if (recovery.wasNeeded) {
      await checkpointing.run('recovery');
    } else {
      control.setState('in production', nowSeconds());
      control.write();
    }
    this.recovery = recovery;
  }

  /** The last checkpoint: what is opened next has nothing to recover. Rejects with what could not be written. */
  async close(backend: Backend): Promise<void> {
    if (this.recovery !== null) await backend.wal.parts.checkpointing.run('shutdown');
  }

  unlock(): void {
    unlockDataDirectory(this.identity.dataDirectory);
  }
}
