/** The package as users install it: without a script, without a compiler, into an empty project. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { supportedMethods } from '../src/index.js';
import { compilerMissing } from '../testing/compiler.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const run = promisify(execFile);
const OTHER_ARCH = process.arch === 'x64' ? 'arm64' : 'x64';

/** Uses whatever method works here, and the file that it is in. */
const PROGRAM = `
  const main = async () => {
    const instance = await createInstance({ ioMethod: 'auto', sharedBuffers: '128kB' });
    const bytes = await instance.backend.openRawFile('program.txt').read(0, 3);
    console.log(instance.settings.ioMethod, Buffer.from(bytes).toString());
    await instance.close();
  };
  main();
`;

describe('the package', { skip: compilerMissing() }, () => {
  const home = mkdtempSync(join(tmpdir(), 'pgaio-package-'));
  const project = join(home, 'project');
  let tarball: string;
  after(() => rmSync(home, { recursive: true }));

  before(async () => {
    await run(process.execPath, ['scripts/package.mjs', '--without', OTHER_ARCH, '--to', home], {
      cwd: root,
    });
    const [name] = readdirSync(home).filter((file) => file.endsWith('.tgz'));
    assert(name !== undefined);
    tarball = join(home, name);
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true }');
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'];
    await run('npm', ['install', ...options, tarball], { cwd: project });
    writeFileSync(join(project, 'program.txt'), 'abc');
  });

  it('has nothing that publint or "are the types wrong" find fault with', async () => {
    const bin = join(root, 'node_modules/.bin');
    await run(join(bin, 'publint'), ['run', tarball, '--strict']);
    // Those who `require` it get the ES module, as Node 20.19 and later do it.
    await run(join(bin, 'attw'), [tarball, '--profile', 'esm-only']);
  });

  const programs = {
    'program.mjs': `import { createInstance } from 'pgaio';${PROGRAM}`,
    'program.cjs': `const { createInstance } = require('pgaio');${PROGRAM}`,
  };
  for (const [name, text] of Object.entries(programs)) {
    it(`${name} runs, with the native addon`, async () => {
      writeFileSync(join(project, name), text);
      const { stdout } = await run(process.execPath, [name], { cwd: project });
      assert.equal(stdout, `${supportedMethods().includes('io_uring') ? 'io_uring' : 'worker'} abc\n`);
    });
  }

  it('has its other entries, which need no package besides', async () => {
    const text = `
      import { contentType } from 'pgaio/prometheus';
      import { observeInstance } from 'pgaio/opentelemetry';
      console.log(contentType, typeof observeInstance);`;
    writeFileSync(join(project, 'entries.mjs'), text);
    const { stdout } = await run(process.execPath, ['entries.mjs'], { cwd: project });
    assert.equal(stdout, 'text/plain; version=0.0.4; charset=utf-8 function\n');
  });

  it('has types that need no package besides, but Node’s', async () => {
    const text = `
      import { createInstance, type ReadRange } from 'pgaio';
      import { prometheusText } from 'pgaio/prometheus';
      const ranges: ReadRange[] = [{ position: 0, length: 3 }];
      const instance = await createInstance({ ioMethod: 'auto' });
      const file = await instance.backend.openFile('program.txt');
      const [first]: (Buffer | undefined)[] = await file.readMany(ranges);
      console.log(first?.toString(), prometheusText(instance).length);`;
    writeFileSync(join(project, 'types.mts'), text);
    const options = '--noEmit --strict --target es2022 --module nodenext --types node --typeRoots'.split(' ');
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, ...options, join(root, 'node_modules/@types'), 'types.mts'], {
      cwd: project,
    });
  });

  it('has the examples, which the documentation speaks of', () => {
    const examples = readdirSync(join(project, 'node_modules/pgaio/examples'));
    assert.ok(examples.includes('file-server.js') && examples.every((name) => name.endsWith('.js')));
  });

  it('has the command', async () => {
    const { stdout } = await run(join(project, 'node_modules/.bin/pgaio'), ['--version'], { cwd: project });
    assert.match(stdout, /^\d+\.\d+\.\d+\n$/);
  });
});
