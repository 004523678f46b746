// Makes a fresh clone ready to run, with nothing but Node and npm: installs what package-lock.json names, compiles,
// and builds the native addon if there is a C compiler. A step that is current already is skipped, so that `npm start` pays a few milliseconds for asking.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { addonStep } from './addon.mjs';
import { buildStep } from './build.mjs';
import { giveUp, inCi, root, runNpm, say } from './command.mjs';
import { withLock } from './lock.mjs';

const installStep = {
  name: 'install',

  /** npm keeps its own record of what it installed, and writes it last; it must name everything that we need. */
  isCurrent() {
    const installed = packagesOf('node_modules/.package-lock.json');
    if (installed === null) return false;
    return Object.entries(packagesOf('package-lock.json') ?? {}).every(
      ([path, { version, integrity, optional }]) =>
        path === '' ||
        optional === true ||
        (installed[path]?.version === version && installed[path]?.integrity === integrity),
    );
  },

  run() {
    runNpm('npm ci', ['ci', '--include=dev']);
  },
};

/** In order. Each step says whether it is current, and otherwise runs or gives up. */
const steps = [installStep, buildStep, addonStep];

/** `strict`: a native addon that does not compile cleanly is a failure, not only a loss. */
export async function setup({ only = steps.map((step) => step.name), strict = true } = {}) {
  requireNode(20, 19);
  const how = { strict: strict || inCi };
  const wanted = steps.filter((step) => only.includes(step.name));
  if (wanted.every((step) => step.isCurrent(how))) return;
  const onWait = (pid) => say(`waiting for the set-up that process ${pid} is doing`);
  await withLock(join(root, '.cache/setup.lock'), onWait, async () => {
    for (const step of wanted) if (!step.isCurrent(how)) await step.run(how);
  });
}

function packagesOf(lockFile) {
  try {
    return JSON.parse(readFileSync(join(root, lockFile), 'utf8')).packages;
  } catch {
    return null;
  }
}

function requireNode(major, minor) {
  const [haveMajor, haveMinor] = process.versions.node.split('.').map(Number);
  if (haveMajor > major || (haveMajor === major && haveMinor >= minor)) return;
  giveUp(`Node ${major}.${minor} or newer is needed; this is Node ${process.versions.node}`);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  // As the script `prepare` this runs inside the `npm ci` of another set-up, too, which does all this afterwards.
  if (process.env.PGAIO_SETUP === undefined) await setup();
}
