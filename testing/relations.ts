/** Data directories with relation files whose every page says which block of which relation it is. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_BLOCK_SIZE, PAGE_HEADER_SIZE, PageHeaderOffset } from '../src/page/page-header.js';
import { PG_GLOBAL_TABLESPACE } from '../src/smgr/relation.js';
import { breakChecksum, makePage, setChecksum } from './pages.js';

const DATABASE = 5;

/** What is wrong with a block: its header with a right checksum, its checksum, both, or nothing but zeroes in it. */
export type Damage = 'header' | 'checksum' | 'both' | 'zero';

export interface RelationOptions {
  damaged?: Readonly<Record<number, Damage>>;
  /** Distinguishes the pages of one version of a relation from those of another. */
  version?: number;
  /** Where it is. Default: the default tablespace, and the one database of the directory. */
  tablespace?: number;
  database?: number;
  /** Whose private relation it is. Default: everybody's. */
  backend?: number;
}

/** Pages that were made before, for tests check the same ones again and again. Nobody changes these. */
const made = new Map<string, Uint8Array>();
const MADE_MAX = 1024;

function madePage(relation: number, block: number, version: number): Uint8Array {
  const key = `${relation}/${block}/${version}`;
  const known = made.get(key);
  if (known !== undefined) return known;
  const page = makePage(block, { fill: (block * 31 + relation) & 0xff });
  const view = new DataView(page.buffer);
  view.setUint32(PAGE_HEADER_SIZE, relation, true);
  view.setUint32(PAGE_HEADER_SIZE + 4, block, true);
  view.setUint32(PAGE_HEADER_SIZE + 8, version, true);
  setChecksum(page, block);
  if (made.size === MADE_MAX) made.clear();
  made.set(key, page);
  return page;
}

/** A page that holds its relation, block and version behind the header, with a right checksum. */
export function stampedPage(relation: number, block: number, version = 0): Uint8Array {
  return madePage(relation, block, version).slice();
}

export interface Stamp {
  relation: number;
  block: number;
  version: number;
}

/** What a page says it is. The whole page is compared, so a torn one does not pass for what its stamp says. */
export function stampOf(page: Uint8Array): Stamp {
  const view = new DataView(page.buffer, page.byteOffset, page.byteLength);
  const stamp = {
    relation: view.getUint32(PAGE_HEADER_SIZE, true),
    block: view.getUint32(PAGE_HEADER_SIZE + 4, true),
    version: view.getUint32(PAGE_HEADER_SIZE + 8, true),
  };
  const whole = madePage(stamp.relation, stamp.block, stamp.version);
  if (Buffer.compare(whole, page) !== 0)
    throw new Error(`a page is not what its stamp says: ${JSON.stringify(stamp)}`);
  return stamp;
}

export class DataDirectory {
  readonly path: string = mkdtempSync(join(tmpdir(), 'pgaio-data-'));

  constructor() {
    writeFileSync(join(this.path, 'PG_VERSION'), '18\n');
    mkdirSync(join(this.path, 'base', String(DATABASE)), { recursive: true });
  }

  /** Path of a relation's first segment. */
  file(relation: number, backend?: number): string {
    return join(this.path, this.relativeFile(relation, backend));
  }

  /** What messages call it. */
  relativeFile(relation: number, backend?: number): string {
    return `base/${DATABASE}/${backend === undefined ? '' : `t${backend}_`}${relation}`;
  }

  /** Writes a relation anew, and returns its locator. */
  write(
    relation: number,
    blocks: number,
    options: RelationOptions = {},
  ): { tablespace?: number; database: number; relation: number; backend?: number } {
    const bytes = Buffer.alloc(blocks * DEFAULT_BLOCK_SIZE);
    for (let block = 0; block < blocks; block++) {
      const page = stampedPage(relation, block, options.version);
      damage(page, block, options.damaged?.[block]);
      bytes.set(page, block * DEFAULT_BLOCK_SIZE);
    }
    const { backend } = options;
    if (options.tablespace === PG_GLOBAL_TABLESPACE) {
      mkdirSync(join(this.path, 'global'), { recursive: true });
      writeFileSync(join(this.path, 'global', String(relation)), bytes);
      return { tablespace: PG_GLOBAL_TABLESPACE, database: 0, relation };
    }
    if (options.database !== undefined) {
      mkdirSync(join(this.path, 'base', String(options.database)), { recursive: true });
      writeFileSync(join(this.path, 'base', String(options.database), String(relation)), bytes);
      return { database: options.database, relation };
    }
    writeFileSync(this.file(relation, backend), bytes);
    return { database: DATABASE, relation, ...(backend !== undefined && { backend }) };
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

function damage(page: Uint8Array, block: number, kind: Damage | undefined): void {
  if (kind === 'zero') page.fill(0);
  if (kind === 'checksum') breakChecksum(page);
  if (kind !== 'header' && kind !== 'both') return;
  new DataView(page.buffer).setUint16(PageHeaderOffset.special, DEFAULT_BLOCK_SIZE + 1, true);
  setChecksum(page, block);
  if (kind === 'both') breakChecksum(page);
}
