/** D-85: when IOSQE_ASYNC is set. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Punting } from '../../src/aio/method/io-uring/punting.js';

const DEEP = 64;

/** A program that reads one block after the other, on a clock of its own. */
class Reader {
  #now = 0;
  readonly punting = new Punting(() => this.#now);
  readonly #inlineMillis: number;
  readonly #puntedMillis: number;

  /** What a cold read takes each way. */
  constructor(inlineMillis = 0.05, puntedMillis = 0.05) {
    this.#inlineMillis = inlineMillis;
    this.#puntedMillis = puntedMillis;
  }

  /** Share of `count` reads that were punted. */
  read(count: number, cached: boolean, inFlight: number = DEEP): number {
    let punted = 0;
    for (let read = 0; read < count; read++) {
      this.punting.begin();
      const punts = this.punting.shouldPunt(inFlight);
      this.#now += cached ? 0.003 : punts ? this.#puntedMillis : this.#inlineMillis;
      if (punts) punted++;
      else this.punting.end(cached ? 1 : 0);
    }
    return punted / count;
  }

  pause(millis: number): void {
    this.#now += millis;
  }
}

describe('D-85: the flag that hands an I/O to a kernel thread', () => {
  it('is never set while reads are cached', () => {
    assert.equal(new Reader().read(100_000, true), 0);
  });

  it('is set on cold reads where that is faster, but for a probe and a try now and then', () => {
    const reader = new Reader(0.05, 0.03);
    reader.read(10_000, false);
    const share = reader.read(100_000, false);
    assert.ok(share > 0.85 && share < 15 / 16, String(share));
  });

  it('is set on few cold reads where that is no faster', () => {
    for (const punted of [0.05, 0.047, 0.1]) {
      const reader = new Reader(0.05, punted);
      reader.read(10_000, false);
      const share = reader.read(100_000, false);
      assert.ok(share > 0 && share < 0.08, String(share));
    }
  });

  it('a pause is not taken for slowness', () => {
    const reader = new Reader(0.05, 0.03);
    reader.read(10_000, false);
    for (let round = 0; round < 20; round++) {
      reader.pause(5000);
      assert.ok(reader.read(5000, false) > 0.7);
    }
  });

  it('is given up once reads are cached again', () => {
    const reader = new Reader(0.05, 0.03);
    reader.read(20_000, false);
    reader.read(400, true);
    assert.equal(reader.read(10_000, true), 0);
  });

  it('a few cold reads among cached ones do not set it', () => {
    const reader = new Reader(0.05, 0.03);
    for (let round = 0; round < 1000; round++) {
      assert.equal(reader.read(7, true), 0);
      assert.equal(reader.read(3, false), 0);
    }
  });

  it('is not set with little in flight', () => {
    const reader = new Reader(0.05, 0.03);
    reader.read(20_000, false);
    assert.equal(reader.read(1000, false, 4), 0);
  });

  it('a submission of many counts each', () => {
    const punting = new Punting();
    punting.begin();
    for (let read = 0; read < 32; read++) punting.shouldPunt(read);
    punting.end(0);
    assert.ok(punting.missShare > 0.8);
    assert.equal(punting.submission, 1);
  });
});
