/**
 * Lists the files that `pg_checksums --check` would scan, under the roots that scan-roots.ts found.
 *
 * Like `pg_checksums` it takes every regular file, whatever its name, except the skipped ones, and goes
 * into every directory and every link to one. Unlike it, it goes on after a problem, and takes no
 * directory or file twice, however often the given paths cover it.
 *
 * The cluster may be running: what vanishes while we look is no problem. Memory is bounded by the number of
 * directories, not of files.
 */
import { lstatSync, statSync, type Dirent } from 'node:fs';
import { opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, relative } from 'node:path';
import { assert } from '../../../base/assert.js';
import { tablespaceVersionDirectory } from '../../../recovery/control-file.js';
import {
  holdsNoPages,
  isRelationFileName,
  isTemporary,
  parseRelationFileName,
  type RelationFileName,
} from './file-names.js';
import {
  problemFrom,
  type DirectoryContents,
  type ScannedCluster,
  type ScanProblem,
  type ScanRoot,
} from './scan-roots.js';

export interface RelationFile extends RelationFileName {
  readonly cluster: ScannedCluster;
  readonly absolutePath: string;
  /** Relative to the data directory; absolute where there is none. */
  readonly displayPath: string;
  /** In bytes, when it was listed; a running server changes it. */
  readonly size: number;
}

export interface ListOptions {
  /** Only this relation's files (`pg_checksums --filenode`). */
  readonly filenode?: number | undefined;
  /** Told of each file that is going to be yielded. */
  readonly onFile?: ((file: RelationFile) => void) | undefined;
  /** Told what could not be listed, while the listing goes on. */
  readonly onProblem: (problem: ScanProblem) => void;
}

interface PendingDirectory {
  readonly cluster: ScannedCluster;
  readonly path: string;
  readonly displayPath: string;
  readonly contents: DirectoryContents;
  /** Entry of `pg_tblspc` that leads here; undefined elsewhere. */
  readonly tablespaceLink?: PendingDirectory['path'];
  /** Whether somebody asked for this very directory, so that its absence is a problem. */
  readonly isRoot: boolean;
}

/** How many entries are looked at between two turns of the event loop. */
const BATCH_SIZE = 64;

/** For the synchronous calls: undefined instead of an error when there is nothing at the path (any more). */
const unlessGone = { throwIfNoEntry: false } as const;

/** Yields each file once, directories before single files, in the order of the directories. */
export async function* listRelationFiles(
  roots: readonly ScanRoot[],
  options: ListOptions,
): AsyncGenerator<RelationFile, void, void> {
  // Roots inside a data directory first: whose files are shown by the shorter, relative path.
  const ordered = roots.toSorted((left, right) => rank(left) - rank(right));
  const visited = new Set<string>();
  for (const root of ordered) {
    if (root.contents === 'file') continue;
    const displayPath = displayPathOf(root);
    const pending: PendingDirectory[] = [{ ...root, contents: root.contents, displayPath, isRoot: true }];
    for (let directory = pending.pop(); directory !== undefined; directory = pending.pop()) {
      for await (const batch of entriesOf(directory, visited, options)) {
        const { files, directories } = look(directory, batch, options);
        pending.push(...directories);
        yield* files;
      }
    }
  }
  yield* listSingleFiles(ordered, visited, options);
}

function rank({ cluster }: ScanRoot): number {
  return cluster.dataDirectory === undefined ? 1 : 0;
}

function displayPathOf({ cluster, path }: ScanRoot): string {
  return cluster.dataDirectory === undefined ? path : relative(cluster.dataDirectory, path);
}

/** Yields the directory's entries in batches; nothing when it was visited before or cannot be read. */
async function* entriesOf(
  directory: PendingDirectory,
  visited: Set<string>,
  options: ListOptions,
): AsyncGenerator<Dirent[], void, void> {
  let batch: Dirent[] = [];
  try {
    const identity = await identityOf(directory.path);
    if (visited.has(identity)) return;
    const handle = await opendir(directory.path, { bufferSize: BATCH_SIZE });
    visited.add(identity);
    for await (const entry of handle) {
      batch.push(entry);
      if (batch.length < BATCH_SIZE) continue;
      yield batch;
      batch = [];
    }
  } catch (error) {
    const problem = directoryProblem(directory, error as NodeJS.ErrnoException);
    if (problem !== undefined) options.onProblem(problem);
  }
  if (batch.length > 0) yield batch;
}

/** Device and inode, which some file systems number beyond 2^53. */
async function identityOf(path: string): Promise<string> {
  const { dev, ino } = await stat(path, { bigint: true });
  return `${dev}:${ino}`;
}

function directoryProblem(
  directory: PendingDirectory,
  error: NodeJS.ErrnoException,
): ScanProblem | undefined {
  const { displayPath, tablespaceLink } = directory;
  if (error.code === 'ENOTDIR') {
    return {
      path: displayPath,
      message: `"${displayPath}" is a symbolic link to something that is not a directory`,
    };
  }
  if (error.code !== 'ENOENT' || directory.isRoot) return problemFrom(displayPath, error);
  if (tablespaceLink !== undefined) return tablespaceProblem(directory, tablespaceLink);
  return isDanglingLink(directory.path)
    ? { path: displayPath, message: `"${displayPath}" is a symbolic link that leads nowhere` }
    : undefined; // dropped meanwhile
}

/** A tablespace was listed but its files are not there. */
function tablespaceProblem({ displayPath }: PendingDirectory, link: string): ScanProblem | undefined {
  const shownLink = dirname(displayPath);
  if (isDanglingLink(link)) {
    return { path: shownLink, message: `tablespace "${shownLink}" is a symbolic link that leads nowhere` };
  }
  if (lstatSync(link, unlessGone) === undefined) return undefined; // dropped meanwhile
  return {
    path: shownLink,
    message: `tablespace "${shownLink}" has no directory "${basename(displayPath)}"`,
  };
}

function isDanglingLink(path: string): boolean {
  const isLink = lstatSync(path, unlessGone)?.isSymbolicLink() ?? false;
  return isLink && statSync(path, unlessGone) === undefined;
}

/**
 * Looks at each entry with synchronous calls: right after its directory was read an inode is nearly always
 * in the kernel's cache, and a round through the thread pool costs four times the call itself. The event
 * loop gets its turn between two batches.
 */
function look(
  parent: PendingDirectory,
  batch: readonly Dirent[],
  options: ListOptions,
): { files: RelationFile[]; directories: PendingDirectory[] } {
  const files: RelationFile[] = [];
  const directories: PendingDirectory[] = [];
  for (const entry of batch) {
    const found = lookAt(parent, entry, options);
    if (found === undefined) continue;
    if ('contents' in found) directories.push(found);
    else files.push(found);
  }
  return { files, directories };
}

/** What one entry is: a file to verify, a directory to go into, or neither. */
function lookAt(
  parent: PendingDirectory,
  entry: Dirent,
  options: ListOptions,
): RelationFile | PendingDirectory | undefined {
  const { name } = entry;
  if (isTemporary(name)) return undefined;
  const path = `${parent.path}/${name}`;
  const displayPath = `${parent.displayPath}/${name}`;
  if (entry.isFile()) {
    if (holdsNoPages(name)) return undefined;
    return describeFile(parent.cluster, path, displayPath, options);
  }
  if (!entry.isDirectory() && !entry.isSymbolicLink()) return undefined;
  if (parent.contents === 'relations' && entry.isDirectory() && isRelationFileName(name)) {
    const message = `"${displayPath}" is a directory where a file should be`;
    options.onProblem({ path: displayPath, message });
  }
  return childDirectory(parent, path, displayPath);
}

function childDirectory(parent: PendingDirectory, path: string, displayPath: string): PendingDirectory {
  const { cluster, contents } = parent;
  if (contents !== 'tablespaces') {
    return { cluster, path, displayPath, contents: 'relations', isRoot: false };
  }
  assert(cluster.control !== undefined, 'tablespace links lie in a data directory');
  const version = tablespaceVersionDirectory(cluster.control);
  return {
    cluster,
    path: `${path}/${version}`,
    displayPath: `${displayPath}/${version}`,
    contents: 'databases',
    tablespaceLink: path,
    isRoot: false,
  };
}

function describeFile(
  cluster: ScannedCluster,
  absolutePath: string,
  displayPath: string,
  { filenode, onFile, onProblem }: ListOptions,
): RelationFile | undefined {
  const parsed = parseRelationFileName(basename(absolutePath));
  if (parsed === undefined) {
    onProblem({ path: displayPath, message: `"${displayPath}" has no valid segment number in its name` });
    return undefined;
  }
  if (filenode !== undefined && parsed.filterKey !== String(filenode)) return undefined;
  try {
    const stats = statSync(absolutePath, unlessGone);
    if (stats === undefined) return undefined;
    const file = { ...parsed, cluster, absolutePath, displayPath, size: stats.size };
    onFile?.(file);
    return file;
  } catch (error) {
    onProblem(problemFrom(displayPath, error));
    return undefined;
  }
}

/** The files that were given one by one, unless a directory that was listed holds them. */
async function* listSingleFiles(
  roots: readonly ScanRoot[],
  visited: Set<string>,
  options: ListOptions,
): AsyncGenerator<RelationFile, void, void> {
  for (const root of roots) {
    if (root.contents !== 'file') continue;
    const displayPath = displayPathOf(root);
    try {
      const identity = await identityOf(root.path);
      const directory = await identityOf(dirname(await realpath(root.path)));
      if (visited.has(identity) || visited.has(directory)) continue;
      visited.add(identity);
      const file = describeFile(root.cluster, root.path, displayPath, options);
      if (file !== undefined) yield file;
    } catch (error) {
      options.onProblem(problemFrom(displayPath, error));
    }
  }
}
