/** All other tests of the addon once more, with an addon in which every access of memory is checked. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compilerMissing, findCompiler } from '../../testing/compiler.js';
import { addonMissing } from '../../testing/native-ring.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const compiler = findCompiler();
const library = compiler === null ? null : sanitizerOf(compiler);
const missing = library === null ? `the compiler (${compiler}) has no AddressSanitizer to preload` : false;

const files = readdirSync(join(root, 'dist/test/native')).filter((name) =>
  /^addon-(?!build|sanitized).*\.test\.js$/.test(name),
);
/** A file takes a quarter of a minute at most: one that hangs is ended, before this file is. */
const FILE_MILLIS_MAX = 150_000;

/** Node never frees what it keeps to its end, so that leaks are looked for elsewhere: in what the process maps and opens. */
const environment = {
  LD_PRELOAD: library ?? '',
  ASAN_OPTIONS: 'detect_leaks=0:quarantine_size_mb=8',
  UBSAN_OPTIONS: 'print_stacktrace=1',
};

/** The library that must be there before anything else, or null. */
function sanitizerOf(program: string): string | null {
  const { stdout } = spawnSync(program, ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return isAbsolute(stdout.trim()) ? stdout.trim() : null;
}

describe('with AddressSanitizer', { skip: compilerMissing() || addonMissing() || missing }, () => {
  const copy = mkdtempSync(join(tmpdir(), 'pgaio-sanitized-'));
  after(() => rmSync(copy, { recursive: true }));

  before(() => {
    for (const path of ['package.json', 'dist/src', 'dist/testing', 'dist/test/native']) {
      cpSync(join(root, path), join(copy, path), { recursive: true });
    }
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
    const { include_dir: headers } = createRequire(import.meta.url)('node-api-headers') as {
      include_dir: string;
    };
    const flags = [
      '-std=c11',
      '-Wall',
      '-Wextra',
      '-g',
      '-O1',
      '-fPIC',
      '-shared',
      '-fno-omit-frame-pointer',
    ];
    flags.push('-fsanitize=address,undefined', '-fno-sanitize-recover=undefined', '-I', headers);
    const output = join(copy, `dist/src/native/linux-${process.arch}.node`);
    const args = [...flags, '-o', output, join(root, 'src/native/addon.c')];
    const { status, stderr } = spawnSync(compiler ?? '', args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  });

  it('an access that is wrong would be seen', () => {
    // The same compiler and options, on a program whose fault is certain.
    const program =
      'int main(int count, char **words) { char bytes[4]; (void)words; return bytes[count + 4] = 0; }';
    const wrong = join(copy, 'wrong');
    const args = ['-xc', '-', '-g', '-fsanitize=address', '-o', wrong];
    assert.equal(spawnSync(compiler ?? '', args, { input: program }).status, 0);
    const { status, stderr } = spawnSync(wrong, { encoding: 'utf8', env: environment });
    assert.notEqual(status, 0);
    assert.match(stderr, /AddressSanitizer: stack-buffer-overflow/);
  });

  for (const file of files) {
    it(`${file} passes and is clean`, { timeout: FILE_MILLIS_MAX }, async ({ signal }) => {
      const output = await runFile(join(copy, 'dist/test/native', file), signal);
      assert.doesNotMatch(output, /AddressSanitizer|UndefinedBehaviorSanitizer|runtime error:/);
    });
  }
});

/** Everything that a test file prints, which must pass. When the test is aborted, what it printed is said aloud. */
async function runFile(path: string, signal: AbortSignal): Promise<string> {
  const env = { ...process.env, ...environment, NODE_TEST_CONTEXT: undefined };
  const child = spawn(process.execPath, [path], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  // A test that has ended is aborted, too.
  signal.addEventListener('abort', () => {
    if (child.kill('SIGKILL')) process.stderr.write(output);
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  }
  const code = await new Promise((resolve) => child.once('close', resolve));
  assert.equal(code, 0, output);
  return output;
}
