/**
 * Commits to the WAL of an instance of its own: by one committer or by several at once, in one thread or in several,
 * each of which begins its next commit when its last is durable.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { InstanceSettings, IoMethodName, WalSyncMethod } from '../../src/base/settings.js';
import { createInstance, type Backend, type Instance } from '../../src/index.js';
import { afterHeader } from '../../src/wal/geometry.js';
import { logicalMessage } from '../../src/wal/logical-message.js';
import { WAL_PAGE_SIZE } from '../../src/wal/page-header.js';
import type { Measurement } from '../measurement.js';
import { CommitTeam } from './commit-team.js';
import { Latencies } from './latencies.js';
import { measureOnce, type WorkUntil } from './measure.js';

export interface WalCommitsSpec {
  readonly how: 'blocking' | 'await' | 'threads';
  readonly method: IoMethodName;
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
  /** At once, in all threads together. */
  readonly committers: number;
  /** For `threads`. */
  readonly threads?: number;
  /** Of a message; `page`: as many as the page has room for, so that every commit fills a page of its own. */
  readonly payload: number | 'page';
  /** At most so many commits are measured, and the segments for them are made before. Default: as time goes by. */
  readonly commitsMax?: number;
  /** Where to make the data directory. */
  readonly directory: string;
  readonly seconds: number;
}

export const PREFIX = 'bench';
const CHECKED_COMMITS = 64;
const SEGMENT_SIZE = 16 * 1024 ** 2;
/** Of `commitsMax`, so much more is committed before, to warm up. */
const WARM_UP_SHARE = 0.25;

export async function walCommits(spec: WalCommitsSpec): Promise<Measurement> {
  const dataDirectory = mkdtempSync(join(spec.directory, 'wal-'));
  try {
    const instance = await createInstance(settingsFor(spec, dataDirectory));
    try {
      const checked = await checkCommits(instance.backend);
      return await measureCommits(instance, spec, checked);
    } finally {
      await instance.close();
    }
  } finally {
    rmSync(dataDirectory, { recursive: true });
  }
}

function settingsFor(spec: WalCommitsSpec, dataDirectory: string): InstanceSettings {
  const { method, syncMethod, direct } = spec;
  return {
    ioMethod: method,
    ioMinWorkers: 2,
    ioMaxWorkers: 2,
    sharedBuffers: '1MB',
    wal: { dataDirectory, syncMethod, direct, segmentSize: SEGMENT_SIZE },
  };
}

async function measureCommits(
  instance: Instance,
  spec: WalCommitsSpec,
  checked: number,
): Promise<Measurement> {
  const { backend } = instance;
  const { seconds, commitsMax = Infinity } = spec;
  if (spec.how === 'threads') {
    const { threads = 1, committers, payload } = spec;
    assert(payload !== 'page', 'the room of a page is known to one thread only');
    const team = new CommitTeam(threads, {
      handle: instance.handle,
      committers: committers / threads,
      payload,
    });
    await team.commit(seconds);
    const measurement = await measureOnce(checked, () => team.commit(seconds));
    await team.close();
    return measurement;
  }
  if (commitsMax !== Infinity) makeSegments(backend, commitsMax * (1 + WARM_UP_SHARE) * WAL_PAGE_SIZE);
  const latencies = new Latencies();
  const work = spec.how === 'blocking' ? blockingCommits : awaitedCommits;
  const commit = (share: number): ReturnType<WorkUntil> =>
    work(backend, spec, latencies, commitsMax * share)(performance.now() + seconds * 1000);
  await commit(WARM_UP_SHARE);
  latencies.clear();
  const measurement = await measureOnce(checked, () => commit(1));
  return { ...measurement, latency: latencies.summary() };
}

function makeSegments(backend: Backend, bytes: number): void {
  const { files } = backend.wal.parts.wal;
  const first = Math.floor(backend.wal.insertedUpTo / SEGMENT_SIZE);
  const last = Math.floor((backend.wal.insertedUpTo + bytes) / SEGMENT_SIZE);
  for (let segment = first; segment <= last; segment++) files.make(segment);
}

type Commits = (backend: Backend, spec: WalCommitsSpec, latencies: Latencies, max: number) => WorkUntil;

const blockingCommits: Commits = (backend, spec, latencies, max) => (until) => {
  let commits = 0;
  for (let now = performance.now(); now < until && commits < max; commits++) {
    backend.wal.commitBlocking(PREFIX, payloadOf(backend, spec));
    const then = now;
    now = performance.now();
    latencies.add(now - then);
  }
  return commits;
};

const awaitedCommits: Commits = (backend, spec, latencies, max) => async (until) => {
  let commits = 0;
  const committer = async (): Promise<void> => {
    for (let now = performance.now(); now < until && commits < max;) {
      commits++;
      await backend.wal.commit(PREFIX, payloadOf(backend, spec));
      const then = now;
      now = performance.now();
      latencies.add(now - then);
    }
  };
  await Promise.all(Array.from({ length: spec.committers }, committer));
  return commits;
};

const payloads = new Map<number, Uint8Array>();
/** Of a record whose message does not fit the short form of its length. */
const RECORD_OVERHEAD = logicalMessage(PREFIX, new Uint8Array(WAL_PAGE_SIZE)).length - WAL_PAGE_SIZE;

function payloadOf({ wal }: Backend, { payload }: WalCommitsSpec): Uint8Array {
  let bytes = payload;
  if (bytes === 'page') {
    const room = WAL_PAGE_SIZE - (afterHeader(wal.insertedUpTo, SEGMENT_SIZE) % WAL_PAGE_SIZE);
    bytes = Math.max(0, room - RECORD_OVERHEAD);
  }
  let found = payloads.get(bytes);
  if (found === undefined) payloads.set(bytes, (found = new Uint8Array(bytes).fill(0x61)));
  return found;
}

/** Commits some, and reads them back from the files. */
async function checkCommits(backend: Backend): Promise<number> {
  const committed: string[] = [];
  for (let at = 0; at < CHECKED_COMMITS; at++) {
    const text = `${at} ${'x'.repeat(at * 10)}`;
    committed.push(text);
    await backend.wal.commit(PREFIX, text);
  }
  const found: string[] = [];
  for await (const { payload } of backend.wal.messages()) found.push(Buffer.from(payload).toString());
  assert.deepEqual(found, committed);
  return CHECKED_COMMITS;
}
