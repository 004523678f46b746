/** D-85: when IOSQE_ASYNC is set. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Punting } from '../../src/aio/method/io-uring/punting.js';

const DEEP = 64;

/** Submits `count` reads one by one, cached or not; how many of them were punted. */
function submit(punting: Punting, count: number, cached: boolean, inFlight = DEEP): number {
  let punted = 0;
  for (let read = 0; read < count; read++) {
    punting.begin();
    if (punting.shouldPunt(inFlight)) punted++;
    else punting.end(cached ? 1 : 0);
  }
  return punted;
}

describe('D-85: the flag that hands an I/O to a kernel thread', () => {
  it('is never set while reads are cached', () => {
    assert.equal(submit(new Punting(), 1000, true), 0);
  });

  it('is set on cold reads soon, but for a probe now and then', () => {
    const punting = new Punting();
    assert.ok(submit(punting, 32, false) > 8);
    assert.equal(submit(punting, 1600, false), 1500);
  });

  it('is given up once reads are cached again', () => {
    const punting = new Punting();
    submit(punting, 1000, false);
    submit(punting, 400, true);
    assert.equal(submit(punting, 1000, true), 0);
  });

  it('a few cold reads among cached ones do not set it', () => {
    const punting = new Punting();
    let punted = 0;
    for (let round = 0; round < 100; round++) punted += submit(punting, 7, true) + submit(punting, 3, false);
    assert.equal(punted, 0);
  });

  it('is not set with little in flight', () => {
    const punting = new Punting();
    submit(punting, 1000, false);
    assert.equal(submit(punting, 100, false, 3), 0);
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
