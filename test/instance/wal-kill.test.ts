/**
 * Programs that commit are killed (SIGKILL) at random points, again and again over the same data directory. What they
 * had said was durable is there, once and whole; what they had not is there whole, or not at all; and the same of programs that change pages. 27 kills in all;
 * PGAIO_STRESS_ROUNDS multiplies them, PGAIO_STRESS_SEED repeats what is drawn (not where the kill strikes).
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { IoMethodName, WalSyncMethod } from '../../src/base/settings.js';
import { createInstance } from '../../src/instance/instance.js';
import { isFine, pageVerdict } from '../../src/page/page-verdict.js';
import { forEachMethod } from '../../testing/instances.js';
import { addCounts, RELATION, type LaneCount } from '../../testing/page-counters.js';
import { seededRandom } from '../../testing/random.js';
import type { CommitterOptions } from '../../testing/wal-committer-main.js';
import { checkMessage } from '../../testing/wal-messages.js';
import { walMessages } from '../../testing/wal-records.js';

const programs = {
  committer: fileURLToPath(new URL('../../testing/wal-committer-main.js', import.meta.url)),
  changer: fileURLToPath(new URL('../../testing/wal-changer-main.js', import.meta.url)),
};
const kills = 3 * Number(process.env['PGAIO_STRESS_ROUNDS'] ?? 1);
const seed = Number(process.env['PGAIO_STRESS_SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const SEGMENT_SIZE = 2 ** 20;

/** Runs one until it has acknowledged so many, and kills it; resolves with what it had acknowledged. */
async function runAndKill(
  program: keyof typeof programs,
  options: CommitterOptions,
  after: number,
): Promise<string[]> {
  const child = spawn(process.execPath, [programs[program], JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const acknowledged: string[] = [];
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  createInterface({ input: child.stdout }).on('line', (line) => {
    acknowledged.push(line);
    if (acknowledged.length === after) child.kill('SIGKILL');
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
  assert.deepEqual([code, signal, errors], [null, 'SIGKILL', '']);
  return acknowledged;
}

async function killAgainAndAgain(
  ioMethod: IoMethodName,
  syncMethod: 'fdatasync' | 'open_datasync',
): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), 'pgaio-kill-'));
  const dataDirectory = join(home, 'data');
  const wal = join(dataDirectory, 'pg_wal');
  const random = seededRandom(seed);
  const acknowledged: string[] = [];
  const found = (): string[] => {
    const messages = walMessages(wal, SEGMENT_SIZE);
    messages.forEach(checkMessage);
    return messages.map(({ prefix }) => prefix);
  };
  const checkAll = (when: string): void => {
    const names = found();
    const there = new Set(names);
    assert.equal(there.size, names.length, `${when}: nothing is there twice`);
    const lost = acknowledged.filter((name) => !there.has(name));
    assert.deepEqual(lost, [], `${when}: everything that was acknowledged is there`);
  };
  try {
    for (let run = 0; run < kills; run++) {
      const direct = random.chance(0.3);
      const options = { dataDirectory, ioMethod, syncMethod, direct, seed: random.bits(), run };
      acknowledged.push(...(await runAndKill('committer', options, 1 + random.below(60))));
      checkAll(`after kill ${run}`);
    }
    const last = await createInstance({
      ioMethod,
      wal: { dataDirectory, keepSize: 'all' },
      log: () => undefined,
    });
    assert.equal(last.recovery?.wasNeeded, true);
    await last.close();
    checkAll('after the last recovery');
    return acknowledged.length;
  } finally {
    rmSync(home, { recursive: true });
  }
}

/** What is in the pages after a recovery, which is tried on a copy: the next life finds what the kill left. */
async function recoveredCounts(dataDirectory: string, ioMethod: IoMethodName): Promise<LaneCount[]> {
  const copy = `${dataDirectory}-copy`;
  cpSync(dataDirectory, copy, { recursive: true });
  rmSync(join(copy, 'postmaster.pid'));
  const instance = await createInstance({
    ioMethod,
    sharedBuffers: '128kB',
    ioMemory: '1MB',
    wal: { dataDirectory: copy },
    log: () => undefined,
  });
  const relation = instance.backend.openRelation(copy, RELATION);
  const counts: LaneCount[] = [];
  for await (const buffer of instance.backend.readStream(relation)) addCounts(buffer.page, counts);
  const blocks = relation.blockCount(0);
  await instance.close();
  const file = readFileSync(join(copy, 'base', '1', String(RELATION.relation)));
  for (let block = 0; block < blocks; block++) {
    const verdict = pageVerdict(file.subarray(block * 8192, (block + 1) * 8192), block);
    assert.ok(isFine(verdict, 0), `block ${block} of what was recovered and closed: ${verdict}`);
  }
  rmSync(copy, { recursive: true });
  return counts;
}

async function killChangers(ioMethod: IoMethodName, syncMethod: WalSyncMethod): Promise<number> {
  const home = mkdtempSync(join(tmpdir(), 'pgaio-kill-'));
  const dataDirectory = join(home, 'data');
  const random = seededRandom(seed);
  const acknowledged = new Map<number, number>();
  try {
    for (let run = 0; run < kills; run++) {
      const direct = random.chance(0.3);
      const options = { dataDirectory, ioMethod, syncMethod, direct, seed: random.bits(), run };
      for (const line of await runAndKill('changer', options, 2 + random.below(80))) {
        const [lane, number] = line.split(' ').map(Number);
        if (number !== undefined) acknowledged.set(lane as number, number);
      }
      const counts = await recoveredCounts(dataDirectory, ioMethod);
      counts.forEach(({ last, count }, lane) => {
        const promised = acknowledged.get(lane) ?? 0;
        assert.ok(
          last >= promised,
          `kill ${run}, lane ${lane}: ${promised} was acknowledged, ${last} is there`,
        );
        assert.equal(count, 2 * last, `kill ${run}, lane ${lane}: each change is there once, on both pages`);
      });
    }
    return [...acknowledged.values()].reduce((sum, number) => sum + number, 0);
  } finally {
    rmSync(home, { recursive: true });
  }
}

forEachMethod((ioMethod) => {
  it(`a program that is killed while it changes pages loses nothing in ${kills} kills, seed ${seed}`, async (context) => {
    const syncMethod = ioMethod === 'worker' ? 'open_datasync' : 'fdatasync';
    context.diagnostic(`${await killChangers(ioMethod, syncMethod)} changes acknowledged`);
  });

  describe('a program that is killed while it commits', { concurrency: 2 }, () => {
    for (const syncMethod of ['fdatasync', 'open_datasync'] as const) {
      it(`${syncMethod}: loses nothing in ${kills} kills, seed ${seed}`, async (context) => {
        context.diagnostic(`${await killAgainAndAgain(ioMethod, syncMethod)} commits acknowledged`);
      });
    }
  });
});
