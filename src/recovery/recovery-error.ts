import { PgaioError } from '../base/errors.js';
import { formatLsn, type Lsn } from '../wal/lsn.js';

/** The WAL cannot be recovered from: something that must be there is not, or must not be done by this library. */
export class RecoveryError extends PgaioError {
  override readonly name = 'RecoveryError';
  /** The data directory. */
  readonly path: string;
  /** Where in the WAL, as PostgreSQL writes it. */
  readonly lsn: string;

  constructor(path: string, lsn: Lsn, why: string, hint: string) {
    super('ERR_PGAIO_RECOVERY', `data directory "${path}" cannot be recovered at ${formatLsn(lsn)}: ${why}`, {
      hint,
    });
    this.path = path;
    this.lsn = formatLsn(lsn);
  }
}
