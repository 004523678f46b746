import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Counter, Counters } from '../../src/stats/counters.js';
import { makeShared } from '../../testing/shared.js';

it('counters are kept by slot, hold more than 32 bits, and add up', () => {
  const { words, regions } = makeShared((plan) => Counters.plan(plan, 3));
  const slots = [0, 1, 2].map((slot) => new Counters(words, regions, slot));
  slots[0]?.count(Counter.readBytes, 2 ** 32 - 1);
  slots[0]?.count(Counter.readBytes);
  slots[1]?.count(Counter.readBytes, 5);
  slots[2]?.count(Counter.reads, 3);
  assert.equal(slots[0]?.snapshot().readBytes, 2 ** 32);
  assert.equal(slots[0].snapshot().reads, 0);
  const total = Counters.total(words, regions, 3);
  assert.deepEqual([total.readBytes, total.reads, total.writes], [2 ** 32 + 5, 3, 0]);
});
