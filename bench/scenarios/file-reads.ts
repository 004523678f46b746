/** Random 8 KiB reads of a file: handles and callbacks against Node's own functions and fio. */
import type { Plan, Scenario } from '../scenario.js';
import { ReadCases } from './read-cases.js';
import { fsReadTargets, uringCases, uringWindow } from './uring-reads.js';

const DEPTH = 64;

export const syncRead: Scenario = {
  name: 'sync-read',
  about: 'cached random 8 KiB reads, one at a time: the sync method against fs.readSync',
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { depth: 1 });
    const withoutAddon = 'sync, without the addon';
    return {
      cases: [
        make.pgaio('sync', 'pgaio', 'sync'),
        make.pgaio(withoutAddon, 'pgaio', 'sync', { withoutAddon: true }),
        make.fs('readSync'),
        make.fio('psync'),
      ],
      targets: [
        { text: '1.0 × fs.readSync', of: ['sync'], atLeast: 1, over: ['fs.readSync'] },
        {
          text: '0.9 × fs.readSync without the addon',
          of: [withoutAddon],
          atLeast: 0.9,
          over: ['fs.readSync'],
        },
      ],
    };
  },
};

const LIBUV_THREADS = 4;

export const workerRead: Scenario = {
  name: 'worker-read',
  about: `cached random 8 KiB reads, ${DEPTH} in flight: ${LIBUV_THREADS} workers against libuv's ${LIBUV_THREADS} threads`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { depth: DEPTH });
    const workers = `${LIBUV_THREADS} workers`;
    const variant = { workers: LIBUV_THREADS };
    return {
      cases: [
        make.pgaio(`${workers}, awaiting`, 'pgaio await', 'worker', variant),
        make.pgaio(`${workers}, blocking`, 'pgaio', 'worker', variant),
        make.pgaio(`${workers}, a promise each`, 'pgaio promises', 'worker', variant),
        make.fs('read', LIBUV_THREADS),
        make.fs('read', 16),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fio('io_uring', DEPTH),
      ],
      targets: [
        {
          text: '1.1 × fs.read',
          of: [`${workers}, awaiting`, `${workers}, blocking`],
          atLeast: 1.1,
          over: [`fs.read, pool ${LIBUV_THREADS}`],
        },
      ],
    };
  },
};

const DIRECT_WORKERS = 8;

export const directRead: Scenario = {
  name: 'direct-read',
  about: `random 8 KiB reads past the page cache (O_DIRECT), ${DEPTH} in flight`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { direct: true, depth: DEPTH });
    const variant = { workers: DIRECT_WORKERS };
    const fio = make.fio('io_uring');
    return {
      cases: [
        ...uringCases(make),
        make.pgaio(`${DIRECT_WORKERS} workers, awaiting`, 'pgaio await', 'worker', variant),
        make.pgaio(`${DIRECT_WORKERS} workers, blocking`, 'pgaio', 'worker', variant),
        make.pgaio('sync (one at a time)', 'pgaio', 'sync'),
        make.fs('read', LIBUV_THREADS),
        make.fs('read', 16),
        make.fs('FileHandle.read', LIBUV_THREADS),
        make.fs('readSync'),
        fio,
      ],
      targets: [
        { text: '0.9 × fio', of: uringWindow, atLeast: 0.9, over: [fio.name] },
        ...fsReadTargets(2.2, 0.25),
        {
          text: `1.3 × fs.read, pool 4, with ${DIRECT_WORKERS} workers`,
          of: [`${DIRECT_WORKERS} workers, awaiting`, `${DIRECT_WORKERS} workers, blocking`],
          atLeast: 1.3,
          over: [`fs.read, pool ${LIBUV_THREADS}`],
        },
      ],
    };
  },
};

const SHALLOW_DEPTH = 16;

export const directReadShallow: Scenario = {
  name: 'direct-read-16',
  about: `random 8 KiB reads past the page cache (O_DIRECT), ${SHALLOW_DEPTH} in flight`,
  unit: 'reads',
  plan: (bench): Plan => {
    const make = new ReadCases(bench, { direct: true, depth: SHALLOW_DEPTH });
    const fio = make.fio('io_uring');
    return {
      cases: [...uringCases(make), make.fs('read', LIBUV_THREADS), fio],
      targets: [
        { text: '0.8 × fio', of: uringWindow, atLeast: 0.8, over: [fio.name] },
        ...fsReadTargets(1.7, 0.25),
      ],
    };
  },
};
