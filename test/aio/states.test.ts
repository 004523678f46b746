import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  GENERATION_MASK,
  HandleState,
  generationOf,
  isLegalMove,
  packState,
  stateName,
  stateOf,
} from '../../src/aio/states.js';
import { manualInstance } from '../../testing/manual-method.js';
import type { IoHandle } from '../../src/aio/handle.js';

const states = Object.values(HandleState);
const legal = new Set(['0>1', '1>2', '1>0', '2>3', '3>4', '4>5', '5>6', '6>7', '7>0']);

/** Brings a fresh handle into a state by legal moves. */
function handleIn(state: HandleState): IoHandle {
  const io = manualInstance(1).table.handle(0);
  if (state === HandleState.IDLE) return io;
  io.handOut();
  for (let at: number = HandleState.HANDED_OUT; at < state; at++) {
    io.move(at as HandleState, (at + 1) as HandleState);
  }
  return io;
}

describe('the states of a handle', () => {
  for (const from of states) {
    for (const to of states) {
      const allowed = legal.has(`${from}>${to}`);
      it(`D-01: ${stateName(from)} → ${stateName(to)} is ${allowed ? 'legal' : 'refused, and changes nothing'}`, () => {
        assert.equal(isLegalMove(from, to), allowed);
        const io = handleIn(from);
        const { generation } = io;
        if (allowed) {
          assert.ok(io.tryMove(from, to, generation));
          assert.equal(io.state, to);
        } else {
          assert.throws(() => io.tryMove(from, to, generation), {
            name: 'AssertionFailure',
            message: new RegExp(
              `illegal move ${stateName(from)} → ${stateName(to)}: I/O handle 0 is ${stateName(from)}`,
            ),
          });
          assert.equal(io.state, from);
        }
      });
    }
  }

  it('a legal move from another state than the handle is in stops the program, or is lost', () => {
    const io = handleIn(HandleState.STAGED);
    assert.throws(() => io.move(HandleState.SUBMITTED, HandleState.COMPLETED_IO), {
      name: 'AssertionFailure',
    });
    assert.ok(!io.tryMove(HandleState.SUBMITTED, HandleState.COMPLETED_IO, io.generation));
    assert.equal(io.state, HandleState.STAGED);
  });

  it('a move is about one generation', () => {
    const io = handleIn(HandleState.STAGED);
    assert.ok(!io.tryMove(HandleState.STAGED, HandleState.SUBMITTED, io.generation + 1));
    assert.equal(io.state, HandleState.STAGED);
  });

  it('state and generation share a word without touching each other', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...states),
        fc.integer({ min: 0, max: GENERATION_MASK }),
        (state, generation) => {
          const word = packState(state, generation);
          assert.equal(stateOf(word), state);
          assert.equal(generationOf(word), generation);
        },
      ),
    );
  });
});

describe('the generation', () => {
  it('D-01: rises exactly when the handle becomes idle again', () => {
    const { table } = manualInstance(1);
    const io = table.handle(0);
    for (let round = 0; round < 3; round++) {
      assert.equal(io.generation, round);
      io.handOut();
      for (let at: number = HandleState.HANDED_OUT; at < HandleState.COMPLETED_LOCAL; at++) {
        io.move(at as HandleState, (at + 1) as HandleState);
        assert.equal(io.generation, round);
      }
      io.recycle(HandleState.COMPLETED_LOCAL);
      assert.equal(io.state, HandleState.IDLE);
      assert.equal(io.wideGeneration, round + 1);
    }
  });

  it('goes on beyond 28 and beyond 32 bits', () => {
    const { table, shared } = manualInstance(1);
    const io = table.handle(0);
    const generationWord = io.stateWordIndex + 2;
    for (const before of [GENERATION_MASK, 2 ** 32 - 1]) {
      shared.words.setWide(generationWord, before);
      shared.words.store(io.stateWordIndex, packState(HandleState.IDLE, before & GENERATION_MASK));
      io.handOut();
      io.recycle(HandleState.HANDED_OUT);
      assert.equal(io.wideGeneration, before + 1);
      assert.equal(io.generation, 0);
      io.handOut();
      assert.ok(io.tryBecomeExecutor(1, 0));
      assert.equal(io.executor, 1);
      io.recycle(HandleState.HANDED_OUT);
    }
  });
});

describe('the executor word', () => {
  it('is won by one', () => {
    const io = handleIn(HandleState.SUBMITTED);
    assert.equal(io.executor, -1);
    assert.ok(io.tryBecomeExecutor(3, io.generation));
    assert.ok(!io.tryBecomeExecutor(4, io.generation));
    assert.ok(!io.tryBecomeExecutor(3, io.generation), 'not even twice by the same');
    assert.equal(io.executor, 3);
  });

  it('is not won for an I/O that is over, by whoever still knows of it', () => {
    const { table } = manualInstance(1);
    const io = table.handle(0);
    io.handOut();
    const old = io.generation;
    io.recycle(HandleState.HANDED_OUT);
    assert.ok(
      io.tryBecomeExecutor(3, old),
      'nobody has the handle yet: harmless, the next owner resets the word',
    );
    io.handOut();
    assert.equal(io.executor, -1);
    assert.ok(!io.tryBecomeExecutor(3, old));
    assert.ok(io.tryBecomeExecutor(4, io.generation));
  });

  it('is taken from a dead thread only, and given up for anybody', () => {
    const io = handleIn(HandleState.SUBMITTED);
    const { generation } = io;
    io.tryBecomeExecutor(3, generation);
    assert.ok(!io.tryTakeFromDead(4, 9, generation));
    assert.ok(!io.tryTakeFromDead(3, 9, generation + 1));
    assert.ok(io.tryTakeFromDead(3, 9, generation));
    assert.equal(io.executor, 9);
    io.giveUpExecutor(generation);
    assert.equal(io.executor, -1);
    assert.ok(io.tryBecomeExecutor(254, generation));
    assert.equal(io.executor, 254);
  });
});
