/**
 * The files of a verification and what was found in each, small enough for a cluster of a hundred thousand files: a name
 * and a number for each, and ranges of blocks for what is damaged.
 */
import { dirname } from 'node:path/posix';
import type { Block } from '../job/protocol.js';
import type { RelationFile } from '../cluster/relation-files.js';
import type { ScannedCluster } from '../cluster/scan-roots.js';
import type { VerifyReport } from '../report.js';

/** A directory, and its files one after the other: a name, and how many blocks. */
export interface FileGroup {
  readonly directory: string;
  readonly files: (string | number)[];
}

/** Of one file: its place among all, counted through the groups; damage as `first, count` pairs. */
export interface FileDamage {
  readonly file: number;
  readonly checksum: readonly number[];
  readonly structure: readonly number[];
  /** Something of it could not be read. */
  readonly unreadable: boolean;
}

export interface FileMapData {
  readonly groups: readonly FileGroup[];
  readonly damage: readonly FileDamage[];
}

export class FileMap {
  readonly clusters: Set<ScannedCluster> = new Set<ScannedCluster>();
  readonly #groups = new Map<string, FileGroup & { readonly dataDirectory: string }>();
  #last: { directory: string; cluster: ScannedCluster; group: FileGroup } | null = null;

  /** A file that is going to be verified. */
  add({ cluster, displayPath, size }: RelationFile): void {
    const directory = dirname(displayPath);
    if (this.#last?.directory !== directory || this.#last.cluster !== cluster)
      this.#last = { directory, cluster, group: this.#groupOf(cluster, directory) };
    const name = displayPath.slice(directory === '.' ? 0 : directory.length + 1);
    this.#last.group.files.push(name, Math.floor(size / cluster.blockSize));
  }

  #groupOf(cluster: ScannedCluster, directory: string): FileGroup {
    this.clusters.add(cluster);
    const dataDirectory = cluster.dataDirectory ?? '';
    const key = `${dataDirectory}\0${directory}`;
    let group = this.#groups.get(key);
    if (group === undefined) this.#groups.set(key, (group = { dataDirectory, directory, files: [] }));
    return group;
  }

  /** What the page gets. Directories are named by their data directory, too, where there are several. */
  data(report: Pick<VerifyReport, 'failures' | 'structuralBlocks' | 'problems'>): FileMapData {
    const directories = new Set([...this.clusters].map(({ dataDirectory = '' }) => dataDirectory));
    const numbers = new Map<string, number>();
    let files = 0;
    const groups = [...this.#groups.values()].map(({ dataDirectory, directory, files: names }) => {
      const where = directories.size > 1 ? join(dataDirectory, directory) : directory;
      for (let at = 0; at < names.length; at += 2) numbers.set(join(where, String(names[at])), files++);
      return { directory: where, files: names };
    });
    const damage = new Damage(numbers);
    for (const block of report.failures) appendBlock(damage.of(placeOf(block))?.checksum, block.block);
    for (const block of report.structuralBlocks)
      appendBlock(damage.of(placeOf(block))?.structure, block.block);
    // They do not say in which data directory.
    for (const { path } of report.problems)
      for (const place of [path, ...[...directories].map((directory) => join(directory, path))]) {
        const file = damage.of(place);
        if (file !== null) file.unreadable = true;
      }
    return { groups, damage: damage.all };
  }
}

interface GrowingDamage {
  readonly file: number;
  readonly checksum: number[];
  readonly structure: number[];
  unreadable: boolean;
}

/** By the numbers of the files that have some. */
class Damage {
  readonly #numbers: ReadonlyMap<string, number>;
  readonly #files = new Map<number, GrowingDamage>();

  constructor(numbers: ReadonlyMap<string, number>) {
    this.#numbers = numbers;
  }

  get all(): FileDamage[] {
    return [...this.#files.values()];
  }

  /** Null for what is no file that was listed. */
  of(path: string): GrowingDamage | null {
    const file = this.#numbers.get(path);
    if (file === undefined) return null;
    let damage = this.#files.get(file);
    if (damage === undefined)
      this.#files.set(file, (damage = { file, checksum: [], structure: [], unreadable: false }));
    return damage;
  }
}

function join(directory: string, name: string): string {
  if (name === '.') return directory;
  return directory === '.' || directory === '' || name.startsWith('/') ? name : `${directory}/${name}`;
}

function placeOf({ path, dataDirectory }: Block & { readonly dataDirectory?: string }): string {
  return dataDirectory === undefined ? path : join(dataDirectory, path);
}

/** Blocks come in their order. */
function appendBlock(ranges: number[] | undefined, block: number): void {
  if (ranges === undefined) return;
  const last = ranges.length - 2;
  if (last >= 0 && (ranges[last] as number) + (ranges[last + 1] as number) === block)
    ranges[last + 1] = (ranges[last + 1] as number) + 1;
  else ranges.push(block, 1);
}
