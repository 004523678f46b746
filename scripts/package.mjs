// `npm run package -- [--without ARCH]... [--to DIRECTORY]`: the package as a tarball that holds the native addon for every
// architecture, and needs neither a compiler nor a script at its installation.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { arches, compileAddon, findCompiler, isProgram, outputOf } from './addon.mjs';
import { giveUp, root, run, runNpm, say } from './command.mjs';
import { setup } from './setup.mjs';

/** Compilers for machines that are not this one, as Debian names them: the package `gcc-TRIPLET`. */
const triplets = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

const { without: left, to } = settings();
const wanted = arches.filter((arch) => !left.includes(arch));
if (wanted.length === 0) giveUp('nothing is left to package');
const compilers = new Map(wanted.map((arch) => [arch, compilerFor(arch)]));
await setup();

// Beside the repository's other products, so that renaming a file into it stays within one file system.
mkdirSync(join(root, '.cache'), { recursive: true });
const staging = mkdtempSync(join(root, '.cache/package-'));
process.once('exit', () => rmSync(staging, { recursive: true, force: true }));

runNpm('npm pack', ['pack', '--ignore-scripts', '--pack-destination', staging]);
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const file = `${name}-${version}.tgz`;
run('unpack', 'tar', ['-xzf', join(staging, file), '-C', staging]);
rmSync(join(staging, file));
const folder = join(staging, 'package');

for (const [arch, compiler] of compilers) {
  const path = join(folder, outputOf(arch));
  const failed = compileAddon({ compiler, arch, path, warningsAreErrors: true });
  if (failed !== null) giveUp(failed);
  checkBinary(path);
}
writePackageJson();
// Packed again by npm, not by tar, so that modes and times are as npm makes them everywhere.
runNpm('npm pack', ['pack', folder, '--ignore-scripts', '--pack-destination', to]);
say(`${file}: with the native addon for ${wanted.map((arch) => `linux-${arch}`).join(', ')}`);
for (const arch of left) say(`without linux-${arch}: there, pgaio has no io_uring`);

function settings() {
  const usage = `usage: npm run package -- [--without ${arches.join('|')}]... [--to DIRECTORY]`;
  try {
    const { without, to } = parseArgs({
      options: {
        without: { type: 'string', multiple: true, default: [] },
        to: { type: 'string', default: root },
      },
    }).values;
    if (without.every((arch) => arches.includes(arch))) return { without, to: resolve(to) };
  } catch (error) {
    giveUp(`${error.message}\n${usage}`);
  }
  return giveUp(usage);
}

function compilerFor(arch) {
  const own = process.platform === 'linux' && process.arch === arch ? findCompiler() : null;
  if (own !== null) return own;
  const program = `${triplets[arch]}-gcc`;
  if (isProgram(program)) return [program];
  return giveUp(
    `linux-${arch} needs the compiler ${program} (Debian: apt-get install gcc-${triplets[arch].replace('_', '-')}); ` +
      `to leave it out: npm run package -- --without ${arch}`,
  );
}

/** A needed library, or a version of one, would tie the binary to one C library. */
function checkBinary(path) {
  const { stdout } = spawnSync('readelf', ['--dynamic', '--version-info', '--wide', path], {
    encoding: 'utf8',
  });
  if (stdout === null) giveUp('readelf is missing (Debian: apt-get install binutils)');
  if (/\(NEEDED\)|\(VERNEED\)/.test(stdout)) giveUp(`${basename(path)} needs a library:\n${stdout}`);
}

/** Nothing is compiled at the installation, so nothing that compiling needs is installed. */
function writePackageJson() {
  const path = join(folder, 'package.json');
  const description = JSON.parse(readFileSync(path, 'utf8'));
  delete description.scripts;
  delete description.devDependencies;
  delete description.dependencies['node-api-headers'];
  const sources = ['src/', 'scripts/'];
  const isNeeded = (entry) => !entry.startsWith('!') && !sources.some((start) => entry.startsWith(start));
  description.files = description.files.filter(isNeeded);
  writeFileSync(path, `${JSON.stringify(description, null, 2)}\n`);
}
