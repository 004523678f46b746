/** Commits to the WAL against system calls that make the same bytes durable. */
import { mkdirSync } from 'node:fs';
import type { IoMethodName, WalSyncMethod } from '../../src/base/settings.js';
import { findProgram } from '../found.js';
import type { BareWritesSpec } from '../jobs/bare-writes.js';
import { runJob } from '../jobs/job.js';
import type { WalCommitsSpec } from '../jobs/wal-commits.js';
import { whyNotDurable } from '../data/durable.js';
import { fioWritesName, runFioWrites, type FioWritesSpec } from '../peers/fio-writes.js';
import { TestFsync, type FsyncFigure } from '../peers/test-fsync.js';
import type { Bench, Case, Plan, Scenario, Target } from '../scenario.js';

const MESSAGE_BYTES = 100;
const PAGE_BYTES = 8192;

/** What makes a write durable, and how it is called here. */
interface Durability {
  readonly name: string;
  readonly syncMethod: WalSyncMethod;
  readonly direct: boolean;
}

const FDATASYNC: Durability = { name: 'fdatasync', syncMethod: 'fdatasync', direct: false };
const OPEN_DATASYNC: Durability = { name: 'open_datasync', syncMethod: 'open_datasync', direct: false };
const DIRECT: Durability = { name: 'open_datasync, direct', syncMethod: 'open_datasync', direct: true };
const DURABILITIES = [FDATASYNC, OPEN_DATASYNC, DIRECT];

/** The files are the case's own: nothing is to be in the page cache before. */
const anyCache = { pageCache: 'any', files: [] } as const;

class WalCases {
  readonly #bench: Bench;

  constructor(bench: Bench) {
    this.#bench = bench;
    mkdirSync(bench.walDirectory, { recursive: true });
  }

  commits(
    name: string,
    method: IoMethodName,
    { syncMethod, direct }: Durability,
    rest: Pick<WalCommitsSpec, 'how' | 'committers' | 'payload'> & Partial<WalCommitsSpec>,
  ): Case {
    const { walDirectory: directory, seconds } = this.#bench;
    const spec = { method, syncMethod, direct, directory, seconds, ...rest };
    return { name, ...anyCache, measure: () => runJob('wal-commits', spec) };
  }

  bare(
    name: string,
    { syncMethod, direct }: Durability,
    rest: Pick<BareWritesSpec, 'bytes' | 'stride'> & Partial<BareWritesSpec>,
  ): Case {
    const { walDirectory: directory, seconds } = this.#bench;
    const spec = { how: 'blocking', syncMethod, direct, directory, seconds, ...rest } as const;
    return { name, ...anyCache, measure: () => runJob('bare-writes', spec) };
  }

  fio({ syncMethod, direct }: Durability, depth: number): Case {
    const { walDirectory: directory, seconds } = this.#bench;
    const spec: FioWritesSpec = { syncMethod, direct, blockSize: PAGE_BYTES, depth, directory, seconds };
    const { value, missing } = findProgram('fio');
    return {
      name: fioWritesName(spec),
      ...anyCache,
      ...(missing === null ? {} : { missing }),
      measure: () => runFioWrites(value ?? 'fio', spec),
    };
  }

  async testFsync(figures: readonly FsyncFigure[]): Promise<Case[]> {
    const { value, missing } = this.#bench.postgres;
    const reason = value === null ? missing : await value.whyNot('pg_test_fsync');
    const peer = value === null ? null : new TestFsync(value);
    return figures.map((figure) => ({
      name: `pg_test_fsync ${figure.method}, ${figure.writes} × 8 kB`,
      ...anyCache,
      ...(reason === null ? {} : { missing: reason }),
      measure: () => {
        if (peer === null) throw new Error(reason ?? 'there is no PostgreSQL');
        return peer.measure(figure);
      },
    }));
  }
}

function whyNotHere({ walDirectory }: Bench): string | null {
  return whyNotDurable(walDirectory);
}

const COMMITTERS = 16;
const EACH_SYNCS = 'system calls, a write and an fdatasync a message';

export const walGroup: Scenario = {
  name: 'wal-group',
  about: `${COMMITTERS} committers of messages of ${MESSAGE_BYTES} bytes, fdatasync`,
  unit: 'commits',
  missing: whyNotHere,
  plan: (bench): Plan => {
    const make = new WalCases(bench);
    const payload = MESSAGE_BYTES;
    const committers = COMMITTERS;
    const cases = bench.methods.flatMap((method) => [
      make.commits(`${method}, in 1 thread`, method, FDATASYNC, { how: 'await', committers, payload }),
      ...[2, 4].map((threads) =>
        make.commits(`${method}, in ${threads} threads`, method, FDATASYNC, {
          how: 'threads',
          threads,
          committers,
          payload,
        }),
      ),
    ]);
    const each = make.bare(EACH_SYNCS, FDATASYNC, { bytes: MESSAGE_BYTES, stride: MESSAGE_BYTES });
    return {
      cases: [...cases, each],
      targets: cases.map(({ name }) => ({
        text: `${name}: 5 × one fdatasync a commit`,
        of: [name],
        atLeast: 5,
        over: [EACH_SYNCS],
      })),
    };
  },
};

const DEPTHS = [1, 4, 16];
const PIPELINE_COMMITS = 16_384;

export const walPipeline: Scenario = {
  name: 'wal-pipeline',
  about: 'committers each of whose messages fills a page of the WAL, open_datasync past the page cache',
  unit: 'commits',
  missing: whyNotHere,
  plan: (bench): Plan => {
    const make = new WalCases(bench);
    const name = (method: IoMethodName, depth: number): string => `${method}, ${depth} at once`;
    const cases = bench.methods.flatMap((method) =>
      DEPTHS.map((committers) =>
        make.commits(name(method, committers), method, DIRECT, {
          how: 'await',
          committers,
          payload: 'page',
          commitsMax: PIPELINE_COMMITS,
        }),
      ),
    );
    return {
      cases: [
        ...cases,
        make.bare('system calls, one write at a time', DIRECT, { bytes: PAGE_BYTES, stride: PAGE_BYTES }),
        ...DEPTHS.map((depth) => make.fio(DIRECT, depth)),
      ],
      targets: bench.methods.map((method) => ({
        text: `${method}: 3 × one at a time`,
        of: [name(method, Math.max(...DEPTHS))],
        atLeast: 3,
        over: [name(method, 1)],
      })),
    };
  },
};

const BARE = 'system calls';
const NODE = 'FileHandle';

export const walLatency: Scenario = {
  name: 'wal-latency',
  about: `one committer of messages of ${MESSAGE_BYTES} bytes, a page written and durable each`,
  unit: 'commits',
  missing: whyNotHere,
  plan: async (bench): Promise<Plan> => {
    const make = new WalCases(bench);
    const cases: Case[] = [];
    const targets: Target[] = [];
    for (const durability of DURABILITIES) {
      const bare = `${BARE}, ${durability.name}`;
      const awaited = `${NODE}, ${durability.name}`;
      const page = { bytes: PAGE_BYTES, stride: 0 };
      cases.push(make.bare(bare, durability, page));
      cases.push(make.bare(awaited, durability, { ...page, how: 'await' }));
      for (const method of bench.methods) {
        for (const how of ['blocking', 'await'] as const) {
          const name = `${method}, ${durability.name}, ${how}`;
          const rest = { how, committers: 1, payload: MESSAGE_BYTES };
          cases.push(make.commits(name, method, durability, rest));
          targets.push({ text: `${name}: 1.2 × ${bare}`, of: [name], atMostLatency: 1.2, over: [bare] });
          if (how === 'await')
            targets.push({
              text: `${name}: 1.0 × ${awaited}`,
              of: [name],
              atMostLatency: 1,
              over: [awaited],
            });
        }
      }
      const twice = { bytes: 2 * PAGE_BYTES, stride: 0 };
      cases.push(make.bare(`${BARE}, 2 pages, ${durability.name}`, durability, twice));
      cases.push(make.fio(durability, 1));
    }
    const figures = [1, 2].flatMap((writes) =>
      ['fdatasync', 'open_datasync'].map((method) => ({ writes, method }) as FsyncFigure),
    );
    return { cases: [...cases, ...(await make.testFsync(figures))], targets };
  },
};
