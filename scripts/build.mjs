// The build: every src/**/*.wat becomes dist/src/**/*.wasm, then `tsc` compiles the one project into dist, and the
// programs among it are bundled.
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { giveUp, root, run } from './command.mjs';

export const sourceFolders = ['src', 'testing', 'test', 'bench', 'examples'];
const settings = ['tsconfig.json', 'package-lock.json', 'scripts/build.mjs', 'scripts/bundle.mjs'];
const stamp = join(root, 'dist/.built-from');

/** What Node 20 runs without a flag. */
const wasmFeatures = {
  bulk_memory: true,
  multi_value: true,
  mutable_globals: true,
  sat_float_to_int: true,
  sign_extension: true,
  simd: true,
  threads: true,
};

/** Files below `folders` whose names end in one of `endings`, relative to the root, sorted. */
export function listFiles(folders, endings) {
  const found = [];
  for (const folder of folders) collect(folder, endings, found);
  return found.sort();
}

function collect(folder, endings, found) {
  let entries;
  try {
    entries = readdirSync(join(root, folder), { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  for (const entry of entries) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) collect(path, endings, found);
    else if (endings.some((ending) => path.endsWith(ending))) found.push(path);
  }
}

export const buildStep = {
  name: 'build',

  isCurrent() {
    try {
      return readFileSync(stamp, 'utf8') === fingerprint();
    } catch {
      return false;
    }
  },

  async run() {
    // Taken before compiling, so that an edit made meanwhile is compiled next time. The old stamp goes first, so
    // that nobody takes a half-made or failed build for a finished one.
    const before = fingerprint();
    rmSync(stamp, { force: true });
    removeOrphans();
    await compileWebAssembly();
    run('compile', process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.']);
    // Not imported above, because this file is there before the packages are.
    const { bundlePrograms } = await import('./bundle.mjs');
    await bundlePrograms(listFiles(sourceFolders, ['.ts']));
    writeFileSync(stamp, before);
  },
};

/** A hash of everything the build depends on. By content: a checkout that goes and comes back costs no build. */
function fingerprint() {
  const hash = createHash('sha256');
  for (const path of [...listFiles(sourceFolders, ['.ts', '.wat']), ...settings]) {
    hash.update(`\n${path}\n`).update(readFileSync(join(root, path)));
  }
  return hash.digest('hex');
}

/** Removes what was compiled from sources that are gone, or a deleted test would run for ever. */
function removeOrphans() {
  const sources = new Set(listFiles(sourceFolders, ['.ts', '.wat']));
  const outputs = listFiles(['dist'], ['.js', '.js.map', '.d.ts', '.wasm']);
  for (const output of outputs) {
    const source = output
      .slice('dist/'.length)
      .replace(/\.(js|js\.map|d\.ts)$/, '.ts')
      .replace(/\.wasm$/, '.wat');
    if (!sources.has(source)) rmSync(join(root, output), { force: true });
  }
}

async function compileWebAssembly() {
  const sources = listFiles(['src'], ['.wat']);
  if (sources.length === 0) return;
  const { default: loadWabt } = await import('wabt');
  const wabt = await loadWabt();
  for (const source of sources) {
    const output = join(root, 'dist', source.replace(/\.wat$/, '.wasm'));
    try {
      const module = wabt.parseWat(source, readFileSync(join(root, source), 'utf8'), wasmFeatures);
      const { buffer } = module.toBinary({});
      module.destroy();
      // wabt's own validation knows no shared memory; this one throws what loading the file would throw.
      new WebAssembly.Module(buffer);
      mkdirSync(dirname(output), { recursive: true });
      writeFileSync(output, buffer);
    } catch (error) {
      giveUp(`compiling ${source} failed: ${error.message}`);
    }
  }
}
