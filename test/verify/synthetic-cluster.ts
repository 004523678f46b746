/** Data directories made of a real control file and pages of our own, with any damage that a test wants. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { breakChecksum, makePage, type PageOptions } from '../../testing/pages.js';
import { controlFixture, FIELD, patchedControlFile } from '../verify-cluster/control-files.js';

/** `DBState` values. */
export const IN_PRODUCTION = 6;

/** What is wrong with a page: a bit in its body, its checksum, its header under a right checksum, or it is new. */
export type PageKind = 'good' | 'body' | 'checksum' | 'structure' | 'zero' | 'new';

export class SyntheticCluster implements Disposable {
  /** The data directory. */
  readonly path: string;
  readonly #home: string;

  constructor(control: Buffer = controlFixture('18')) {
    this.#home = mkdtempSync(join(tmpdir(), 'pgaio-verify-'));
    this.path = join(this.#home, 'data');
    this.write('PG_VERSION', '18\n');
    this.write('global/pg_control', control);
    mkdirSync(join(this.path, 'base/5'), { recursive: true });
    mkdirSync(join(this.path, 'pg_tblspc'));
  }

  /** A cluster whose control file says that its server runs. */
  static running(): SyntheticCluster {
    return new SyntheticCluster(patchedControlFile(FIELD.state, IN_PRODUCTION));
  }

  /** A directory beside the data directory. */
  beside(name: string): string {
    return join(this.#home, name);
  }

  write(name: string, contents: string | Uint8Array): string {
    const path = join(this.path, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
    return path;
  }

  /** A segment file; `firstBlock` is the number of its first block in the relation. */
  segment(name: string, kinds: readonly PageKind[], firstBlock = 0, blockSize = 8192): string {
    return this.write(name, pages(kinds, firstBlock, blockSize));
  }

  [Symbol.dispose](): void {
    rmSync(this.#home, { recursive: true, force: true });
  }
}

export function pages(kinds: readonly PageKind[], firstBlock = 0, blockSize = 8192): Buffer {
  return Buffer.concat(kinds.map((kind, index) => page(kind, firstBlock + index, blockSize)));
}

function page(kind: PageKind, block: number, blockSize: number): Uint8Array {
  if (kind === 'zero') return new Uint8Array(blockSize);
  const options: PageOptions = kind === 'structure' ? { flags: 0x8000 } : kind === 'new' ? { upper: 0 } : {};
  const made = makePage(block, { blockSize, ...options });
  if (kind === 'checksum' || kind === 'new') breakChecksum(made);
  if (kind === 'body') made[blockSize - 7]! ^= 0x10;
  return made;
}
