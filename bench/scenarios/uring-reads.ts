/** Random reads with io_uring against Node's own functions and fio: cached, past the page cache, and cold. */
import type { Bench, Case, Plan, Scenario, Target } from '../scenario.js';
import { ReadCases, type ReadKind } from './read-cases.js';

const LIBUV_THREADS = 4;
const FS_READ = `fs.read, pool ${LIBUV_THREADS}`;
const FILE_HANDLE_READ = `FileHandle.read, pool ${LIBUV_THREADS}`;
const LARGE_BYTES = 131_072;

/** Many in flight without a promise each. */
export const uringWindow: readonly string[] = ['io_uring, awaiting', 'io_uring, blocking'];
/** `File.read`, which copies; handles; and handles of which those of one turn of the loop are started together. */
const URING_PROMISES = [
  'io_uring, a promise each',
  'io_uring, a promise each, not copied',
  'io_uring, a promise each, not copied, batched',
];
const ALWAYS = 'io_uring, blocking, always IOSQE_ASYNC';
const NEVER = 'io_uring, blocking, never IOSQE_ASYNC';

export function uringCases(make: ReadCases): Case[] {
  const [awaiting, blocking] = uringWindow as [string, string];
  const [copied, each, batched] = URING_PROMISES as [string, string, string];
  return [
    make.pgaio(awaiting, 'pgaio await', 'io_uring'),
    make.pgaio(blocking, 'pgaio', 'io_uring'),
    make.pgaio(copied, 'pgaio promises', 'io_uring'),
    make.pgaio(each, 'pgaio handle promises', 'io_uring'),
    make.pgaio(batched, 'pgaio batched promises', 'io_uring'),
  ];
}

/** The method's own rule for IOSQE_ASYNC, and the two that do not look. */
function ruleCases(make: ReadCases): Case[] {
  return [
    make.pgaio(ALWAYS, 'pgaio', 'io_uring', { punt: true }),
    make.pgaio(NEVER, 'pgaio', 'io_uring', { punt: false }),
  ];
}

const ruleTarget: Target = {
  text: '0.95 × the better of always and never IOSQE_ASYNC',
  of: ['io_uring, blocking'],
  atLeast: 0.95,
  over: [ALWAYS, NEVER],
};

function atLeast(factor: number, peer: string, over: string, of = uringWindow): Target {
  return { text: `${factor} × ${peer}`, of, atLeast: factor, over: [over] };
}

/** What is compared with fs.read at a depth beyond its threads. */
export function fsReadTargets(factor: number, cpu: number): Target[] {
  return [
    atLeast(factor, FS_READ, FS_READ),
    { text: `${cpu} × the CPU of ${FS_READ}`, of: uringWindow, atMostCpu: cpu, over: [FS_READ] },
  ];
}

const DEPTH = 64;

export const uringRead: Scenario = {
  name: 'uring-read',
  about: `cached random 8 KiB reads, ${DEPTH} in flight: io_uring`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { depth: DEPTH });
    const batched = make.fio('io_uring', DEPTH);
    return {
      cases: [
        ...uringCases(make),
        ...ruleCases(make),
        batched,
        make.fio('io_uring'),
        make.fs('read', LIBUV_THREADS),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fs('readSync'),
      ],
      targets: [
        atLeast(1.2, 'fio, batched', batched.name),
        atLeast(2.2, FS_READ, FS_READ),
        atLeast(4, 'FileHandle.read', FILE_HANDLE_READ),
        atLeast(1, 'fio, batched, with a promise each', batched.name, URING_PROMISES),
        ruleTarget,
      ],
    };
  },
};

/** The rules for IOSQE_ASYNC, and two peers. */
function ruleScenario(name: string, about: string, kind: ReadKind): Scenario {
  return {
    name,
    about,
    unit: 'reads',
    plan: (bench: Bench): Plan => {
      const make = new ReadCases(bench, kind);
      const adaptive = make.pgaio('io_uring, blocking', 'pgaio', 'io_uring');
      const awaiting = make.pgaio('io_uring, awaiting', 'pgaio await', 'io_uring');
      const peers = [make.fio('io_uring'), make.fs('read', LIBUV_THREADS)];
      return { cases: [adaptive, ...ruleCases(make), awaiting, ...peers], targets: [ruleTarget] };
    },
  };
}

const LARGE_DEPTH = 16;

export const uringReadLarge: Scenario = ruleScenario(
  'uring-read-128k',
  `cached random 128 KiB reads, ${LARGE_DEPTH} in flight: io_uring and its rule for IOSQE_ASYNC`,
  { blockSize: LARGE_BYTES, depth: LARGE_DEPTH },
);

export const coldRead: Scenario = ruleScenario(
  'cold-read',
  `random 8 KiB reads through the page cache from storage, ${DEPTH} in flight`,
  { cold: true, depth: DEPTH },
);

export const coldReadLarge: Scenario = ruleScenario(
  'cold-read-128k',
  `random 128 KiB reads through the page cache from storage, ${LARGE_DEPTH} in flight`,
  { cold: true, blockSize: LARGE_BYTES, depth: LARGE_DEPTH },
);
