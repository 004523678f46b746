/**
 * The segment's first region: what an attaching thread checks before it believes anything else, and the
 * word that says that the instance crashed.
 *
 * Who writes: `layout` and `fingerprint` the creator, before any other thread can see the memory.
 * `phase` moves OPEN → CLOSING by the creator and OPEN/CLOSING → CRASHED by whoever sees the reason first
 * (compare-and-swap); the reason's text is written before the word is published, under `crashLock`.
 * `noticeReceiver` the supervisor, before it says that it is ready: 0 until then, and without the addon.
 */
import { ClosedError, InstanceCrashedError, PgaioError } from '../base/errors.js';
import { declareLayout, CACHE_LINE_WORDS } from './layout.js';
import type { SegmentPlan } from './segment.js';
import type { SharedWords } from './words.js';

const MAGIC = 0x7067_6169; // "pgai"
const REASON_WORDS = 128;

const HeaderLayout = declareLayout(
  'Header',
  {
    magic: 1,
    layout: 1,
    fingerprint: 1,
    phase: 1,
    crashLock: 1,
    crashReason: REASON_WORDS,
    noticeReceiver: 1,
  },
  CACHE_LINE_WORDS,
);

export const Phase = { OPEN: 0, CLOSING: 1, CRASHED: 2 } as const;

export class InstanceHeader {
  readonly #words: SharedWords;
  readonly #start: number;

  static plan(plan: SegmentPlan): number {
    return plan.reserve('header', HeaderLayout.words);
  }

  constructor(words: SharedWords, start: number) {
    this.#words = words;
    this.#start = start;
  }

  initialize(layout: number, fingerprint: number): void {
    this.#words.set(this.#start + HeaderLayout.at.layout, layout);
    this.#words.set(this.#start + HeaderLayout.at.fingerprint, fingerprint);
    this.#words.store(this.#start + HeaderLayout.at.magic, MAGIC);
  }

  /** Refuses a segment that another version, or other settings, made: before anything in it is touched. */
  checkLayout(layout: number): void {
    if (this.#words.load(this.#start + HeaderLayout.at.magic) !== MAGIC) {
      throw new PgaioError('ERR_PGAIO_NOT_A_SEGMENT', 'this memory does not hold a pgaio instance');
    }
    this.#check(HeaderLayout.at.layout, layout, 'another version of pgaio, or other settings,');
  }

  /** Refuses other tables of callbacks and targets. */
  checkFingerprint(fingerprint: number): void {
    this.#check(HeaderLayout.at.fingerprint, fingerprint, 'other callbacks or targets');
  }

  #check(field: number, expected: number, difference: string): void {
    if (this.#words.get(this.#start + field) === expected) return;
    throw new PgaioError(
      'ERR_PGAIO_FINGERPRINT',
      `this thread has ${difference} than the thread that created the instance`,
      { hint: 'Load the same version of pgaio, and the same modules, in every thread.' },
    );
  }

  /** The addon's number of who is to be told when a thread ends; 0: nobody. */
  get noticeReceiver(): number {
    return this.#words.load(this.#start + HeaderLayout.at.noticeReceiver);
  }

  set noticeReceiver(receiver: number) {
    this.#words.store(this.#start + HeaderLayout.at.noticeReceiver, receiver);
  }

  get phase(): number {
    return this.#words.load(this.#start + HeaderLayout.at.phase);
  }

  get isCrashed(): boolean {
    return this.phase === Phase.CRASHED;
  }

  /** Throws when the instance crashed. Every slice of every wait calls this. */
  checkCrashed(): void {
    if (this.isCrashed) throw new InstanceCrashedError(this.crashReason);
  }

  checkOpen(): void {
    this.checkCrashed();
    if (this.phase !== Phase.OPEN) throw new ClosedError('the pgaio instance');
  }

  beginClosing(): void {
    this.#words.compareExchange(this.#start + HeaderLayout.at.phase, Phase.OPEN, Phase.CLOSING);
  }

  /** Marks the instance as crashed; the first reason stays. The caller wakes everybody. */
  markCrashed(reason: string): void {
    const { crashLock, crashReason, phase } = HeaderLayout.at;
    if (this.#words.compareExchange(this.#start + crashLock, 0, 1) !== 0) return;
    this.#words.setText(this.#start + crashReason, REASON_WORDS, reason);
    this.#words.store(this.#start + phase, Phase.CRASHED);
  }

  get crashReason(): string {
    return this.#words.getText(this.#start + HeaderLayout.at.crashReason);
  }
}

/** FNV-1a over everything that all threads must agree on. */
export function fingerprintOf(parts: readonly string[]): number {
  let hash = 0x811c_9dc5;
  for (const character of parts.join('\n')) {
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x0100_0193);
  }
  return hash;
}
