// A lock between processes: a file that holds its owner's process id. It appears complete (a hard link to a
// finished file), so nobody ever reads half an id, and it counts as stale once its owner has ended.
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Runs `work` while holding the lock; `onWait` is called once, with the owner's id, if somebody else has it. */
export async function withLock(path, onWait, work) {
  const mine = `${path}.${process.pid}`;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(mine, identity(process.pid));
  const release = () => {
    rmSync(mine, { force: true });
    if (read(path) === identity(process.pid)) rmSync(path, { force: true });
  };
  // Also when the process exits inside `work`, which is how a failing step ends.
  process.once('exit', release);
  try {
    acquire(path, mine, onWait);
    return await work();
  } finally {
    release();
    process.off('exit', release);
  }
}

function acquire(path, mine, onWait) {
  for (let attempt = 0; ; attempt++) {
    try {
      linkSync(mine, path);
      return;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    const owner = read(path);
    if (owner === null) continue;
    const pid = owner.split(' ')[0];
    if (identity(pid) !== owner) {
      takeAway(path, owner, `${mine}.stale`);
      rmSync(`${path}.${pid}`, { force: true });
      continue;
    }
    if (attempt === 0) onWait(pid);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
  }
}

/** Two processes may see the same stale lock: the slower one must put back what the faster one has made since. */
function takeAway(path, stale, aside) {
  try {
    renameSync(path, aside);
  } catch (error) {
    if (error.code === 'ENOENT') return;
    throw error;
  }
  if (read(aside) !== stale) linkSync(aside, path);
  rmSync(aside, { force: true });
}

/** The process id, and on Linux its start time too, because ids are used again; a process that ended has none. */
function identity(pid) {
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    if (error.code === 'ESRCH') return '';
  }
  const stat = read(`/proc/${pid}/stat`);
  // The command's name is in parentheses and may hold spaces; the start time is the 20th field behind it.
  const started = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  return `${pid} ${started}`;
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
