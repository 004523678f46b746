/**
 * The in-flight view, with the columns of PostgreSQL's pg_aios: every handle that is not idle, as any
 * thread may look at it. A handle that is recycled during the look is skipped; one that changes its state
 * is read again.
 */
import type { HandleTable, IoHandle } from './handle.js';
import { HandleFlag } from './handle.js';
import type { Registry } from './callback.js';
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
}

export function inFlight(table: HandleTable, registry: Registry): InFlightIo[] {
  const rows: InFlightIo[] = [];
  for (let index = 0; index < table.region.count; index++) {
    const row = look(table.handle(index), registry);
    if (row !== null) rows.push(row);
  }
  return rows;
}

function look(io: IoHandle, registry: Registry): InFlightIo | null {
  let first = io.stateWord;
  for (;;) {
    if (stateOf(first) === HandleState.IDLE) return null;
    const row = read(io, registry, stateOf(first));
    const second = io.stateWord;
    if (second === first) return row;
    if (generationOf(second) !== generationOf(first)) return null;
    first = second;
  }
}

function read(io: IoHandle, registry: Registry, state: HandleState): InFlightIo {
  const defined = state >= HandleState.DEFINED;
  const target = defined && io.target !== 0 ? registry.target(io.target) : null;
  const targetData = new Int32Array(TARGET_DATA_WORDS);
  for (let word = 0; word < TARGET_DATA_WORDS; word++) targetData[word] = io.targetWord(word);
  const { flags } = io;
  return {
    owner: io.owner,
    id: io.index,
    generation: io.wideGeneration,
    state: stateName(state),
    operation: defined ? io.operationName : null,
    offset: defined ? io.offset : null,
    length: defined ? io.bytes : null,
    target: target?.name ?? null,
    targetDescription: target?.describe(targetData) ?? null,
    handleDataLength: defined ? io.dataCount : null,
    rawResult: state >= HandleState.COMPLETED_IO ? io.raw : null,
    result: state >= HandleState.COMPLETED_SHARED ? statusName(io.storedStatus as ResultStatus) : null,
    referencesLocal: (flags & HandleFlag.REFERENCES_LOCAL) !== 0,
    synchronous: (flags & HandleFlag.SYNCHRONOUS) !== 0,
    buffered: (flags & HandleFlag.BUFFERED) !== 0,
  };
}
