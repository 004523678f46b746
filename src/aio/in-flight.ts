/**
 * The in-flight view, with the columns of PostgreSQL's pg_aios: every handle that is not idle, as any
 * thread may look at it. A handle that is recycled during the look is skipped; one that changes its state
 * is read again.
 */
import { nowMicros } from '../stats/clock.js';
import type { HandleTable, IoHandle } from './handle.js';
import { HandleFlag } from './operation.js';
import type { AioTarget, Registry } from './callback.js';
import { TARGET_DATA_WORDS, statusName, type ResultStatus } from './result.js';
import { HandleState, stateName, stateOf, generationOf } from './states.js';

export interface InFlightIo {
  /** Slot of the owning backend. */
  owner: number;
  id: number;
  generation: number;
  state: string;
  /** Null while the handle is only handed out; so are the following. */
  operation: string | null;
  offset: number | null;
  length: number | null;
  target: string | null;
  targetDescription: string | null;
  handleDataLength: number | null;
  /** Bytes or -errno; null until the kernel is done. */
  rawResult: number | null;
  result: string | null;
  referencesLocal: boolean;
  synchronous: boolean;
  buffered: boolean;
  /** Microseconds since it was started, until now, also if the kernel is done; null: the clock was not read then. */
  ageMicros: number | null;
}

export function inFlight(table: HandleTable, registry: Registry): InFlightIo[] {
  const rows: InFlightIo[] = [];
  for (let index = 0; index < table.region.count; index++) {
    const row = look(table.handle(index), registry);
    if (row !== null) rows.push(row);
  }
  return rows;
}

const targetData = new Int32Array(TARGET_DATA_WORDS);

/** What was read is believed only if the state has not moved meanwhile: so nothing is looked up before that. */
function look(io: IoHandle, registry: Registry): InFlightIo | null {
  let first = io.stateWord;
  for (;;) {
    if (stateOf(first) === HandleState.IDLE) return null;
    const state = stateOf(first);
    const row = read(io, state);
    const target = state >= HandleState.DEFINED ? io.target : 0;
    for (let word = 0; word < TARGET_DATA_WORDS; word++) targetData[word] = io.targetWord(word);
    const second = io.stateWord;
    if (generationOf(second) !== generationOf(first)) return null;
    if (second === first) return target === 0 ? row : describe(row, registry.target(target), targetData);
    first = second;
  }
}

function describe(row: InFlightIo, target: AioTarget, data: Int32Array): InFlightIo {
  row.target = target.name;
  row.targetDescription = target.describe(data);
  return row;
}

function read(io: IoHandle, state: HandleState): InFlightIo {
  const defined = state >= HandleState.DEFINED;
  const flags = defined ? io.flags : 0;
  const { startedAt } = io;
  return {
    owner: io.owner,
    id: io.index,
    generation: io.wideGeneration,
    state: stateName(state),
    operation: defined ? io.operationName : null,
    offset: defined ? io.offset : null,
    length: defined ? io.bytes : null,
    target: null,
    targetDescription: null,
    handleDataLength: defined ? io.dataCount : null,
    rawResult: state >= HandleState.COMPLETED_IO ? io.raw : null,
    result: state >= HandleState.COMPLETED_SHARED ? statusName(io.storedStatus as ResultStatus) : null,
    referencesLocal: (flags & HandleFlag.REFERENCES_LOCAL) !== 0,
    synchronous: (flags & HandleFlag.SYNCHRONOUS) !== 0,
    buffered: (flags & HandleFlag.BUFFERED) !== 0,
    ageMicros: !defined || startedAt === 0 ? null : Math.max(0, nowMicros() - startedAt),
  };
}
