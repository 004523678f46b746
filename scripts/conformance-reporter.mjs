// A reporter for scripts/conformance.mjs: a line of JSON for each test that has ended, with the names around it.
import { FileDeaths } from './test-deaths.mjs';

const deaths = new FileDeaths();
deaths.watchProcesses();

export default async function* report(events) {
  /** Names by depth; a file's tests are reported together, each `describe` before what is in it. */
  let names = [];
  for await (const event of events) {
    deaths.observe(event);
    const { type, data } = event;
    if (type === 'test:start') names = [...names.slice(0, data.nesting), data.name];
    if (type !== 'test:pass' && type !== 'test:fail') continue;
    const outcome = outcomeOf(event);
    if (data.details?.type === 'suite' && outcome === 'passed') continue;
    const error = data.details?.error;
    yield `${JSON.stringify({
      file: data.file ?? null,
      names: [...names.slice(0, data.nesting), data.name],
      suite: data.details?.type === 'suite',
      outcome,
      reason: typeof data.skip === 'string' ? data.skip : (error?.cause?.message ?? error?.message ?? null),
    })}\n`;
  }
  for await (const text of deaths.describe()) yield `${JSON.stringify({ death: text })}\n`;
}

function outcomeOf({ type, data }) {
  if (type === 'test:fail') return 'failed';
  const isSet = (value) => value !== undefined && value !== false;
  return isSet(data.skip) || isSet(data.todo) ? 'skipped' : 'passed';
}
