/** The README's programs run as they stand there, on this Node, in plain JavaScript. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isFine, pageVerdict } from '../src/page/page-verdict.js';
import { DataDirectory } from '../testing/relations.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);

function programs(document = 'README.md'): string[] {
  const readme = readFileSync(join(root, document), 'utf8');
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
  const [scan = '', threads = '', writes = '', ...others] = programs();

  it('are three', () => {
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

  it('commit, and change a page', async () => {
    const home = mkdtempSync(join(tmpdir(), 'pgaio-readme-'));
    try {
      const data = join(home, 'data');
      assert.equal(await runProgram(writes, data), 'orders {"id":1}\n');
      assert.equal(
        await runProgram(writes, data),
        'orders {"id":1}\n'.repeat(2),
        'the segment is still there',
      );
      const file = readFileSync(join(data, 'base', '1', '16384'));
      for (const block of [0, 1]) {
        const page = file.subarray(block * 8192, (block + 1) * 8192);
        assert.equal(page.toString('latin1', 24, 29), 'hello');
        assert.ok(isFine(pageVerdict(page, block), 0));
      }
    } finally {
      rmSync(home, { recursive: true });
    }
  });
});

/** What the programs of each page print. */
const documents: Record<string, readonly (string | RegExp)[]> = {
  'cache.md': ['1 { blocks: 1, resident: 1, pinned: 0 }\n20 "{"\n1\n'],
  'guide.md': ['838840320\n', '64\n', '1000\n'],
  'files.md': ['100 100 10 10\n', '90 pgaio\n'],
  'observing.md': ['readv true 100\nfile 1 100\nread true\ntrue\n'],
};

describe('the programs of the documentation', () => {
  for (const name of readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md'))) {
    const found = programs(join('docs', name));
    const outputs = documents[name] ?? [];
    it(`docs/${name} has ${found.length}`, () => assert.equal(found.length, outputs.length));
    for (const [at, output] of outputs.entries())
      it(`number ${at + 1} of docs/${name}`, async () => {
        const printed = await runProgram(found[at] ?? '');
        if (typeof output === 'string') assert.equal(printed, output);
        else assert.match(printed, output);
      });
  }
});
