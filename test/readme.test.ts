/** The README's programs run as they stand there, on this Node, in plain JavaScript. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { DataDirectory } from '../testing/relations.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

function programs(): string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  return [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]!);
}

/** Below the package's own folder, where `pgaio` is the package itself. */
async function runProgram(program: string, ...args: string[]): Promise<string> {
  const folder = mkdtempSync(join(root, 'dist', 'readme-'));
  try {
    writeFileSync(join(folder, 'program.mjs'), program);
    const { stdout, stderr } = await run(process.execPath, [join(folder, 'program.mjs'), ...args], {
      cwd: root,
    });
    assert.equal(stderr, '');
    return stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the programs of the README', () => {
  const [scan = '', threads = '', ...others] = programs();

  it('are two', () => {
    assert.deepEqual(others, []);
  });

  it('scan a relation', async () => {
    using data = new DataDirectory();
    data.write(1259, 3);
    assert.equal(await runProgram(scan, data.path), '0 8192\n1 8192\n2 8192\n');
  });

  it('read a file in another thread', async () => {
    assert.equal(await runProgram(threads), '100\n');
  });
});
