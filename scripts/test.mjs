// `npm test`: set-up, every check, every test. `npm test -- PATTERN...`: only the test files whose path contains one
// of the patterns, and no checks.
import { say } from './command.mjs';
import { lint } from './lint.mjs';
import { runTests, testFiles } from './run-tests.mjs';
import { setup } from './setup.mjs';

const patterns = process.argv.slice(2);
await setup();
const files = testFiles(patterns);

// Once, and not by each test that wants it. Where it cannot be had, they say so.
if (patterns.length === 0) {
  const postgres = await import('../dist/testing/postgres/binaries.js');
  if (postgres.embeddedPostgresMissing() === null)
    await postgres.ensureEmbeddedPostgres().catch((error) => say(error.message));
}

const failedChecks = patterns.length === 0 ? await lint() : [];
const testsPassed = await runTests(files);
// Said last, where it is not lost above the tests' output.
for (const name of failedChecks) say(`the check '${name}' FAILED, see above`);
process.exitCode = failedChecks.length === 0 && testsPassed ? 0 : 1;
