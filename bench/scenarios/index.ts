/** All scenarios, in the order in which they are run. */
import type { Scenario } from '../scenario.js';
import { directRead, directReadShallow, syncRead, workerRead } from './file-reads.js';
import { filesCache, filesDirect, filesRead, filesStream, filesStreamCold } from './files.js';
import { hitScan, hits } from './hits.js';
import { slowStorage } from './slow-storage.js';
import { stream, streamBookkeeping, streamCold } from './stream.js';
import { coldRead, coldReadLarge, uringRead, uringReadLarge } from './uring-reads.js';
import { verify, verifyCold } from './verify.js';
import { walGroup, walLatency, walPipeline } from './wal.js';

export const scenarios: readonly Scenario[] = [
  syncRead,
  workerRead,
  uringRead,
  uringReadLarge,
  directRead,
  directReadShallow,
  coldRead,
  coldReadLarge,
  hits,
  hitScan,
  stream,
  streamBookkeeping,
  streamCold,
  slowStorage,
  verify,
  verifyCold,
  filesRead,
  filesDirect,
  filesStream,
  filesStreamCold,
  filesCache,
  walGroup,
  walPipeline,
  walLatency,
];
