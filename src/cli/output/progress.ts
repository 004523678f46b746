/**
 * How far a verification is, on standard error: a bar on a terminal, else a line now and then. Results go to
 * standard output; on a terminal, where both end up, the bar makes room for them.
 */
import { SingleBar } from 'cli-progress';
import type { Progress } from '../verify/verify-paths.js';
import { count, formatBytes, formatDuration, formatRate } from './format.js';

export interface ProgressDisplay {
  update(progress: Progress): void;
  /** Runs before something else is printed. */
  makeRoom(): void;
  end(): void;
}

export const noProgress: ProgressDisplay = {
  update: () => undefined,
  makeRoom: () => undefined,
  end: () => undefined,
};

/** Seconds over which the rate is averaged, so that it follows changes and does not flicker. */
const RATE_SECONDS = 5;

/** The rate of the last seconds, and the time that is left at that rate. */
class Pace {
  readonly #samples: { at: number; bytes: number }[] = [];

  add(bytes: number): void {
    const now = performance.now() / 1000;
    this.#samples.push({ at: now, bytes });
    while ((this.#samples[0] as { at: number }).at < now - RATE_SECONDS) this.#samples.shift();
  }

  describe({ bytes, totalBytes, listed }: Progress): { rate: string; left: string } {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.bytes === first.bytes) {
      return { rate: '-', left: '-' };
    }
    const seconds = last.at - first.at;
    const left = ((totalBytes - bytes) * seconds) / (last.bytes - first.bytes);
    return {
      rate: formatRate(last.bytes - first.bytes, seconds),
      left: listed ? formatDuration(Math.max(0, left)) : '-',
    };
  }
}

export class ProgressBar implements ProgressDisplay {
  readonly #pace = new Pace();
  readonly #stream: NodeJS.WriteStream;
  readonly #bar: SingleBar;
  #started = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
    this.#bar = new SingleBar({
      format: '{bar} {percentage} %  {done} of {all}  {rate}  {left} left  {failures}',
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 24,
      stream,
      hideCursor: true,
      clearOnComplete: true,
      forceRedraw: true,
      gracefulExit: false, // signals are handled elsewhere
    });
  }

  update(progress: Progress): void {
    this.#pace.add(progress.bytes);
    const { bytes, totalBytes, bad, listed } = progress;
    const payload = {
      done: formatBytes(bytes),
      all: `${listed ? '' : 'at least '}${formatBytes(totalBytes)}`,
      failures: bad === 0 ? 'no bad blocks' : count(bad, 'BAD BLOCK'),
      ...this.#pace.describe(progress),
    };
    const total = Math.max(1, totalBytes, bytes);
    if (!this.#started) this.#bar.start(total, bytes, payload);
    this.#started = true;
    this.#bar.setTotal(total);
    this.#bar.update(bytes, payload);
  }

  makeRoom(): void {
    if (this.#started) this.#stream.write('\r\x1b[K');
  }

  end(): void {
    if (this.#started) this.#bar.stop();
    this.#started = false;
  }
}

const LINE_SECONDS = 10;

export class ProgressLines implements ProgressDisplay {
  readonly #pace = new Pace();
  readonly #write: (line: string) => void;
  #lastAt = performance.now() / 1000;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  update(progress: Progress): void {
    this.#pace.add(progress.bytes);
    const now = performance.now() / 1000;
    if (now - this.#lastAt < LINE_SECONDS) return;
    this.#lastAt = now;
    const { bytes, totalBytes, listed, bad } = progress;
    const { rate, left } = this.#pace.describe(progress);
    const percent = Math.floor((bytes / Math.max(1, totalBytes)) * 100);
    const share = listed
      ? `${formatBytes(totalBytes)} (${percent} %)`
      : `at least ${formatBytes(totalBytes)}`;
    const failures = bad === 0 ? 'no bad blocks' : count(bad, 'bad block');
    this.#write(`${formatBytes(bytes)} of ${share}, ${rate}, ${left} left, ${failures}`);
  }

  makeRoom(): void {
    // lines are in nobody's way
  }

  end(): void {
    // nothing to put back
  }
}
