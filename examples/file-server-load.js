/**
 * The load test of file-server.js: many clients read random ranges of a file that is larger than the cache, and compare
 * each byte; some go away in the middle. In the end nothing may be pinned, in flight, or open.
 *
 *   node examples/file-server-load.js [--seconds 60] [--clients 32] [--threads 2] [--aborts 0.2]
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers';
import { parseArgs } from 'node:util';
import { serveFile } from './file-server.js';

const FILE_BYTES = 64 * 2 ** 20;
const RANGE_BYTES_MAX = 2 ** 20;
/** What garbage collection leaves lying about; a leak would be more. */
const MEMORY_BYTES_MORE = 256 * 2 ** 20;
/** A prime: no block is like another one. Twice, so that what begins anywhere in it is in one piece. */
const PERIOD = 1_000_003;
const period = Buffer.from(
  Array.from({ length: PERIOD }, (_, at) => Math.imul(at + 1, 2_654_435_761) >>> 24),
);
const pattern = Buffer.concat([period, period]);

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    clients: { type: 'string', default: '32' },
    threads: { type: 'string', default: '2' },
    aborts: { type: 'string', default: '0.2' },
  },
});
const [seconds, clients, threads, aborts] = Object.values(values).map(Number);

const home = mkdtempSync(join(tmpdir(), 'pgaio-load-'));
const path = join(home, 'file');
for (let at = 0; at < FILE_BYTES; at += PERIOD)
  writeFileSync(path, period.subarray(0, FILE_BYTES - at), { flag: 'a' });

const openFiles = () => readdirSync('/proc/self/fd').length;
const megabytes = (bytes) => Math.round(bytes / 2 ** 20);
const served = await serveFile(path, { threads, cache: '16MB' });
const { instance, addresses } = served;
const agent = new Agent({ keepAlive: true, maxSockets: clients });
const counts = { requests: 0, aborted: 0, bytes: 0 };

/** One request. Resolves when all of it has come and was right, or when we went away. */
function request(address) {
  const start = Math.floor(Math.random() * (FILE_BYTES - 1));
  const length = Math.min(FILE_BYTES - start, 1 + Math.floor(Math.random() * RANGE_BYTES_MAX));
  const leaveAfter = Math.random() < aborts ? Math.random() * length : Infinity;
  const headers = { range: `bytes=${start}-${start + length - 1}` };
  return new Promise((resolve, reject) => {
    const sent = get(address, { agent, headers }, (response) => {
      let got = 0;
      if (response.statusCode !== 206) reject(new Error(`status ${response.statusCode}`));
      response.on('data', (chunk) => {
        for (let at = 0; at < chunk.length;) {
          const from = (start + got + at) % PERIOD;
          const part = chunk.subarray(at, at + PERIOD);
          if (!part.equals(pattern.subarray(from, from + part.length)))
            reject(new Error(`other bytes than the file's, behind ${start + got + at}`));
          at += part.length;
        }
        got += chunk.length;
        counts.bytes += chunk.length;
        if (got > leaveAfter) {
          counts.aborted++;
          response.destroy();
          resolve();
        }
      });
      response.on('end', () => (got === length ? resolve() : reject(new Error(`${got} of ${length} bytes`))));
      response.on('error', (error) => (got > leaveAfter ? resolve() : reject(error)));
    });
    sent.on('error', reject);
  });
}

async function client(number, until) {
  while (performance.now() < until) {
    await request(addresses[number % addresses.length]);
    counts.requests++;
  }
}

async function run(length) {
  const until = performance.now() + length * 1000;
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number, until)));
}

try {
  await run(Math.min(1, seconds / 4)); // to have loaded, compiled and allocated what there is
  const before = { files: openFiles(), rss: process.memoryUsage.rss() };
  Object.assign(counts, { requests: 0, aborted: 0, bytes: 0 });
  await run(seconds);
  agent.destroy();
  const file = await instance.backend.openCachedFile(path);
  // Who went away last is noticed a moment later.
  const isQuiet = () =>
    file.residency().pinned === 0 && instance.inFlight().every(({ state }) => state === 'HANDED_OUT');
  for (let turns = 0; turns < 1000 && !isQuiet(); turns++) await new Promise(setImmediate);
  const left = { pinned: file.residency().pinned, inFlight: instance.inFlight().length };
  await file.close();
  const grown = openFiles() - before.files;
  console.log(
    `${counts.requests} requests (${counts.aborted} left early), ${megabytes(counts.bytes)} MB, ` +
      `${Math.round(counts.requests / seconds)} a second, ${megabytes(counts.bytes / seconds)} MB/s`,
  );
  console.log(
    `pinned ${left.pinned}, in flight ${left.inFlight}, descriptors ${grown <= 0 ? 'none more' : `${grown} more`}, ` +
      `memory ${megabytes(before.rss)} -> ${megabytes(process.memoryUsage.rss())} MB`,
  );
  const isFlat = process.memoryUsage.rss() < before.rss + MEMORY_BYTES_MORE;
  if (left.pinned > 0 || left.inFlight > 0 || grown > 0 || !isFlat) process.exitCode = 1;
} catch (error) {
  console.error(`wrong: ${error.message}`);
  process.exitCode = 1;
} finally {
  agent.destroy();
  await served.close();
  rmSync(home, { recursive: true });
}
