/** The write-ahead log in the life of an instance: its directory is opened, recovered, and closed. By the creator. */
import { once } from 'node:events';
import type { Worker } from 'node:worker_threads';
import type { LogEvent, LogSink } from '../base/log.js';
import type { ResolvedSettings } from '../base/settings.js';
import type { ControlData } from '../recovery/control-data.js';
import { openDataDirectory } from '../recovery/data-directory.js';
import { unlockDataDirectory } from '../recovery/lock-file.js';
import { nowSeconds, recover, type RecoveryResult } from '../recovery/recover.js';
import { Redo } from '../recovery/redo.js';
import type { Backend } from './backend.js';
import { RedoFiles } from './redo-files.js';
import { startThread } from './start-thread.js';
import type { InstanceHandle, WalIdentity } from './shared-state.js';

export class InstanceWal {
  readonly identity: WalIdentity;
  /** How the WAL was found; null until it is. */
  recovery: RecoveryResult | null = null;
  readonly #control: ControlData;
  #checkpointer: { readonly thread: Worker; readonly ended: Promise<void> } | null = null;
  #closing = false;

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
      open: (path) => backend.openFile(path),
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

  /** Starts the checkpointer's thread. A thread that has ended is started again, until the instance closes. */
  startCheckpointer(handle: InstanceHandle, log: LogSink): void {
    const thread = startThread('./checkpointer-thread.js', 'pgaio checkpointer', { handle });
    thread.unref(); // an instance that nobody uses does not keep the process
    thread.on('message', (message: { log?: LogEvent }) => {
      if (message.log !== undefined) log(message.log);
    });
    thread.on('error', (error) =>
      log({ level: 'warning', message: `the checkpointer ended: ${error.message}` }),
    );
    const ended = once(thread, 'exit').then(([code]) => {
      if (code !== 0 && this.#checkpointer?.thread === thread && !this.#closing)
        this.startCheckpointer(handle, log);
    });
    this.#checkpointer = { thread, ended };
  }

  async stopCheckpointer(): Promise<void> {
    this.#closing = true;
    if (this.#checkpointer === null) return;
    const { thread, ended } = this.#checkpointer;
    thread.ref();
    thread.postMessage('stop');
    await ended;
  }

  /** The last checkpoint: what is opened next has nothing to recover. Rejects with what could not be written. */
  async close(backend: Backend): Promise<void> {
    if (this.recovery !== null) await backend.wal.parts.checkpointing.run('shutdown');
  }

  unlock(): void {
    unlockDataDirectory(this.identity.dataDirectory);
  }
}
