// The programs that start often, each as one file: loading a hundred modules takes Node longer than all else that a
// thread does before its first I/O. They are written over what tsc made of the same sources.
import { readFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import { build } from 'esbuild';
import { root } from './command.mjs';

/**
 * Programs, what runs in threads of its own, and what those load by URL: nobody else imports them, or there would be two
 * of each module.
 */
const isProgram = (source) => /(-thread|-hooks|[/-]main)\.ts$/.test(source);

/** `sources`: paths of all TypeScript files, relative to the root. */
export async function bundlePrograms(sources) {
  await Promise.all(sources.filter(isProgram).map(bundle));
}

async function bundle(source) {
  await build({
    absWorkingDir: root,
    entryPoints: [source],
    outfile: outputOf(source),
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    sourcesContent: false,
    allowOverwrite: true,
    logLevel: 'warning',
    plugins: [ownUrls(source)],
  });
}

/**
 * A module finds files beside itself by `import.meta.url`, which in a bundle is the bundle's. The program's own is left
 * alone: that is it, and may have a query.
 */
function ownUrls(program) {
  const from = dirname(outputOf(program));
  return {
    name: 'own-urls',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8');
        if (relative(root, path) === program) return { contents: text, loader: 'ts' };
        const own = relative(from, outputOf(relative(root, path)));
        const url = `new URL(${JSON.stringify(own)}, import.meta.url).href`;
        return { contents: text.replaceAll('import.meta.url', url), loader: 'ts' };
      });
    },
  };
}

function outputOf(source) {
  return `dist/${source.replace(/\.ts$/, '.js')}`;
}
