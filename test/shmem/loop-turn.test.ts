/** The event loop has its turn, and who was put off for it goes on together. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoopTurn } from '../../src/shmem/loop-turn.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Asks as often as it takes to look at the clock. */
function isOver(loop: LoopTurn): boolean {
  let over = false;
  for (let times = 0; times < 10; times++) over = loop.isOver();
  return over;
}

it('a turn is over after a while, until the next one begins', async () => {
  let now = 1;
  const loop = new LoopTurn(() => now);
  assert.ok(!isOver(loop));
  now += 3;
  assert.ok(!isOver(loop));
  now += 2;
  assert.ok(isOver(loop));
  await turn();
  assert.ok(!isOver(loop));
  now += 100; // from the first question on, not from the turn's beginning
  await turn();
  assert.ok(!isOver(loop));
});

it('what a turn puts off is settled in the next one, all before anything that follows from it', async () => {
  let now = 1;
  const loop = new LoopTurn(() => now);
  const seen: string[] = [];
  const settle = (name: string): void => {
    seen.push(name);
    queueMicrotask(() => seen.push(`${name} goes on`));
  };
  loop.deliver(settle, 'first');
  now += 5;
  isOver(loop);
  for (const name of ['second', 'third', 'fourth']) loop.deliver(settle, name);
  await Promise.resolve();
  assert.deepEqual(seen.splice(0), ['first', 'first goes on']);
  await turn();
  await turn();
  const names = ['second', 'third', 'fourth'];
  assert.deepEqual(seen, [...names, ...names.map((name) => `${name} goes on`)]);
});
