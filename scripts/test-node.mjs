// `npm run test:node -- MAJOR... [PATTERN...]`: the tests with other Node versions, 22 and 24 unless told. What is
// compiled stays as it is, the native addon included: one build must serve every version. It ends with the first version
// that fails, so that what failed there is the last to be read.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { giveUp, root, runNpm, say } from './command.mjs';
import { withLock } from './lock.mjs';
import { runTests, testFiles } from './run-tests.mjs';
import { setup } from './setup.mjs';

/** The packages that the npm package `node` installs from: one for each platform, with the program alone. */
const platform = process.platform === 'win32' ? 'win' : process.platform;
const packageName = `node-${platform}-${process.arch}`;

const words = process.argv.slice(2);
const isMajor = (word) => /^\d+$/.test(word);
const majors = words.some(isMajor) ? words.filter(isMajor) : ['22', '24'];
const patterns = words.filter((word) => !isMajor(word));

await setup();
const files = testFiles(patterns);
for (const major of majors) {
  const node = await installNode(major);
  const version = spawnSync(node, ['--version'], { encoding: 'utf8' }).stdout?.trim();
  if (!version?.startsWith(`v${major}.`)) giveUp(`${node} does not run here`);
  say(`the tests with Node ${version}`);
  const passed = await runTests(files, { node });
  say(`Node ${version}: ${passed ? 'passed' : 'FAILED'}`);
  if (passed) continue;
  process.exitCode = 1;
  break;
}

/** The program's path, after installing the newest version of that major below .cache. */
async function installNode(major) {
  const folder = join(root, '.cache', `node-${major}`);
  const installed = join(folder, 'node_modules', packageName);
  const onWait = (pid) => say(`waiting for process ${pid}, which installs Node ${major}`);
  await withLock(`${folder}.lock`, onWait, () => {
    const newest = newestVersion(major);
    const have = installedVersion(installed);
    if (newest === null && have === null)
      giveUp(`npm knows no ${packageName}@${major}, or cannot be reached`);
    if (newest === null) say(`npm cannot be asked for the newest Node ${major}; ${have} is here`);
    if (newest === null || newest === have) return;
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    runNpm(`Node ${newest}`, ['install', '--prefix', folder, '--ignore-scripts', `${packageName}@${newest}`]);
  });
  const program = join(installed, process.platform === 'win32' ? 'bin/node.exe' : 'bin/node');
  if (!existsSync(program)) giveUp(`${packageName} has no ${program}`);
  return program;
}

function newestVersion(major) {
  const npm = process.env.npm_execpath;
  const [program, ...first] = npm?.endsWith('.js') ? [process.execPath, npm] : ['npm'];
  const args = [...first, 'view', `${packageName}@${major}`, 'version', '--json', '--loglevel=error'];
  const { status, stdout } = spawnSync(program, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0 || stdout.trim() === '') return null;
  const parts = (version) => version.split('.').map(Number);
  const versions = [JSON.parse(stdout)].flat().filter((version) => /^\d+\.\d+\.\d+$/.test(version));
  return versions.sort((a, b) => parts(a)[1] - parts(b)[1] || parts(a)[2] - parts(b)[2]).at(-1) ?? null;
}

function installedVersion(folder) {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')).version;
  } catch {
    return null;
  }
}
