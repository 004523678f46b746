/** All scenarios, in the order in which they are run. */
import type { Scenario } from '../scenario.js';
import { directRead, syncRead, workerRead } from './file-reads.js';
import { hitScan, hits } from './hits.js';
import { slowStorage } from './slow-storage.js';
import { stream, streamBookkeeping, streamCold } from './stream.js';
import { verify, verifyCold } from './verify.js';

export const scenarios: readonly Scenario[] = [
  syncRead,
  workerRead,
  directRead,
  hits,
  hitScan,
  stream,
  streamBookkeeping,
  streamCold,
  slowStorage,
  verify,
  verifyCold,
];
