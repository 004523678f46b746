/**
 * One pass over requests for fsync: PostgreSQL's ProcessSyncRequests. Each file is synchronized once, a few at a time,
 * through handles. All are tried; what went wrong first is thrown at the end, the rest is logged.
 */
import type { Aio } from '../aio/aio.js';
import { errorOf } from '../aio/report.js';
import { AioReturn, ResultStatus } from '../aio/result.js';
import type { Scope } from '../aio/scope.js';
import { RelationFileError } from '../base/relation-file-error.js';
import { PENDING, type Pending } from '../shmem/wait.js';
import { segmentPath, type Fork } from './relation.js';
import type { SmgrRelation, StorageManager } from './smgr.js';
import type { SyncRequest, SyncRequests } from './sync-requests.js';

const IN_FLIGHT_MAX = 8;

interface Flight {
  readonly index: number;
  readonly generation: number;
  readonly result: AioReturn;
}

export interface SyncingParts {
  readonly aio: Aio;
  readonly scope: Scope;
  readonly smgr: StorageManager;
  readonly requests: SyncRequests;
}

export class SyncFiles {
  /** Files that this pass has synchronized itself. */
  synced = 0;
  readonly #parts: SyncingParts;
  readonly #list: readonly SyncRequest[];
  readonly #flights: Flight[] = [];
  #next = 0;
  #error: Error | null = null;

  constructor(parts: SyncingParts, list: readonly SyncRequest[]) {
    this.#parts = parts;
    this.#list = list;
  }

  /** Step: until all are synchronized. Throws a RelationFileError. */
  step(): number | Pending {
    for (;;) {
      const request = this.#list[this.#next];
      if (request !== undefined && this.#flights.length < IN_FLIGHT_MAX) {
        if (this.#begin(request) === PENDING) return PENDING;
      } else if (this.#flights.length > 0) {
        if (this.#finishOldest() === PENDING) return PENDING;
      } else {
        if (this.#error !== null) throw this.#error;
        return this.synced;
      }
    }
  }

  /** Does one thing for a request. */
  #begin(request: SyncRequest): true | Pending {
    const { requests, aio } = this.#parts;
    const state = requests.state(request);
    switch (state.is) {
      case 'running':
        return aio.waitFor(state.index, state.generation);
      case 'failed':
        this.#note(failedBefore(this.#relation(request), request, state.errno));
        this.#next++;
        return true;
      case 'idle':
        return this.#start(request);
      default:
        this.#next++;
        return true;
    }
  }

  #relation({ directory, locator }: SyncRequest): SmgrRelation {
    return this.#parts.smgr.ofTag(directory, locator);
  }

  #start(request: SyncRequest): true | Pending {
    const { requests, aio, scope } = this.#parts;
    try {
      const relation = this.#relation(request);
      relation.prepareSync(request.fork as Fork, request.segment);
      const result = new AioReturn();
      const io = aio.acquire(scope, result);
      if (io === PENDING) return PENDING;
      try {
        if (requests.begin(request, io).is !== 'begun') return true; // somebody was faster: look again
        const { index, generation } = io;
        relation.startSync(io, request.fork as Fork, request.segment);
        this.#flights.push({ index, generation, result });
      } finally {
        if (aio.isHandedOut(io)) aio.release(io);
      }
    } catch (error) {
      if (!(error instanceof RelationFileError)) throw error;
      // A file that was removed meanwhile need not be synchronized.
      if (requests.state(request).is !== 'done') this.#note(error);
    }
    this.#next++;
    return true;
  }

  #finishOldest(): true | Pending {
    const { aio } = this.#parts;
    const flight = this.#flights[0] as Flight;
    if (aio.waitFor(flight.index, flight.generation) === PENDING) return PENDING;
    this.#flights.shift();
    if (flight.result.status === ResultStatus.ERROR) this.#note(errorOf(aio, flight.result));
    else this.synced++;
    return true;
  }

  #note(error: Error): void {
    if (this.#error === null) this.#error = error;
    else this.#parts.aio.thread.log({ level: 'warning', message: error.message });
  }
}

function failedBefore(
  relation: SmgrRelation,
  { fork, segment }: SyncRequest,
  errno: number,
): RelationFileError {
  return new RelationFileError('sync', {
    path: segmentPath(relation.path(fork as Fork), segment),
    errno,
    detail:
      'An fsync of this file failed before. What the kernel could not write is lost, and a later fsync would not say so.',
    hint: 'Check the storage; restore the file, or recover it from the log, and create a new instance.',
  });
}

/** Step: makes room in the table of requests by synchronizing what is in it. */
export function makingRoom(parts: SyncingParts): () => number | Pending {
  const pass = new SyncFiles(parts, parts.requests.requests());
  return () => pass.step();
}
