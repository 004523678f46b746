/**
 * From the paths that the user gave to the places where relation files are looked for.
 *
 * A path may be a data directory, a tablespace, a directory below either, or a segment file. Which cluster
 * it belongs to, and so its block size, segment size and checksums, says the control file of the data
 * directory around it. A tablespace need not lie in one; then PostgreSQL's defaults are assumed, and
 * {@link ScannedCluster.control} is undefined to say so.
 */
import { access, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { PgaioError } from '../../../base/errors.js';
import { DEFAULT_BLOCK_SIZE } from '../../../page/page-header.js';
import {
  controlFilePath,
  readControlFile,
  tablespaceVersionDirectory,
  type ControlFile,
} from '../../../recovery/control-file.js';
import { holdsNoPages, isRelationFileName } from './file-names.js';

/** How the files of a scan are to be read. One object per data directory, so it can be compared by identity. */
export interface ScannedCluster {
  /** Absolute, as reached from the given path; undefined when none was found around it. */
  readonly dataDirectory: string | undefined;
  /** Undefined when no data directory was found: then the following three are assumptions. */
  readonly control: ControlFile | undefined;
  /** In bytes. */
  readonly blockSize: number;
  readonly blocksPerSegment: number;
  readonly checksumsEnabled: boolean;
}

/** What the entries of a directory are: links to tablespaces, directories of databases, or relation files. */
export type DirectoryContents = 'tablespaces' | 'databases' | 'relations';

export interface ScanRoot {
  readonly cluster: ScannedCluster;
  /** Absolute. */
  readonly path: string;
  readonly contents: DirectoryContents | 'file';
}

/** Something that could not be scanned; the rest is scanned all the same. */
export interface ScanProblem {
  /** Relative to the data directory for what was found inside one, else as given or absolute. */
  readonly path: string;
  /** A sentence without the full stop; names the path. */
  readonly message: string;
  /** What the user can do. */
  readonly hint?: string | undefined;
}

export interface ScanRoots {
  readonly roots: readonly ScanRoot[];
  readonly problems: readonly ScanProblem[];
}

const ASSUMED_CLUSTER: ScannedCluster = {
  dataDirectory: undefined,
  control: undefined,
  blockSize: DEFAULT_BLOCK_SIZE,
  blocksPerSegment: 2 ** 30 / DEFAULT_BLOCK_SIZE,
  checksumsEnabled: true,
};

/** `PG_18_202506291`, for the versions that are understood. */
const VERSION_DIRECTORY = /^PG_1[5-8]_\d{9}$/;

/** Finds what to scan for each of `paths`, in their order. Never throws for what is wrong with a path. */
export async function findScanRoots(paths: readonly string[]): Promise<ScanRoots> {
  const clusters = new Map<string, ScannedCluster>();
  const roots: ScanRoot[] = [];
  const problems: ScanProblem[] = [];
  for (const path of paths) {
    try {
      roots.push(...(await rootsOf(path, clusters)));
    } catch (error) {
      problems.push(problemFrom(path, error));
    }
  }
  return { roots, problems };
}

/** Describes a failure at `path`: our own errors speak for themselves, system errors are put into words. */
export function problemFrom(path: string, error: unknown): ScanProblem {
  if (error instanceof PgaioError) return { path, message: error.message, hint: error.hint };
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined) throw error; // not the system's fault but ours
  if (code === 'ENOENT') return { path, message: `"${path}" does not exist` };
  if (code === 'EACCES') {
    const hint = 'Run as the user that owns the files.';
    return { path, message: `"${path}" cannot be read: permission denied`, hint };
  }
  return { path, message: `"${path}" cannot be read: ${message}` };
}

class NotScannableError extends PgaioError {
  override readonly name = 'NotScannableError';
  constructor(message: string) {
    super('ERR_PGAIO_NOT_SCANNABLE', message);
  }
}

async function rootsOf(givenPath: string, clusters: Map<string, ScannedCluster>): Promise<ScanRoot[]> {
  let path = resolve(givenPath);
  const stats = await stat(path);
  let dataDirectory = await findDataDirectory(path);
  if (dataDirectory === undefined) {
    path = await realpath(path); // a link into a data directory
    dataDirectory = await findDataDirectory(path);
  }
  const cluster = dataDirectory === undefined ? ASSUMED_CLUSTER : await clusterAt(dataDirectory, clusters);

  if (stats.isFile()) {
    const name = basename(path);
    if (isRelationFileName(name)) return [{ cluster, path, contents: 'file' }];
    const why = holdsNoPages(name) ? 'holds no pages' : 'is not named like a segment of a relation';
    throw new NotScannableError(`file "${givenPath}" ${why}`);
  }
  if (!stats.isDirectory()) throw new NotScannableError(`"${givenPath}" is neither a file nor a directory`);
  const places = placesInCluster(path, cluster) ?? (await placesInTablespace(path, cluster));
  if (places.length === 0) {
    throw new NotScannableError(
      `"${givenPath}" is neither a data directory nor a tablespace of PostgreSQL 15 to 18, nor a directory ` +
        'of relation files in one',
    );
  }
  return places.map((place) => ({ cluster, ...place }));
}

async function clusterAt(
  dataDirectory: string,
  clusters: Map<string, ScannedCluster>,
): Promise<ScannedCluster> {
  const known = clusters.get(dataDirectory);
  if (known !== undefined) return known;
  const control = await readControlFile(dataDirectory);
  const { blockSize, blocksPerSegment, checksumsEnabled } = control;
  const cluster = { dataDirectory, control, blockSize, blocksPerSegment, checksumsEnabled };
  clusters.set(dataDirectory, cluster);
  return cluster;
}

async function findDataDirectory(path: string): Promise<string | undefined> {
  for (let directory = path; ; directory = dirname(directory)) {
    if (await isDataDirectory(directory)) return directory;
    if (directory === dirname(directory)) return undefined;
  }
}

/** A data directory whose control file is gone is still one: the message must name the missing file. */
async function isDataDirectory(path: string): Promise<boolean> {
  if (await exists(controlFilePath(path))) return true;
  return (await exists(join(path, 'PG_VERSION'))) && (await exists(join(path, 'base')));
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

type Place = Pick<ScanRoot, 'path' | 'contents'>;

/** The three directories that `pg_checksums` scans, or the part of them that `path` is. */
function placesInCluster(path: string, { dataDirectory }: ScannedCluster): Place[] | undefined {
  if (dataDirectory === undefined) return undefined;
  const within = relative(dataDirectory, path).split(sep);
  switch (within[0]) {
    case '':
      return [
        { path: join(path, 'global'), contents: 'relations' },
        { path: join(path, 'base'), contents: 'databases' },
        { path: join(path, 'pg_tblspc'), contents: 'tablespaces' },
      ];
    case 'global':
      return [{ path, contents: 'relations' }];
    case 'base':
      return [{ path, contents: within.length === 1 ? 'databases' : 'relations' }];
    case 'pg_tblspc':
      return within.length === 1 ? [{ path, contents: 'tablespaces' }] : undefined;
    default:
      return undefined;
  }
}

/** A tablespace is known by the version directory: in the path, at its end, or right below it. */
async function placesInTablespace(path: string, { control }: ScannedCluster): Promise<Place[]> {
  const isOurs = (name: string): boolean =>
    control === undefined ? VERSION_DIRECTORY.test(name) : name === tablespaceVersionDirectory(control);
  const parts = path.split(sep);
  const versionAt = parts.findLastIndex(isOurs);
  if (versionAt !== -1) {
    return [{ path, contents: versionAt === parts.length - 1 ? 'databases' : 'relations' }];
  }
  const versions = (await readdir(path)).filter(isOurs);
  return versions.map((name) => ({ path: join(path, name), contents: 'databases' }));
}
