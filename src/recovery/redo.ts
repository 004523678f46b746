/**
 * What records do to pages when they are redone: those that this library writes. A record of anything else, behind the
 * redo position, is a PostgreSQL server's, and only that can redo it.
 */
import { ResourceManager, resourceManagerName } from '../wal/resource-managers.js';
import type { WalRecord } from '../wal/record.js';
import { XlogOperation } from './checkpoint-record.js';
import { RecoveryError } from './recovery-error.js';

/** Of XLOG: what concerns nothing but the WAL itself, or a server's settings. */
const WITHOUT_PAGES: ReadonlySet<number> = new Set([
  XlogOperation.CHECKPOINT_SHUTDOWN,
  XlogOperation.CHECKPOINT_ONLINE,
  XlogOperation.NOOP,
  XlogOperation.SWITCH,
  XlogOperation.CHECKPOINT_REDO,
  XlogOperation.PARAMETER_CHANGE,
  XlogOperation.RESTORE_POINT,
  XlogOperation.FPW_CHANGE,
]);

export class Redo {
  readonly #dataDirectory: string;

  constructor(dataDirectory: string) {
    this.#dataDirectory = dataDirectory;
  }

  /** Redoes a record; a promise, if it has to wait. Throws a RecoveryError for one that is not ours. */
  apply(record: WalRecord): Promise<void> | undefined {
    const { resourceManager, operation } = record;
    if (resourceManager === ResourceManager.LOGICAL_MESSAGE) return undefined;
    // Which transactions a server has running.
    if (resourceManager === ResourceManager.STANDBY) return undefined;
    if (resourceManager === ResourceManager.XLOG && WITHOUT_PAGES.has(operation)) return undefined;
    throw new RecoveryError(
      this.#dataDirectory,
      record.lsn,
      `there is a record of ${resourceManagerName(resourceManager)} (operation 0x${operation.toString(16)})`,
      'A PostgreSQL server wrote it, and was not shut down: start that server, and stop it.',
    );
  }
}
