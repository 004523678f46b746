/** What users can see of a running instance, beside `inFlight` and `counters`: plain rows, made when they are asked for. */
import { SlotLayout, SlotStatus, type Slots } from '../shmem/slots.js';
import { waitEventName } from '../shmem/wait.js';
import type { DataDirectories } from '../smgr/data-directories.js';
import type { ChecksumFailureTable } from '../stats/checksum-failures.js';

/** What a backend waits for, as others see it. */
export interface BackendWait {
  backend: number;
  /** PostgreSQL's name of the wait event, or null. */
  event: string | null;
  /** Handle or buffer that it waits for. */
  object: number;
}

/** Of all backends that are attached. */
export function backendWaits(slots: Slots): BackendWait[] {
  const rows: BackendWait[] = [];
  for (let backend = 0; backend < slots.region.maxBackends; backend++) {
    if (slots.status(backend) !== SlotStatus.ATTACHED) continue;
    const base = slots.base(backend);
    const event = slots.words.load(base + SlotLayout.at.waitEvent);
    rows.push({
      backend,
      event: waitEventName(event),
      object: slots.words.get(base + SlotLayout.at.waitObject),
    });
  }
  return rows;
}

/** Pages of one database whose checksum was wrong when they were read. */
export interface DatabaseChecksumFailures {
  /** Path of the data directory; null, as `database`, for databases that had no room in the table (255 have). */
  dataDirectory: string | null;
  /** OID; 0: relations that all databases of the cluster share. */
  database: number | null;
  /** Pages, each time that they were read. */
  failures: number;
  lastFailure: Date;
}

export function databaseChecksumFailures(
  table: ChecksumFailureTable,
  directories: DataDirectories,
): DatabaseChecksumFailures[] {
  return table.list().map(({ directory, database, failures, lastFailure }) => ({
    dataDirectory: directory < 0 ? null : directories.pathOf(directory),
    database: directory < 0 ? null : database,
    failures,
    lastFailure,
  }));
}
