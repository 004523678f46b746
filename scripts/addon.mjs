// The native addon: src/native/addon.c becomes dist/src/native/linux-ARCH.node, with one call of the C compiler. A step
// of set-up, and, run by itself, the package's `install` script. Without a compiler all works but io_uring, so
// that neither of them fails for want of one.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { giveUp, root, say } from './command.mjs';

const source = 'src/native/addon.c';
const without = "pgaio works without it, but for io_uring: the method 'worker' serves";
const output = join(root, outputOf(process.arch));
const stamp = join(root, 'dist/.addon-built-from');

/**
 * No startup files and no libraries: what it calls is found in the process that loads it, without versions of a C
 * library. So one binary serves glibc and musl, old and new. Fortified calls would be glibc's alone.
 */
const flags = [
  ...['-std=c11', '-Wall', '-Wextra', '-O2', '-fPIC', '-shared', '-nostdlib', '-fvisibility=hidden'],
  ...['-U_FORTIFY_SOURCE', '-fno-stack-protector'],
];
/** What is tested. Out-of-line atomics would come from the compiler's own library. */
const flagsOf = { x64: [], arm64: ['-mno-outline-atomics'] };
export const arches = Object.keys(flagsOf);

export function outputOf(arch) {
  return `dist/src/native/linux-${arch}.node`;
}

/** `$CC`, else the first of cc, gcc and clang that is there, as the words of a command; null if there is none. */
export function findCompiler() {
  const asked = process.env.CC?.trim();
  if (asked) {
    const words = asked.split(/\s+/);
    return isProgram(words[0]) ? words : null;
  }
  const found = ['cc', 'gcc', 'clang'].find(isProgram);
  return found === undefined ? null : [found];
}

export function isProgram(name) {
  const folders = name.includes('/') ? [''] : (process.env.PATH ?? '').split(delimiter);
  return folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Compiles to `path`. Returns what went wrong in one sentence, after the compiler's output, or null. The
 * file appears complete, and is a new one: another process may have the old one loaded.
 */
export function compileAddon({ compiler, arch, path, warningsAreErrors }) {
  const [program, ...words] = compiler;
  const temporary = `${path}.${process.pid}`;
  mkdirSync(dirname(path), { recursive: true });
  const all = [...words, ...flags, ...flagsOf[arch], ...(warningsAreErrors ? ['-Werror'] : [])];
  const args = [...all, '-I', headers(), '-o', temporary, source];
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}`);
  if (result.status === 0) {
    renameSync(temporary, path);
    return null;
  }
  rmSync(temporary, { force: true });
  const why = result.error?.message ?? result.signal ?? `exit code ${result.status}`;
  return `compiling the native addon failed (${why}): ${[program, ...args].join(' ')}`;
}

function headers() {
  return createRequire(import.meta.url)('node-api-headers').include_dir;
}

export const addonStep = {
  name: 'addon',

  isCurrent({ strict = false } = {}) {
    const last = readStamp();
    if (last === null || last.inputs !== inputs() || (strict && !last.strict)) return false;
    // A compiler that has come since is made use of; one that has gone is not missed.
    return last.built ? existsSync(output) : last.missing === whyNot();
  },

  /** `strict`: a compiler that fails, or warns, ends the set-up. */
  run({ strict = false } = {}) {
    const before = inputs();
    rmSync(stamp, { force: true });
    const missing = whyNot();
    const failed = missing === null ? build(strict) : null;
    if (failed !== null && strict) giveUp(failed);
    if (failed !== null) say(failed);
    if (missing !== null || failed !== null) {
      // One of other sources would not fit the library that is built beside it.
      rmSync(output, { force: true });
      say(`${missing ?? 'there is no native addon'}; ${without}`);
    }
    mkdirSync(dirname(stamp), { recursive: true });
    writeFileSync(stamp, JSON.stringify({ inputs: before, strict, missing, built: existsSync(output) }));
  },
};

function build(strict) {
  const started = performance.now();
  const failed = compileAddon({
    compiler: findCompiler(),
    arch: process.arch,
    path: output,
    warningsAreErrors: strict,
  });
  if (failed === null) say(`native addon: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return failed;
}

/** Why there can be no addon, in one sentence without its end; null when there can. */
function whyNot() {
  if (process.platform !== 'linux') return `the native addon is for Linux, and this is ${process.platform}`;
  if (!arches.includes(process.arch)) {
    return `the native addon is for ${arches.join(' and ')}, and this is ${process.arch}`;
  }
  if (findCompiler() !== null) return null;
  const asked = process.env.CC?.trim();
  return asked
    ? `the native addon was not built, because $CC names a compiler that is not there (${asked})`
    : 'the native addon was not built, because there is no C compiler (cc, gcc or clang)';
}

/** A hash of everything that the binary is made from; not of the compiler, whose new version makes the same. */
function inputs() {
  const hash = createHash('sha256').update(`${process.arch} ${process.env.CC ?? ''}`);
  for (const path of [source, 'scripts/addon.mjs', 'package.json']) {
    hash.update(`\n${path}\n`).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stamp, 'utf8'));
  } catch {
    return null;
  }
}

/** At a user's installation nothing that goes wrong here may end it: the rest of the package works. */
function install() {
  if (existsSync(output)) return;
  try {
    addonStep.run();
  } catch (error) {
    say(`the native addon was not built: ${error.message}; ${without}`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  // Set-up installs packages with npm, which runs this script too, before there is anything to go with.
  if (process.env.PGAIO_SETUP === undefined) install();
}
