/** The hooks behind testing/injection.ts; imported by every thread of an instance that names its URL. */
import { getEnvironmentData } from 'node:worker_threads';
import type { IoMemories } from '../src/aio/execute.js';
import type { IoHandle } from '../src/aio/handle.js';
import { Operation } from '../src/aio/operation.js';
import { TargetId } from '../src/aio/ids.js';
import type { InjectionHooks } from '../src/aio/injection-points.js';
import { SmgrWord } from '../src/smgr/smgr-target.js';
import { Action, ANY, points, Rule, RULE_WORDS, THREADS, type Point } from './injection-rules.js';

const key = new URL(import.meta.url).searchParams.get('key') ?? '';
const words = new Int32Array(getEnvironmentData(key) as unknown as SharedArrayBuffer);
Atomics.add(words, THREADS, 1);

/** The rule's first word if the point is armed for this I/O, else -1. Counts the visit. */
function applies(point: Point, io: IoHandle | null, owner: number, worker: number): number {
  const base = points.indexOf(point) * RULE_WORDS;
  if (Atomics.load(words, base + Rule.ACTION) === Action.NONE) return -1;
  const wanted = (field: number): number => words[base + field] ?? ANY;
  const isSmgr = io?.target === TargetId.SMGR;
  const block = isSmgr ? io.targetWord(SmgrWord.BLOCK) : ANY;
  const relation = isSmgr ? io.targetWord(SmgrWord.RELATION) : ANY;
  if (wanted(Rule.BLOCK) !== ANY && wanted(Rule.BLOCK) !== block) return -1;
  if (wanted(Rule.RELATION) !== ANY && wanted(Rule.RELATION) !== relation) return -1;
  if (wanted(Rule.OWNER) !== ANY && wanted(Rule.OWNER) !== owner) return -1;
  if (wanted(Rule.WORKER) !== ANY && wanted(Rule.WORKER) !== worker) return -1;
  if (Atomics.sub(words, base + Rule.TIMES, 1) <= 0) return -1;
  return base;
}

function visit(point: Point, io: IoHandle, worker: number): number {
  return visitAs(point, io, io.owner, worker);
}

/** `owner`: for points that are not about one I/O, the thread's own slot. */
function visitAs(point: Point, io: IoHandle | null, owner: number, worker: number): number {
  const base = applies(point, io, owner, worker);
  if (base < 0) return -1;
  const action = words[base + Rule.ACTION];
  const gate = Atomics.load(words, base + Rule.GATE);
  Atomics.store(words, base + Rule.LAST_WORKER, worker);
  Atomics.add(words, base + Rule.ARRIVED, 1);
  Atomics.notify(words, base + Rule.ARRIVED);
  if (action === Action.THROW) throw new Error(`injected at ${point}`);
  if (action === Action.HOLD) {
    while (Atomics.load(words, base + Rule.GATE) === gate) Atomics.wait(words, base + Rule.GATE, gate);
  }
  return base;
}

/** The worker in which the I/O goes on is known from the points before. */
let thisWorker = ANY;

export const hooks: InjectionHooks = {
  beforeSharedCompletion: (io, raw, memories) => {
    const base = visit('beforeSharedCompletion', io, thisWorker);
    if (base < 0 || words[base + Rule.ACTION] !== Action.RESULT) return raw;
    const answer = words[base + Rule.VALUE] ?? 0;
    if (answer < raw && io.operation === Operation.READV) wipe(io, Math.max(0, answer), memories);
    return Math.min(answer, raw);
  },
  afterSharedCompletion: (io) => void visit('afterSharedCompletion', io, thisWorker),
  workerDequeued: (worker, io) => {
    thisWorker = worker;
    visit('workerDequeued', io, worker);
  },
  workerBeforeReopen: (worker, io) => void visit('workerBeforeReopen', io, worker),
  workerAfterReopen: (worker, io) => void visit('workerAfterReopen', io, worker),
  beforeSubmit: (io) => void visit('beforeSubmit', io, ANY),
  ringWaiterMarked: (_, slot) => void visitAs('ringWaiterMarked', null, slot, ANY),
  ringLockMissed: (_, slot) => void visitAs('ringLockMissed', null, slot, ANY),
  ringTaken: (_, slot, count) => {
    if (count > 0) visitAs('ringTaken', null, slot, ANY);
  },
  ringUnlocked: (_, slot, count) => {
    if (count > 0) visitAs('ringUnlocked', null, slot, ANY);
  },
  ringWoken: (_, slot, woken) => {
    if (woken) visitAs('ringWoken', null, slot, ANY);
  },
  ownerBeforeEnter: (ring) => void visitAs('ownerBeforeEnter', null, ring, ANY),
};

/** What was read beyond `from` bytes must not be there by chance. */
function wipe(io: IoHandle, from: number, memories: IoMemories): void {
  const memory = memories[io.memory];
  let skip = from;
  for (let piece = 0; piece < io.iovCount; piece++) {
    const length = io.iovLength(piece);
    const start = io.iovOffset(piece);
    memory?.fill(0xee, start + Math.min(skip, length), start + length);
    skip = Math.max(0, skip - length);
  }
}
