/** An instance that reads the benchmark's table, and the proof that it reads the right blocks. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readSync } from 'node:fs';
import { BLOCK_SIZE } from '../../src/base/settings.js';
import type { Backend } from '../../src/index.js';
import type { SmgrRelation } from '../../src/smgr/smgr.js';
import { SEGMENT_BLOCKS } from '../../src/smgr/relation.js';
import type { BenchTable } from '../data/table.js';

export function openTable(backend: Backend, table: BenchTable): SmgrRelation {
  return backend.openRelation(table.dataDirectory, table);
}

/** Of so many pages in a row one is compared, the first to begin with. */
const CHECK_STRIDE = 61;

/** Compares pages with what the files hold. */
export class PageCheck {
  readonly #table: BenchTable;
  readonly #fds: number[];
  readonly #expected = Buffer.alloc(BLOCK_SIZE);
  #seen = 0;
  checked = 0;

  constructor(table: BenchTable) {
    this.#table = table;
    this.#fds = table.files.map((file) => openSync(file, 'r'));
  }

  look(block: number, page: Uint8Array): void {
    if (this.#seen++ % CHECK_STRIDE !== 0) return;
    const fd = this.#fds[Math.floor(block / SEGMENT_BLOCKS)]!;
    readSync(fd, this.#expected, 0, BLOCK_SIZE, (block % SEGMENT_BLOCKS) * BLOCK_SIZE);
    assert(this.#expected.equals(page), `block ${block} of "${this.#table.files[0]!}" was read wrong`);
    this.checked++;
  }

  close(): number {
    for (const fd of this.#fds) closeSync(fd);
    return this.checked;
  }
}
