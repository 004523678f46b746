// The main job of `npm start`: a real PostgreSQL 18 cluster, verified under every method that this machine offers.
import Table from 'cli-table3';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { giveUp, root, say } from './command.mjs';
import { withLock } from './lock.mjs';

const methods = ['sync', 'worker', 'io_uring'];

/** Returns the exit code: the worst of the verifications'. */
export async function demonstrate() {
  const { embeddedPostgresMissing } = await load('testing/postgres/binaries.js');
  const { ensureDemoCluster } = await load('testing/postgres/demo-cluster.js');
  const missing = embeddedPostgresMissing();
  if (missing !== null) giveUp(`${missing}; verify a cluster of your own with: npm start -- verify PATH`);
  // Whoever starts a second demonstration meanwhile waits for the cluster that the first one is making.
  const onWait = (pid) => say(`waiting for the cluster that process ${pid} is making`);
  const directory = await withLock(join(root, '.cache/demo.lock'), onWait, () =>
    ensureDemoCluster(say).catch((error) => giveUp(`cannot make a cluster to verify: ${error.message}`)),
  );
  const { verifyPaths } = await load('src/cli/verify/verify-paths.js');

  console.log(`Verifying ${directory} (PostgreSQL 18, checksums on, stopped)`);
  const table = new Table({
    head: ['method', 'blocks', 'time', 'throughput', 'CPU time', 'waits'],
    style: { head: [], border: [] },
  });
  const unavailable = [];
  let exitCode = 0;
  for (const method of methods) {
    try {
      const report = await verifyPaths({ paths: [directory], method });
      exitCode = Math.max(exitCode, report.exitCode);
      table.push(describe(report));
      for (const { message } of report.problems) console.log(message);
    } catch (error) {
      if (error.code !== 'ERR_PGAIO_METHOD_UNAVAILABLE') throw error;
      unavailable.push(`${method} is not available here: ${error.message}`);
    }
  }
  console.log(table.toString());
  for (const line of unavailable) console.log(line);
  console.log('Try it on a cluster of your own: npm start -- verify PATH');
  return exitCode;
}

/** A compiled module, by its path below dist; imported late, because set-up may only just have made it. */
function load(module) {
  return import(pathToFileURL(join(root, 'dist', module)).href);
}

function describe({ method, blocks, bytes, bad, seconds, io }) {
  return [
    method,
    bad === 0 ? `${blocks}, all good` : `${blocks}, ${bad} BAD`,
    `${seconds.toFixed(2)} s`,
    `${(bytes / seconds / 2 ** 20).toFixed(0)} MB/s`,
    `${io.cpuSeconds.toFixed(2)} s`,
    `${io.waits}`,
  ];
}
