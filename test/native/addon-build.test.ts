/** Building the addon: with a compiler, without one, and with one that fails. The scripts run in a copy of what they need. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compilerMissing } from '../../testing/compiler.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const skip = compilerMissing();
const noCompiler = { PATH: '', CC: '' };
const failing = { CC: '/bin/false' };

/** Compiles in a twentieth of the addon's time, where what counts is when it is compiled, and what follows. */
const SMALL = 'extern int small;\nint small = 1;\n';

/** A folder with the scripts, the addon's source or another, its headers, and nothing built. */
class Copy {
  readonly path: string = mkdtempSync(join(tmpdir(), 'pgaio-build-'));
  readonly #output = join(this.path, `dist/src/native/linux-${process.arch}.node`);
  readonly #source = join(this.path, 'src/native/addon.c');

  constructor(source?: string) {
    for (const file of ['scripts/addon.mjs', 'scripts/command.mjs', 'src/native/addon.c', 'package.json']) {
      cpSync(join(root, file), join(this.path, file), { recursive: true });
    }
    if (source !== undefined) writeFileSync(this.#source, source);
    mkdirSync(join(this.path, 'node_modules'));
    symlinkSync(
      join(root, 'node_modules/node-api-headers'),
      join(this.path, 'node_modules/node-api-headers'),
    );
  }

  /** As npm does at an installation. */
  install(env: Record<string, string> = {}): { code: number | null; said: string } {
    return this.#run([join(this.path, 'scripts/addon.mjs')], env);
  }

  /** As set-up does, if the step is not current. */
  setup(strict: boolean, env: Record<string, string> = {}): { code: number | null; said: string } {
    const how = `{ strict: ${strict} }`;
    const program = `import { addonStep } from ${JSON.stringify(join(this.path, 'scripts/addon.mjs'))};
      if (!addonStep.isCurrent(${how})) addonStep.run(${how});`;
    return this.#run(['--input-type=module', '--eval', program], env);
  }

  #run(args: string[], env: Record<string, string>): { code: number | null; said: string } {
    const options = { env: { ...process.env, PGAIO_SETUP: undefined, ...env }, encoding: 'utf8' } as const;
    const { status, stdout, stderr } = spawnSync(process.execPath, args, options);
    assert.equal(stdout, '');
    return { code: status, said: stderr };
  }

  get isBuilt(): boolean {
    return existsSync(this.#output);
  }

  /** Distinguishes one build from the next. */
  get build(): string {
    const { ino, mtimeNs } = statSync(this.#output, { bigint: true });
    return `${ino} ${mtimeNs}`;
  }

  load(): Record<string, unknown> {
    return createRequire(import.meta.url)(this.#output) as Record<string, unknown>;
  }

  get leftovers(): string[] {
    return readdirSync(join(this.path, 'dist/src/native')).filter((name) => !name.endsWith('.node'));
  }

  append(text: string): void {
    writeFileSync(this.#source, readFileSync(this.#source, 'utf8') + text);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}

describe('an installation', () => {
  it('builds the addon, once', { skip }, () => {
    using copy = new Copy();
    const { code, said } = copy.install();
    assert.equal(code, 0);
    assert.match(said, /^pgaio: native addon: [\d.]+ s\n$/);
    assert.ok('ringEnter' in copy.load());
    assert.deepEqual(copy.leftovers, []);
    assert.deepEqual(copy.install(), { code: 0, said: '' });
  });

  it('leaves a binary alone that is there', { skip }, () => {
    using copy = new Copy(SMALL);
    copy.install();
    const { build } = copy;
    copy.append('/* another version */');
    assert.deepEqual(copy.install(), { code: 0, said: '' });
    assert.equal(copy.build, build);
  });

  it('succeeds without a compiler, and says what follows', () => {
    using copy = new Copy(SMALL);
    const { code, said } = copy.install(noCompiler);
    assert.equal(code, 0);
    assert.match(said, /^pgaio: [^\n]*no C compiler[^\n]*io_uring[^\n]*'worker'[^\n]*\n$/);
    assert.ok(!copy.isBuilt);
  });

  it('succeeds with a compiler that is not there', () => {
    using copy = new Copy(SMALL);
    const { code, said } = copy.install({ CC: 'no-such-compiler -O3' });
    assert.equal(code, 0);
    assert.match(said, /\$CC names a compiler that is not there \(no-such-compiler -O3\)/);
  });

  it('succeeds with a compiler that fails, and shows what it said', { skip }, () => {
    using copy = new Copy(SMALL);
    assert.equal(copy.install(failing).code, 0);
    copy.append('#error of the test\n');
    const { code, said } = copy.install({ CI: 'true' });
    assert.equal(code, 0);
    assert.match(said, /#error of the test/);
    assert.match(said, /compiling the native addon failed \(exit code 1\): /);
    assert.match(said, /'worker' serves/);
    assert.ok(!copy.isBuilt);
    assert.deepEqual(copy.leftovers, []);
  });

  it('succeeds without the headers', () => {
    using copy = new Copy(SMALL);
    rmSync(join(copy.path, 'node_modules'), { recursive: true });
    const { code, said } = copy.install({ CC: '/bin/true' });
    assert.equal(code, 0);
    assert.match(said, /the native addon was not built: Cannot find module 'node-api-headers'/);
  });
});

describe('set-up', () => {
  it('builds what has changed, by content', { skip }, () => {
    using copy = new Copy(SMALL);
    assert.equal(copy.setup(true).code, 0);
    const { build } = copy;
    assert.deepEqual(copy.setup(true), { code: 0, said: '' });
    assert.deepEqual(copy.setup(false), { code: 0, said: '' });
    assert.equal(copy.build, build);
    copy.append('/* changed */\n');
    assert.equal(copy.setup(true).code, 0);
    assert.notEqual(copy.build, build);
  });

  it('says only once that there is no compiler, and builds when there is one', { skip }, () => {
    using copy = new Copy(SMALL);
    const { code, said } = copy.setup(true, noCompiler);
    assert.equal(code, 0);
    assert.match(said, /no C compiler/);
    assert.deepEqual(copy.setup(true, noCompiler), { code: 0, said: '' });
    assert.equal(copy.setup(true, { CC: '' }).code, 0);
    assert.ok(copy.isBuilt);
    assert.deepEqual(copy.setup(true, noCompiler), { code: 0, said: '' }); // it is not missed any more
  });

  it('keeps no binary of other sources', { skip }, () => {
    using copy = new Copy(SMALL);
    copy.setup(true, { CC: '' });
    copy.append('/* changed */\n');
    assert.equal(copy.setup(true, noCompiler).code, 0);
    assert.ok(!copy.isBuilt);
  });

  it('fails on a warning for who works on it, and not for others', { skip }, () => {
    using copy = new Copy(SMALL);
    copy.append('static int unused_here;\n');
    const others = copy.setup(false);
    assert.equal(others.code, 0);
    assert.match(others.said, /unused_here/);
    assert.ok(copy.isBuilt);
    assert.deepEqual(copy.setup(false), { code: 0, said: '' });
    const ours = copy.setup(true);
    assert.equal(ours.code, 2);
    assert.match(ours.said, /unused_here[^]*compiling the native addon failed/);
  });

  it('fails with a compiler that fails, for who works on it', () => {
    using copy = new Copy(SMALL);
    assert.equal(copy.setup(true, failing).code, 2);
    assert.equal(copy.setup(false, failing).code, 0);
    assert.deepEqual(copy.setup(false, failing), { code: 0, said: '' });
    assert.equal(copy.setup(true, failing).code, 2);
  });
});

describe('the binary', { skip: skip === false ? readelfMissing() : skip }, () => {
  const binary = join(root, `dist/src/native/linux-${process.arch}.node`);
  const readelf = (...args: string[]): string =>
    spawnSync('readelf', [...args, binary], { encoding: 'utf8' }).stdout;

  it('needs no library, and no version of one', () => {
    assert.doesNotMatch(readelf('--dynamic', '--wide'), /\(NEEDED\)|\(VERNEED\)/);
  });

  it('takes from its process what Node, libuv and every C library have', () => {
    const symbols = readelf('--dyn-syms', '--wide')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[6] === 'UND' && fields[7] !== undefined)
      .map((fields) => fields[7]!);
    const plain = symbols.filter((symbol) => !/^(napi|uv)_[a-z0-9_]+$/.test(symbol));
    const known = ['__errno_location', 'calloc', 'free', 'memchr', 'memcpy', 'memset'];
    known.push('read', 'realloc', 'syscall', 'write');
    assert.deepEqual(
      plain.filter((symbol) => !known.includes(symbol)),
      [],
    );
    assert.ok(symbols.includes('napi_create_function') && symbols.includes('uv_poll_init'));
  });
});

function readelfMissing(): string | false {
  return spawnSync('readelf', ['--version']).error === undefined ? false : 'no readelf';
}
