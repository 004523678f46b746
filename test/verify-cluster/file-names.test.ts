import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  holdsNoPages,
  isRelationFileName,
  isTemporary,
  parseRelationFileName,
} from '../../src/cli/verify/cluster/file-names.js';

describe('file names', () => {
  const names: [string, number, string, number | undefined, string][] = [
    ['16384', 0, 'main', 16384, '16384'],
    ['16384.1', 1, 'main', 16384, '16384'],
    ['16384_fsm', 0, 'fsm', 16384, '16384'],
    ['16384_vm.12', 12, 'vm', 16384, '16384'],
    ['16384_init', 0, 'init', 16384, '16384'],
    ['t3_16384', 0, 'main', 16384, 't3'],
    ['t3_16384_fsm.2', 2, 'fsm', 16384, 't3'],
    // No relations, but pg_checksums looks into them.
    ['backup_label', 0, 'main', undefined, 'backup'],
    ['16384_old', 0, 'main', undefined, '16384'],
    ['16384.1.orig', 1, 'main', undefined, '16384'],
    ['0123', 0, 'main', undefined, '0123'],
  ];
  for (const [name, segmentNumber, fork, relationNumber, filterKey] of names) {
    it(`reads ${name}`, () => {
      assert.deepEqual(parseRelationFileName(name), { segmentNumber, fork, relationNumber, filterKey });
      assert.equal(isRelationFileName(name), relationNumber !== undefined);
      assert.ok(!holdsNoPages(name));
    });
  }

  it('refuses what is no segment number', () => {
    for (const name of ['16384.', '16384.0', '16384.x', '.DS_Store', '16384.-1']) {
      assert.equal(parseRelationFileName(name), undefined, name);
    }
  });

  it('skips what holds no pages', () => {
    const skipped = [
      'pg_control',
      'PG_VERSION',
      'pg_filenode.map',
      'pg_filenode.map.tmp',
      'pg_internal.init',
    ];
    for (const name of [...skipped, 'pg_internal.init.4711', 'pgsql_tmp4711.0'])
      assert.ok(holdsNoPages(name), name);
    for (const name of ['pg_control2', 'PG_VERSION.old', 'xpgsql_tmp']) assert.ok(!holdsNoPages(name), name);
    assert.ok(isTemporary('pgsql_tmp') && !isTemporary('PG_VERSION'));
  });
});
