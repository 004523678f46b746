/** D-56: the table of checksum failures by database. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { ChecksumFailureTable } from '../../src/stats/checksum-failures.js';
import { makeShared } from '../../testing/shared.js';

const ROOM = 255;

function makeTables() {
  const { slots, regions } = makeShared((plan) => ChecksumFailureTable.plan(plan));
  return [0, 1].map((slot) => new ChecksumFailureTable(slots, slot, regions)) as [
    ChecksumFailureTable,
    ChecksumFailureTable,
  ];
}

const counts = (table: ChecksumFailureTable): number[][] =>
  table.list().map(({ directory, database, failures }) => [directory, database, failures]);

describe('D-56: checksum failures', () => {
  it('add up by directory and database, whoever counts and whoever reads', () => {
    const [one, two] = makeTables();
    assert.deepEqual(one.list(), []);
    one.add(0, 5, 2);
    two.add(0, 5, 1);
    two.add(1, 5, 7);
    one.add(0, 0, 1);
    one.add(0, 0xffff_fff0 | 0, 1);
    for (const table of [one, two]) {
      assert.deepEqual(counts(table), [
        [0, 5, 3],
        [1, 5, 7],
        [0, 0, 1],
        [0, 0xffff_fff0, 1],
      ]);
    }
  });

  it('have the time of the last one', (context: TestContext) => {
    const [table] = makeTables();
    for (const now of [Date.UTC(2001, 1), Date.UTC(2038, 2)]) {
      context.mock.timers.enable({ apis: ['Date'], now });
      table.add(0, 5, 1);
      context.mock.timers.reset();
      assert.equal(Number(table.list()[0]?.lastFailure), now);
    }
  });

  it('hold more than 32 bits', () => {
    const [table] = makeTables();
    table.add(0, 5, 2 ** 32 - 1);
    table.add(0, 5, 2);
    assert.deepEqual(counts(table), [[0, 5, 2 ** 32 + 1]]);
  });

  it('of databases that have no room any more are counted together; those that have room, on their own', () => {
    const [table] = makeTables();
    for (let database = 1; database <= ROOM + 3; database++) table.add(0, database, 1);
    table.add(0, ROOM, 5);
    table.add(0, ROOM + 1, 5);
    const rows = counts(table);
    assert.equal(rows.length, ROOM + 1);
    assert.deepEqual(rows.slice(0, 2), [
      [0, 1, 1],
      [0, 2, 1],
    ]);
    assert.deepEqual(rows.slice(-2), [
      [0, ROOM, 6],
      [-1, -1, 8],
    ]);
  });
});
