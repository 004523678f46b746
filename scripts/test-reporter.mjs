// Node's `spec` report, and behind it every skipped test with its reason: what was not proved must be seen. The
// runner's own totals are held back to stand at the very end. Behind them only what fails the run although no test
// did: a process that died; and in continuous integration io_uring must be there, or its tests would be skipped for
// ever and nobody would know.
import { once } from 'node:events';
import { spec as Spec } from 'node:test/reporters';
import { inCi } from './command.mjs';
import { FileDeaths } from './test-deaths.mjs';

// Watched from the import on: the runner begins before it asks for the first line of the report.
const deaths = new FileDeaths();
deaths.watchProcesses();

export default async function* report(events) {
  const skips = [];
  const totals = [];
  const spec = new Spec();
  const feeding = (async () => {
    for await (const event of events) {
      deaths.observe(event);
      if (isTotal(event)) {
        totals.push(event.data.message);
        continue;
      }
      const { type, data } = event;
      if ((type === 'test:pass' || type === 'test:fail') && isSet(data.skip)) skips.push(data);
      if (!spec.write(event)) await once(spec, 'drain');
    }
    spec.end();
  })();
  yield* spec;
  await feeding;
  yield* describeSkips(skips);
  yield `${totals.map((total) => `ℹ ${total}`).join('\n')}\n`;
  yield* deaths.describe();
  yield* refuseSkips(skips);
}

function* refuseSkips(skips) {
  const refused = skips.filter(({ skip }) => typeof skip === 'string' && skip.startsWith('io_uring'));
  if (!inCi || refused.length === 0) return;
  process.exitCode = 1;
  const what = refused.length === 1 ? 'a test of io_uring was' : `${refused.length} tests of io_uring were`;
  yield `✖ ${what} skipped, which continuous integration (CI is set) does not allow: ${refused[0].skip}\n`;
}

/** `tests 12`, `pass 11` and so on, which the runner gives as diagnostics that belong to no test. */
function isTotal({ type, data }) {
  return (
    type === 'test:diagnostic' &&
    data.nesting === 0 &&
    /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) [\d.]+$/.test(data.message)
  );
}

function isSet(skip) {
  return skip !== undefined && skip !== false;
}

function* describeSkips(skips) {
  if (skips.length === 0) return;
  const byReason = new Map();
  for (const { name, skip } of skips) {
    const reason = typeof skip === 'string' && skip !== '' ? skip : 'NO REASON GIVEN';
    byReason.set(reason, [...(byReason.get(reason) ?? []), name]);
  }
  yield `\nskipped: ${skips.length}\n`;
  for (const [reason, names] of byReason) {
    yield `  ${names.length} × ${reason}\n`;
    for (const name of names) yield `      ${name}\n`;
  }
  yield '\n';
}
