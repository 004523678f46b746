/** Virtual descriptors of several "threads" of one process, without an instance. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DescriptorBudget } from '../src/vfd/budget.js';
import { FileTable, type FileTableRegion } from '../src/vfd/file-table.js';
import { VfdCache } from '../src/vfd/vfd.js';
import { makeShared, type Shared } from './shared.js';

interface Regions {
  files: FileTableRegion;
  budget: number;
}

export class VfdRig {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'pgaio-vfd-'));
  readonly shared: Shared<Regions>;

  /** `stock`: descriptors beyond every thread's floor. */
  constructor(stock: number, entries = 16) {
    this.shared = makeShared((plan) => ({
      files: FileTable.plan(plan, 8, entries),
      budget: DescriptorBudget.plan(plan, 8),
    }));
    DescriptorBudget.initialize(this.shared.words, this.shared.regions.budget, stock, 0);
  }

  table(slot = 0): FileTable {
    return new FileTable(this.shared.slots, slot, this.shared.regions.files);
  }

  budget(slot = 0): DescriptorBudget {
    return new DescriptorBudget(this.shared.words, this.shared.regions.budget, slot);
  }

  cache(slot = 0): VfdCache {
    return new VfdCache(this.table(slot), this.budget(slot));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
